//! Exactly once, shown with an effect that is not idempotent: `examples/counter` adds up and notes what it sees,
//! so a message that is lost, applied twice or overtaken by a later one of its key stays visible.
//!
//! Its publisher writes what it published in the transaction that published it. That table is the truth: a client whose
//! answer was lost does not know.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use marquee_testkit::{broker, eventually};
use tokio::task::{JoinSet, block_in_place};
use tokio_postgres::Client;

use crate::{
    host::{Host, Setup},
    raw,
    releases::{done, guest},
};

const MANIFEST: &str = "examples/counter/spin.toml";
/// More than there are partitions.
const KEYS: usize = 12;
const SENDERS: usize = 4;
/// How often a host is killed while the other one lives. Then both are at once.
const KILLS: usize = 3;
/// A dead host's share is taken over after 15 s, on either bus; a second death begins anew.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is published, for as long as it lasts, through whichever host answers.
struct Load {
    addresses: Mutex<[String; 2]>,
    acknowledged: AtomicUsize,
    ends: AtomicBool,
}

impl Load {
    /// Publish one message after the other. The tags of those that were acknowledged.
    async fn send(&self, sender: usize) -> Vec<String> {
        let mut acknowledged = Vec::new();
        for n in 0.. {
            if self.ends.load(Ordering::Relaxed) {
                break;
            }
            let tag = format!("{sender}-{n}");
            if self.publish(n, (sender + n) % KEYS, &tag).await {
                acknowledged.push(tag);
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
        acknowledged
    }

    /// Whether it was acknowledged; if not, it may have happened nevertheless. It is not tried again.
    async fn publish(&self, n: usize, key: usize, tag: &str) -> bool {
        let address = self.addresses.lock().expect("no panic")[n % 2].clone();
        let line = format!("PUT /key-{key}/{tag}/{}", n % 10 + 1);
        let status = raw::status(&address, &line).await;
        assert!([0, 202, 503].contains(&status), "{line}: {status}");
        status == 202
    }

    fn is_served_by(&self, hosts: [&Host; 2]) {
        let addresses = hosts.map(|host| host.address().to_owned());
        *self.addresses.lock().expect("no panic") = addresses;
    }

    /// Wait until so many more were acknowledged, and some more were applied.
    async fn goes_on(&self, database: &Client) {
        let acknowledged = || self.acknowledged.load(Ordering::Relaxed);
        let wanted = acknowledged() + 200;
        let applied = count(database, "select count(*) from seen").await + 20;
        eventually(PATIENCE, "the load goes on", async || {
            acknowledged() >= wanted
                && count(database, "select count(*) from seen").await >= applied
        })
        .await;
    }
}

async fn count(database: &Client, sql: &str) -> i64 {
    let row = database.query_one(sql, &[]).await;
    row.expect("a count").get(0)
}

/// Two hosts on the same databases and bus publish and consume, while one or the other is killed or stopped and their
/// versions change.
async fn counts_each_message_once(one: Setup) {
    let setups = [one.release(MANIFEST), one.release(MANIFEST)];
    let [first, second] = &setups;
    let (host, beside) = (first.start().await, second.start().await);
    // Other code, on tables that its migration has expanded.
    let [own, other] = ["counter", "counter-next"].map(guest);
    let [own, other] = [&own, &other].map(|path| path.to_str().expect("text"));
    let next = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../components/test/counter-next/migrations"
    );
    let step = |setup: &Setup, arguments: &[&str]| block_in_place(|| drop(done(setup, arguments)));
    // What one releases, both have.
    let release = [
        "deploy",
        "counter",
        other,
        "--label",
        "v2",
        "--migrations",
        next,
    ];
    step(first, &release);
    step(second, &["deploy", "counter", own, "--label", "v1"]);
    let database = one.connect("COUNTER").await;
    let load = Arc::new(Load {
        addresses: Mutex::default(),
        acknowledged: AtomicUsize::new(0),
        ends: AtomicBool::new(false),
    });
    load.is_served_by([&host, &beside]);
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let load = Arc::clone(&load);
        senders.spawn(async move { load.send(sender).await });
    }

    let (mut next, mut lives) = ((first, host), (second, beside));
    for kill in 0..KILLS {
        load.goes_on(&database).await;
        step(&setups[kill % 2], &["promote", "counter", "v2"]);
        let (setup, dies) = next;
        dies.kill();
        // A swap while what the dead one had is nobody's.
        step(lives.0, &["rollback", "counter"]);
        load.goes_on(&database).await;
        let back = setup.start().await;
        load.is_served_by([&back, &lives.1]);
        (next, lives) = (lives, (setup, back));
    }
    load.goes_on(&database).await;
    let (setup, leaves) = next;
    let (status, log) = leaves.stop("TERM").await;
    assert!(status.success(), "{log}");
    let comes = setup.start().await;
    load.is_served_by([&comes, &lives.1]);
    load.goes_on(&database).await;
    // Both at once: nobody takes over.
    comes.kill();
    lives.1.kill();
    let hosts = [first.start().await, second.start().await];
    load.is_served_by([&hosts[0], &hosts[1]]);
    load.goes_on(&database).await;
    load.ends.store(true, Ordering::Relaxed);
    let acknowledged = senders.join_all().await.concat();

    // Of each key one more message, behind all that its partition has.
    for key in 0..KEYS {
        let sent = load.publish(key, key, "last").await;
        assert!(sent, "both hosts live");
    }
    let is_over = async || {
        let last = count(&database, "select count(*) from seen where tag = 'last'").await;
        let waiting = count(&database, "select count(*) from marquee.outbox").await;
        usize::try_from(last).expect("small") >= KEYS && waiting == 0
    };
    let over = tokio::time::timeout(PATIENCE, async {
        eventually(2 * PATIENCE, "all is applied", is_over).await;
    });
    // What is there after that time tells more than that the time is over.
    let ended = over.await.is_ok();
    agree(&database, &acknowledged).await;
    assert!(ended, "something is still in the outbox");
}

/// What was published, what was seen and what was counted are the same, and all that was acknowledged is in it.
async fn agree(database: &Client, acknowledged: &[String]) {
    let published = tags(
        database,
        "select key, tag from published order by key, number",
    )
    .await;
    let seen = tags(database, "select key, tag from seen order by key, id").await;
    let mut all = HashSet::new();
    for (key, published) in &published {
        let seen = seen.get(key).map_or(&[][..], Vec::as_slice);
        let once: HashSet<&String> = seen.iter().collect();
        let lost = published.iter().filter(|tag| !once.contains(tag)).count();
        let doubled = seen.len() - once.len();
        assert_eq!((lost, doubled), (0, 0), "{key}: lost and doubled");
        assert!(seen == published, "{key}: it was seen in another order");
        all.extend(published);
    }
    assert!(acknowledged.iter().all(|tag| all.contains(tag)));
    let wrong = "
        select count(*) from counters c full join (
            select key, count(*) as total, sum(value) as sum from published group by key
        ) p using (key)
        where (c.total, c.sum) is distinct from (p.total, p.sum)";
    assert_eq!(count(database, wrong).await, 0, "a counter is wrong");
    assert_eq!(
        count(database, "select count(*) from marquee.parked").await,
        0
    );
}

/// Of each key its tags, in their order.
async fn tags(database: &Client, sql: &str) -> BTreeMap<String, Vec<String>> {
    let mut tags = BTreeMap::<String, Vec<String>>::new();
    for row in database.query(sql, &[]).await.expect("rows") {
        tags.entry(row.get(0)).or_default().push(row.get(1));
    }
    tags
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_message_is_applied_once_and_in_order_whatever_dies_over_the_embedded_bus() {
    counts_each_message_once(Setup::application(MANIFEST, &["COUNTER", "BUS", "RELEASES"]).await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_message_is_applied_once_and_in_order_whatever_dies_over_kafka() {
    let kafka = broker().await;
    let setup = Setup::application(MANIFEST, &["COUNTER", "RELEASES"]).await;
    counts_each_message_once(setup.with("KAFKA_BROKERS", kafka.brokers())).await;
}
