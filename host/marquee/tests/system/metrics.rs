//! What a host counts, as Prometheus sees it.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use marquee_testkit::{eventually, proxy};

use crate::{
    bus::{client, film, served},
    host::{Host, Setup},
    prometheus::Prometheus,
    raw,
    releases::{done, hello, remade},
    tools::program,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What one scrape says: each series with its value.
struct Scraped {
    text: String,
    series: BTreeMap<String, f64>,
}

impl Scraped {
    async fn of(host: &Host) -> Self {
        let address = host.admin.trim_start_matches("http://");
        let answer = raw::request(address, "GET /metrics", &[], "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
        let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
        let mut series = BTreeMap::new();
        for line in lines {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let value = value.parse().expect("a number");
            let twice = series.insert(name.to_owned(), value);
            assert!(twice.is_none(), "{name} is there twice");
        }
        Self {
            text: answer.body,
            series,
        }
    }

    /// The sum of the series of this name that have all of these labels.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let fits = |series: &&String| {
            let rest = series.strip_prefix(name);
            let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with('{'));
            rest.is_some_and(|rest| labels.iter().all(|label| rest.contains(label)))
        };
        let series = self.series.iter().filter(|(series, _)| fits(series));
        series.map(|(_, value)| value).sum()
    }
}

/// Wait until the metrics say so. Those of databases are as old as ten seconds.
async fn until(host: &Host, what: &str, says: impl Fn(&Scraped) -> bool) -> Scraped {
    let mut last = Scraped::of(host).await;
    eventually(PATIENCE, what, async || {
        last = Scraped::of(host).await;
        says(&last)
    })
    .await;
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_movie_and_its_rating_are_counted_wherever_they_pass() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let before = Scraped::of(&host).await;
    let client = client(&host.url);
    let kept = client.keep(&film("Heat")).await.expect("kept");
    client.rate(kept.id(), "ann", 8).await.expect("accepted");
    served(&client, kept.id(), 1, 8.0).await;
    // What comes from databases is as of one look, at another moment than what the host counts itself.
    let says = |said: &Scraped| {
        let done = [
            "consumer=\"rating\"",
            "topic=\"ratings\"",
            "outcome=\"done\"",
        ];
        said.sum("marquee_delivered_messages_total", &done) == 1.0
            && said.sum("marquee_consumer_position", &done[..2]) > 0.0
            && said.sum("marquee_consumer_lag_messages", &done[..2]) == 0.0
            && said.sum("marquee_outbox_messages", &["database=\"metadata\""]) == 0.0
            && said.sum("marquee_audit_timestamp_seconds", &[]) > 0.0
    };
    let after = until(&host, "the rating is counted", says).await;
    let grew = |name: &str, labels: &[&str]| {
        let (before, after) = (before.sum(name, labels), after.sum(name, labels));
        assert!(after > before, "{name} {labels:?}: {before} and {after}");
    };
    grew(
        "marquee_http_requests_total",
        &[
            "route=\"/v1/movies/{id}/ratings/{user}\"",
            "method=\"PUT\"",
            "status=\"202\"",
        ],
    );
    grew(
        "marquee_http_request_duration_seconds_count",
        &["route=\"/v1/movies\""],
    );
    for component in ["gateway", "metadata", "rating"] {
        let component = format!("component=\"{component}\"");
        grew("marquee_component_calls_total", &[&component]);
        grew("marquee_component_call_duration_seconds_sum", &[&component]);
    }
    grew(
        "marquee_database_statement_duration_seconds_count",
        &["database=\"rating\""],
    );
    grew(
        "marquee_database_units_total",
        &["database=\"rating\"", "outcome=\"committed\""],
    );
    grew(
        "marquee_relay_messages_total",
        &["database=\"metadata\"", "outcome=\"acknowledged\""],
    );
    grew(
        "marquee_relay_publish_duration_seconds_count",
        &["database=\"metadata\""],
    );
    grew(
        "marquee_deliveries_total",
        &["source=\"bus\"", "outcome=\"settled\""],
    );
    grew("marquee_connections_opened_total", &["listener=\"public\""]);

    let is = |name: &str, labels: &[&str], value: f64| {
        assert_eq!(
            after.sum(name, labels),
            value,
            "{name} {labels:?}: {}",
            after.text
        );
    };
    let rating = ["consumer=\"rating\"", "topic=\"ratings\""];
    is("marquee_consumer_dead_messages", &rating, 0.0);
    is("marquee_audit_findings", &[], 0.0);
    is(
        "marquee_outbox_oldest_age_seconds",
        &["database=\"metadata\""],
        0.0,
    );
    is(
        "marquee_version_share_ratio",
        &["component=\"rating\"", "role=\"stable\""],
        1.0,
    );
    is("marquee_tasks_restarted_total", &[], 0.0);
    is("marquee_components_missing", &[], 0.0);
    is("marquee_metrics_look_failures_total", &[], 0.0);
    assert!(after.sum("marquee_component_memory_bytes", &["component=\"rating\""]) > 0.0);
    assert!(after.sum("process_resident_memory_bytes", &[]) > 1e6);
    let limit = ["database=\"rating\""];
    assert!(after.sum("marquee_database_connections_limit", &limit) >= 1.0);

    // Every metric is in the document, and nothing else.
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let document = fs::read_to_string(document).expect("the document");
    let described = after
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next());
    for name in described {
        assert!(document.contains(&format!("| `{name}` |")), "{name}");
    }
    check(&after.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_trials_and_steps_are_counted_by_their_kind() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let host = setup.start().await;
    let before = Scraped::of(&host).await;
    for (request, status) in [("GET /Ada", 200), ("GET /Ada", 200), ("TRACE /", 405)] {
        let answer = raw::request(host.address(), request, &[], "").await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let first = Scraped::of(&host).await;
    let is = |said: &Scraped, name: &str, labels: &[&str], value: f64| {
        assert_eq!(
            said.sum(name, labels),
            value,
            "{name} {labels:?}: {}",
            said.text
        );
    };
    is(
        &first,
        "marquee_http_problems_total",
        &["reason=\"method\""],
        1.0,
    );
    is(
        &first,
        "marquee_http_requests_total",
        &["route=\"none\"", "status=\"405\""],
        1.0,
    );
    is(&first, "marquee_http_requests_under_way", &[], 0.0);
    let hello = "component=\"hello\"";
    let calls = |said: &Scraped, labels: &[&str]| said.sum("marquee_component_calls_total", labels);
    // To be tried is a call, too.
    assert_eq!(calls(&first, &[hello]) - calls(&before, &[hello]), 2.0);
    let version = |said: &Scraped| {
        let shares = said.series.keys();
        let mut stable = shares.filter(|it| it.starts_with("marquee_version_share_ratio"));
        let stable = stable
            .find(|it| it.contains("role=\"stable\""))
            .expect("one is live");
        stable.split("version=").nth(1).expect("a version")[..14].to_owned()
    };
    let old = version(&first);

    done(
        &setup,
        &["deploy", "hello", &remade("hello", "second", folder.path())],
    );
    let drained = |said: &Scraped| {
        said.sum(
            "marquee_release_phase_duration_seconds_count",
            &["phase=\"drain\""],
        ) == 1.0
    };
    let second = until(&host, "the old version is drained", drained).await;
    let new = version(&second);
    assert_ne!(old, new);
    let deploy = ["action=\"deploy\"", "outcome=\"done\""];
    is(&second, "marquee_release_steps_total", &deploy, 1.0);
    let phase = |name| format!("phase=\"{name}\"");
    for name in ["prepare", "commit"] {
        let name = phase(name);
        let counted = second.sum("marquee_release_phase_duration_seconds_count", &[&name]);
        assert!(counted >= 1.0, "{name}: {}", second.text);
    }
    let again = raw::request(host.address(), "GET /Ada", &[], "").await;
    assert_eq!(again.status, 200, "{again:?}");
    let third = Scraped::of(&host).await;
    let of_new = [hello, new.as_str()];
    assert_eq!(calls(&third, &of_new) - calls(&second, &of_new), 1.0);
    // What the old one did is not forgotten.
    let of_old = [hello, old.as_str()];
    assert_eq!(calls(&third, &of_old), calls(&first, &of_old));
    check(&third.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedules_runs_are_counted_with_how_late_they_were() {
    let setup = Setup::application("examples/orders/spin.toml", &["ORDERS", "BUS"]).await;
    let host = setup.start().await;
    let schedule = "schedule=\"expire\"";
    let ran = |said: &Scraped| {
        said.sum(
            "marquee_schedule_runs_total",
            &[schedule, "outcome=\"done\""],
        ) >= 1.0
    };
    let said = until(&host, "it ran", ran).await;
    let runs = said.sum("marquee_schedule_runs_total", &[schedule]);
    let begun = said.sum("marquee_schedule_lateness_seconds_count", &[schedule]);
    assert!(begun >= runs, "{begun} of {runs}");
    let late = said.sum("marquee_schedule_lateness_seconds_sum", &[schedule]) / begun;
    assert!(late < 10.0, "{late} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_goes_on_without_what_a_database_does_not_say() {
    let setup = Setup::databases().await;
    let through = proxy(setup.server("RATING")).await;
    let setup = setup.through("RATING", through.addr());
    let host = setup.start().await;
    let outbox = "marquee_outbox_messages{database=\"rating\"}";
    let known = |said: &Scraped| said.series.contains_key(outbox);
    until(&host, "the database is asked", known).await;
    through.delay(Duration::from_secs(5));
    let failed = |said: &Scraped| said.sum("marquee_metrics_look_failures_total", &[]) >= 1.0;
    let said = until(&host, "it is asked in vain", failed).await;
    assert!(!known(&said), "what is not known is not told");
    assert!(
        said.series
            .contains_key("marquee_outbox_messages{database=\"metadata\"}")
    );
    assert!(said.sum("marquee_component_calls_total", &[]) > 0.0);
    through.delay(Duration::ZERO);
    until(&host, "it is asked again", known).await;
}

/// `promtool` takes it, and has nothing to say against its names.
fn check(text: &str) {
    let Some(program) = program("promtool") else {
        return;
    };
    let mut asked = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let input = asked.stdin.take();
    let written = input.expect("piped").write_all(text.as_bytes());
    written.expect("it reads");
    let said = asked.wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && words.is_empty(), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_scrapes_a_host_and_sees_requests() {
    let Some(program) = program("prometheus") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    // Whoever reads need not hold what changes things.
    let token = "0123456789abcdef0123456789abcdef";
    let setup = setup.with("MARQUEE_ADMIN_TOKEN", token);
    let host = setup.start().await;
    let target = host.admin.trim_start_matches("http://");
    let prometheus = Prometheus::start(&program, target, &[]);
    prometheus.has_scraped().await;
    for _ in 0..3 {
        let answer = raw::request(host.address(), "GET /Ada", &[], "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    eventually(PATIENCE, "it sees the requests", async || {
        let found = prometheus
            .ask("query?query=marquee_http_requests_total")
            .await;
        let results = found["result"].as_array().cloned().unwrap_or_default();
        results.iter().any(|it| {
            let labels = &it["metric"];
            labels["method"] == "GET" && labels["status"] == "200" && it["value"][1] == "3"
        })
    })
    .await;
    // It asked for OpenMetrics, which says what kind each is.
    let kinds = prometheus
        .ask("metadata?metric=marquee_http_request_duration_seconds")
        .await;
    let kind = &kinds["marquee_http_request_duration_seconds"][0];
    assert_eq!(kind["type"], "histogram", "{kinds}");
    assert_eq!(kind["unit"], "seconds", "{kinds}");
}
