//! A release beside the one before it: its migrations expand what is there, and its components go on serving the
//! interfaces that the ones before ask for. So hosts and components are replaced one after the other, under load.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use marquee_import::api::Client;
use marquee_testkit::{broker, eventually};
use tokio::task::JoinSet;

use crate::{
    bus::{client, film, nothing_is_left_over},
    host::Setup,
    releases::{done, guest},
    tools::not_tried,
};

const BEFORE: &str = "target/before/spin.toml";

/// Ratings, sent for as long as it lasts, to whichever hosts there are.
struct Load {
    films: Vec<String>,
    hosts: Mutex<Vec<Arc<Client>>>,
    /// For each film: how many were acknowledged, and their sum.
    acknowledged: Vec<(AtomicUsize, AtomicUsize)>,
    ends: AtomicBool,
}

impl Load {
    /// One user after the other rates each film once.
    async fn send(&self, sender: usize) {
        for n in 0.. {
            if self.ends.load(Ordering::Relaxed) {
                return;
            }
            let hosts = self.hosts.lock().expect("no panic").clone();
            let host = &hosts[n % hosts.len()];
            let at = n % self.films.len();
            let value = n % 10 + 1;
            let user = format!("user-{sender}-{n}");
            let value_sent = i64::try_from(value).expect("small");
            let rated = host.rate(&self.films[at], &user, value_sent).await;
            rated.expect("nothing fails");
            let (count, sum) = &self.acknowledged[at];
            count.fetch_add(1, Ordering::Relaxed);
            sum.fetch_add(value, Ordering::Relaxed);
            if n % 16 == 0 {
                host.aggregate(&self.films[at]).await.expect("served");
            }
        }
    }

    fn sent(&self) -> usize {
        let counts = self.acknowledged.iter();
        counts.map(|(count, _)| count.load(Ordering::Relaxed)).sum()
    }

    fn use_hosts(&self, hosts: &[&Arc<Client>]) {
        let hosts = hosts.iter().map(|host| Arc::clone(host)).collect();
        *self.hosts.lock().expect("no panic") = hosts;
    }

    /// Wait until as many more are acknowledged.
    async fn goes_on(&self, more: usize) {
        let wanted = self.sent() + more;
        let patience = Duration::from_secs(60);
        eventually(patience, "the load goes on", async || self.sent() >= wanted).await;
    }
}

/// How the migrations come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Migrated {
    /// By a verb of their own.
    First,
    /// With each component, whose new version then serves beside the old ones.
    WithEach,
}

async fn replaced_one_after_the_other(before: Setup, migrated: Migrated) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if !root.join(BEFORE).exists() {
        not_tried(&format!(
            "{BEFORE} (scripts/components --before, in a clone with its history)"
        ));
        return;
    }
    let old = before.start().await;
    let to_old = Arc::new(client(&old.url));
    let mut films = Vec::new();
    for n in 0..5 {
        let kept = to_old
            .keep(&film(&format!("Reel {n}")))
            .await
            .expect("kept");
        films.push(kept.id().to_owned());
    }
    let load = Arc::new(Load {
        acknowledged: films.iter().map(|_| Default::default()).collect(),
        films,
        hosts: Mutex::new(vec![Arc::clone(&to_old)]),
        ends: AtomicBool::new(false),
    });
    let mut senders = JoinSet::new();
    for sender in 0..4 {
        let load = Arc::clone(&load);
        senders.spawn(async move { load.send(sender).await });
    }
    load.goes_on(200).await;

    // The migrations come first, while all that runs is old.
    let after = before.release("spin.toml");
    let deploy = async |migrated| {
        for component in ["rating", "metadata"] {
            let (file, migrations) = (guest(component), root.join("migrations").join(component));
            let mut verb = vec!["deploy", component, file.to_str().expect("text")];
            if migrated == Migrated::WithEach {
                verb.extend(["--migrations", migrations.to_str().expect("text")]);
            }
            done(&before, &verb);
            load.goes_on(200).await;
        }
    };
    match migrated {
        Migrated::First => drop(done(&after, &["migrate"])),
        Migrated::WithEach => {
            deploy(migrated).await;
            for (component, applied) in [
                ("rating", "0003_counts_and_ranks"),
                ("metadata", "0004_short_queries"),
            ] {
                let history = done(&before, &["history", component]);
                assert!(history.contains(applied), "{applied}: {history}");
            }
        }
    }
    load.goes_on(200).await;
    to_old
        .keep(&film("After the migrations"))
        .await
        .expect("kept");

    // A host of the new release beside the old one.
    let new = after.start().await;
    let to_new = Arc::new(client(&new.url));
    load.use_hosts(&[&to_old, &to_new]);
    load.goes_on(400).await;
    to_old.keep(&film("By the old one")).await.expect("kept");
    to_new.keep(&film("By the new one")).await.expect("kept");

    // New components behind the old gateway.
    if migrated == Migrated::First {
        deploy(migrated).await;
    }
    to_old
        .keep(&film("By the old gateway"))
        .await
        .expect("kept");

    // The old host goes.
    load.use_hosts(&[&to_new]);
    load.goes_on(100).await;
    let (status, log) = old.stop("TERM").await;
    assert!(status.success(), "{log}");
    load.goes_on(200).await;
    load.ends.store(true, Ordering::Relaxed);
    while let Some(ended) = senders.join_next().await {
        ended.expect("nothing failed");
    }
    assert_eq!(
        to_old.retries() + to_new.retries(),
        0,
        "nothing was tried again"
    );

    for (film, (count, sum)) in load.films.iter().zip(&load.acknowledged) {
        let count = count.load(Ordering::Relaxed) as u64;
        let average = sum.load(Ordering::Relaxed) as f64 / count as f64;
        crate::bus::served(&to_new, film, count, average).await;
    }
    nothing_is_left_over(&after).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_replaces_the_one_before_under_load_over_the_embedded_bus() {
    let names = ["METADATA", "RATING", "USERS", "BUS"];
    let before = Setup::application(BEFORE, &names).await;
    let before = before.with("SPIN_VARIABLE_AUTH", "open");
    replaced_one_after_the_other(before, Migrated::WithEach).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_replaces_the_one_before_under_load_over_kafka() {
    let names = ["METADATA", "RATING", "USERS", "BUS"];
    let before = Setup::application(BEFORE, &names).await;
    let before = before.with("SPIN_VARIABLE_AUTH", "open");
    let kafka = broker().await;
    let before = before.with("KAFKA_BROKERS", kafka.brokers());
    replaced_one_after_the_other(before, Migrated::First).await;
}
