//! Alerts beside a host: one after the other is provoked, and a real Prometheus sees it. Its rules are those of the repository in
//! a hurry: shorter windows, nothing waited for, fewer messages that are many.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use marquee_testkit::{eventually, proxy};
use regex::Regex;

use super::{files, rules, text};
use crate::{
    consumers::{manifest, publish, subscribed},
    host::{Host, Setup},
    prometheus::Prometheus,
    raw,
    releases::{done, guest},
    tools::program,
};

/// What comes at once here, and in production after minutes or among thousands.
const HURRIED: [(&str, &str); 4] = [
    ("oldest_age_seconds:max > 60", "oldest_age_seconds:max > 5"),
    ("lag_messages:sum > 1000", "lag_messages:sum > 10"),
    (
        "moved_timestamp_seconds) > 300",
        "moved_timestamp_seconds) > 5",
    ),
    ("blocked_keys) > 100", "blocked_keys) > 10"),
];

/// Alerts that promtool alone tries, since to provoke them takes a bug, minutes, or a host that Prometheus does not know.
const BY_PROMTOOL_ALONE: [&str; 11] = [
    "MarqueeAuditStands",
    "MarqueeComponentMissing",
    "MarqueeHostRestarts",
    "MarqueeInstancesFull",
    "MarqueeLogLinesDropped",
    "MarqueeMetricsIncomplete",
    "MarqueeNoHosts",
    "MarqueePartitionUnreadable",
    "MarqueeScheduleFails",
    "MarqueeScheduleLate",
    "MarqueeTaskRestarted",
];

fn hurried() -> Vec<String> {
    let waits = Regex::new(r"for: \d+[mh]").expect("a pattern");
    let windows = Regex::new(r"\[\d+m\]").expect("a pattern");
    let files = files("deploy/prometheus/rules", ".yml");
    let mut rules: Vec<String> = files.iter().map(|file| text(file)).collect();
    for rules in &mut rules {
        *rules = waits.replace_all(rules, "for: 1s").into_owned();
        *rules = windows.replace_all(rules, "[15s]").into_owned();
    }
    for (usual, hurried) in HURRIED {
        let has = rules.iter_mut().filter(|rules| rules.contains(usual));
        let mut has: Vec<&mut String> = has.collect();
        assert_eq!(has.len(), 1, "{usual} stands in one file");
        *has[0] = has[0].replace(usual, hurried);
    }
    rules
}

/// What was provoked so far.
struct Provoked<'a> {
    prometheus: &'a Prometheus,
    alerts: BTreeSet<String>,
}

impl Provoked<'_> {
    /// Wait until these fire, while this happens again and again.
    async fn comes(&mut self, names: &[&str], mut again: impl AsyncFnMut()) {
        for name in names {
            eventually(PATIENCE, &format!("{name} fires"), async || {
                if !self.alerts.contains(*name) {
                    again().await;
                    self.alerts.extend(self.prometheus.firing().await);
                }
                self.alerts.contains(*name)
            })
            .await;
        }
    }
}

/// So many requests at once, whatever comes of them.
async fn ask(host: &Host, requests: usize) {
    let asked = (0..requests).map(|_| raw::status(host.address(), "GET /key"));
    join_all(asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_come_where_something_is_wrong_with_a_host_and_not_before() {
    let Some(program) = program("prometheus") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let limits = "guard = { calls = 10 }\nlimits = { concurrent_calls = 2, queue = 2 }";
    let subscription = subscribed("partitions = 1\nretry = \"1s\"");
    let manifest = manifest(folder.path(), limits, &subscription);
    // Few connections, and an audit that always finds something.
    let audited = text(&manifest).replace("pool = 4", "pool = 2, audit = \"audit.sql\"");
    std::fs::write(&manifest, audited).expect("written");
    let audit = "select 'this' as what_does_not_add_up";
    std::fs::write(folder.path().join("audit.sql"), audit).expect("written");
    let setup = Setup::application(manifest, &["COUNTER", "BUS", "RELEASES"]).await;
    let bus = proxy(setup.server("BUS")).await;
    let own = proxy(setup.server("COUNTER")).await;
    let releases = proxy(setup.server("RELEASES")).await;
    let database = setup.connect("COUNTER").await;
    let setup = setup
        .through("BUS", bus.addr())
        .through("COUNTER", own.addr())
        .through("RELEASES", releases.addr());
    let host = setup.start().await;
    let target = host.admin.trim_start_matches("http://");
    let prometheus = Prometheus::start(&program, target, &hurried());
    prometheus.has_scraped().await;
    let mut provoked = Provoked {
        prometheus: &prometheus,
        alerts: BTreeSet::new(),
    };

    // All is well but for the audit.
    let finding = "MarqueeAuditFinding";
    let asking = async || ask(&host, 2).await;
    provoked.comes(&[finding], &asking).await;
    eventually(PATIENCE, "requests are seen", async || {
        ask(&host, 2).await;
        let rate = "query?query=job_route:marquee_http_requests:rate5m>1";
        prometheus.ask(rate).await["result"][0].is_object()
    })
    .await;
    assert_eq!(prometheus.firing().await, [finding]);

    // A canary that is no good, and then a version with all calls.
    let unfit = guest("unfit");
    let unfit = unfit.to_str().expect("text");
    done(&setup, &["deploy", "counter", unfit, "--weight", "50%"]);
    let rolled_back = ["MarqueeVersionRolledBack"];
    provoked.comes(&rolled_back, &asking).await;
    done(&setup, &["deploy", "counter", unfit]);
    publish(&database, "refused", "first", 20).await;
    let fails = [
        "MarqueeCallsFail",
        "MarqueeDeadLetters",
        "MarqueeKeysBlocked",
        "MarqueeRequestsFail",
    ];
    provoked.comes(&fails, &asking).await;
    publish(&database, "deadly", "trap", 300).await;
    let nowhere = "select marquee.publish('nowhere', 'k', '{}', 'first')";
    database.execute(nowhere, &[]).await.expect("published");
    let stands = [
        "MarqueeBreakerOpen",
        "MarqueeConsumerLagGrows",
        "MarqueeConsumerStands",
        "MarqueeOutboxRefused",
        "MarqueeParkedMessages",
    ];
    provoked.comes(&stands, async || {}).await;

    done(&setup, &["rollback", "counter"]);
    done(&setup, &["consumers", "pause", "counter", "numbers"]);
    provoked
        .comes(&["MarqueeConsumerPaused"], async || {})
        .await;

    // Nothing is far away, and much is asked.
    own.delay(Duration::from_millis(1_200));
    let slow = [
        "MarqueeCallsWait",
        "MarqueePoolWaits",
        "MarqueeRequestsSlow",
        "MarqueeRequestsTurnedAway",
    ];
    provoked.comes(&slow, async || ask(&host, 12).await).await;
    own.delay(Duration::ZERO);

    // The bus is away, and so is what should be live.
    bus.cut();
    releases.cut();
    publish(&database, "waits", "counts", 1).await;
    let away = [
        "MarqueeDatabaseUnreachable",
        "MarqueeOutboxOld",
        "MarqueeReleaseBehind",
    ];
    provoked.comes(&away, async || {}).await;

    host.kill();
    provoked.comes(&["MarqueeHostDown"], async || {}).await;

    let provoked: BTreeSet<&str> = provoked.alerts.iter().map(String::as_str).collect();
    for (name, _) in rules::alerts() {
        let alone = BY_PROMTOOL_ALONE.contains(&name.as_str());
        assert!(alone || provoked.contains(name.as_str()), "{name}");
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
