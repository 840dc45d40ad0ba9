//! Several hosts of one application: what one releases, all have.

use std::time::Duration;

use marquee_database::{Config, Database, Secret};
use marquee_manifest::ComponentId;
use marquee_registry::{State, States, Together, Weight, together};
use marquee_runtime::Health;
use marquee_testkit::{TestDatabase, database, eventually, proxy};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Back, Deployment, Error, How, Ledger, Share,
    tests::{Lab, asking, digest, id, plain, words},
};

/// A host among others.
struct Host {
    lab: Lab,
    ledger: Ledger,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Host {
    /// One that starts on the database of this URL, with `one` where nothing is live yet.
    async fn start(name: &str, url: &str) -> Self {
        let host = Self::idle(name, url).await;
        host.tasks
            .spawn(host.lab.releases.clone().run(host.stop.clone()));
        host.is_current().await;
        host
    }

    /// One that does not look at what others do.
    async fn idle(name: &str, url: &str) -> Self {
        let url = Secret::new(url.to_owned());
        let database = Database::new(&Config::new("releases", url)).expect("a database");
        let ledger = Ledger::open(database, "movies", name.to_owned());
        let ledger = ledger.await.expect("a ledger");
        let lab = Lab::empty(Duration::from_secs(5), 50, Some(ledger.clone()));
        let inner = &lab.releases.0;
        let source = [("words", plain("words")), ("it", plain("one"))];
        let source = source.map(|(name, text)| (id(name), lab.store(name, &text)));
        // What it may have to load, since there is no compiler beside a test.
        for mark in ["two", "three", "four"] {
            lab.store("it", &plain(mark));
            lab.store("words", &plain(mark));
        }
        lab.store("it", &asking());
        lab.store("words", &words());
        inner.read_anew().await.expect("read");
        let beside = inner.has_others().await.expect("asked");
        let mut states = Vec::new();
        for (id, source) in source {
            let state = match inner.desired.lock().await.state(&id) {
                Some(state) => inner
                    .started(&id, &state, source, beside)
                    .await
                    .expect("decided"),
                None => State::new(source),
            };
            let state = inner.begin(&id, state).await.expect("loaded");
            states.push((id, state));
        }
        inner.write(states).await.expect("written");
        Self {
            lab,
            ledger,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Why what is live here is not remembered, if it is not.
    async fn unremembered(&self) -> Option<String> {
        let reports = self.lab.releases.report(Some(&id("it"))).await;
        reports.expect("a report").remove(0).not_remembered
    }

    /// Wait until the others see that it is there.
    async fn is_current(&self) {
        let is_there = async || {
            let hosts = self.ledger.hosts().await.expect("hosts");
            let me = hosts.iter().find(|host| host.id == self.ledger.host());
            me.is_some_and(|me| me.state == "current")
        };
        eventually(Duration::from_secs(10), "it is there", is_there).await;
    }

    async fn deploy(&self, mark: &str, hosts: Option<u32>) -> Result<(), Error> {
        let text = plain(mark);
        self.lab.store("it", &text);
        let bytes = wat::parse_str(&text).expect("a component");
        let deployment = Deployment {
            bytes: std::io::Cursor::new(bytes),
            label: None,
            signature: None,
            from: None,
            migration: None,
            how: How {
                hosts,
                ..How::default()
            },
        };
        self.lab.releases.deploy("ann", &id("it"), deployment).await
    }

    /// Both as one step.
    async fn release(&self, it: &str, words: &str) -> Result<(), Error> {
        self.lab.release(it, words).await
    }

    async fn comes_to_both(&self, it: &str, words: &str) {
        let has = async || self.lab.has(it, words);
        eventually(Duration::from_secs(20), "it has both", has).await;
    }

    fn has(&self, mark: &str) -> bool {
        self.lab.live("it") == digest(&plain(mark))
    }

    async fn comes_to(&self, mark: &str) {
        let has = async || self.has(mark);
        eventually(Duration::from_secs(20), mark, has).await;
    }

    /// Wait until it knows of no step on its way.
    async fn is_at_rest(&self) {
        let at_rest = async || self.state().await.wave.is_none();
        eventually(Duration::from_secs(10), "no step is on its way", at_rest).await;
    }

    async fn state(&self) -> State {
        self.lab.releases.0.state(&id("it")).await.expect("a state")
    }

    /// It ends as if its machine had gone.
    async fn vanish(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn three() -> (TestDatabase, [Host; 3]) {
    let database = database().await;
    let mut hosts = Vec::new();
    for name in ["a", "b", "c"] {
        hosts.push(Host::start(name, database.url()).await);
    }
    (database, hosts.try_into().ok().expect("three"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_host_releases_is_live_on_all_when_it_says_so() {
    let (_database, [a, b, c]) = three().await;
    a.deploy("two", None).await.expect("live");
    assert!(a.has("two") && b.has("two") && c.has("two"));
    b.is_at_rest().await;
    b.deploy("three", Some(1)).await.expect("live");
    assert!(a.has("three") && b.has("three") && c.has("three"));
    // Back, from another one; nobody is waited for.
    c.lab.rollback(None, Health::Asked).await.expect("live");
    assert!(c.has("two"));
    a.comes_to("two").await;
    b.comes_to("two").await;
    let history = b.lab.releases.history(10, None).await.expect("read");
    let actions: Vec<&str> = history.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["rollback", "deploy", "deploy"], "of all hosts");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_has_the_shadow_until_one_ends_it() {
    let (_database, [a, b, c]) = three().await;
    let shadowed = a.lab.shadow("it", &plain("two"), "5%").await;
    shadowed.expect("copied to on all");
    let two = Some(digest(&plain("two")));
    for host in [&a, &b, &c] {
        assert!(host.has("one"));
        assert_eq!(host.lab.in_the_shadow("it"), two);
    }
    b.is_at_rest().await;
    b.lab
        .releases
        .unshadow("ann", &id("it"))
        .await
        .expect("ended");
    for host in [&a, &b, &c] {
        let ended = async || host.lab.in_the_shadow("it").is_none();
        eventually(Duration::from_secs(20), "it is ended", ended).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_a_host_cannot_take_is_taken_back_on_all() {
    let (_database, [a, b, c]) = three().await;
    // No other host has what was compiled of it, and there is no compiler beside a test.
    let refused = a.deploy("nine", Some(2)).await;
    let Err(Error::NotEverywhere { host, reason }) = refused else {
        panic!("{refused:?}");
    };
    assert!(["b", "c"].contains(&&*host), "{host}");
    assert!(!reason.is_empty());
    for host in [&a, &b, &c] {
        host.comes_to("one").await;
        host.is_at_rest().await;
    }
    let event = a
        .lab
        .releases
        .history(1, None)
        .await
        .expect("read")
        .remove(0);
    assert!(
        !event.ok && event.result.contains("nothing was changed"),
        "{event:?}"
    );
    // The one that was not among the first was never asked.
    let third = if host == "b" { &c } else { &b };
    let (versions, it) = (&third.lab.releases.0.versions, id("it"));
    let stored = versions.has(&it, digest(&plain("nine")));
    assert!(!stored.await.expect("looked"));
    a.deploy("two", None).await.expect("the next one is taken");
    assert!(b.has("two") && c.has("two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_steps_at_the_same_moment_each_stands_on_the_one_before() {
    let (_database, [a, b, c]) = three().await;
    let labelled = async |host: &Host, label: &str| {
        let one = digest(&plain("one"));
        let next = |states: &States| together::each(states, |_, state| state.label(label, one));
        let it = id("it");
        let step = host.lab.releases.0.step("ann", &it, "label").await;
        host.lab.releases.0.take(&step, next).await.expect("taken");
    };
    tokio::join!(
        labelled(&a, "1.0"),
        labelled(&b, "1.1"),
        labelled(&c, "1.2")
    );
    for host in [&a, &b, &c] {
        let all = async || host.state().await.labels.len() == 3;
        eventually(Duration::from_secs(10), "it has all labels", all).await;
    }
    let (first, second) = tokio::join!(a.deploy("two", None), b.deploy("three", None));
    // The one that came second met the other on its way, or came after it.
    assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
    let stable = a.state().await.active.stable;
    for host in [&a, &b, &c] {
        let same = async || host.lab.live("it") == stable;
        eventually(Duration::from_secs(10), "all have the same", same).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_away_catches_up_and_one_that_starts_has_what_is_live() {
    let database = database().await;
    let a = Host::start("a", database.url()).await;
    let b = Host::idle("b", database.url()).await;
    a.deploy("two", None).await.expect("nobody is waited for");
    a.deploy("three", None).await.expect("live");
    assert!(b.has("one"), "it does not look");
    b.tasks.spawn(b.lab.releases.clone().run(b.stop.clone()));
    b.comes_to("three").await;
    // Its file is the one that all began with.
    let c = Host::start("c", database.url()).await;
    assert!(c.has("three"));
    assert!(a.has("three") && b.has("three"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_leader_is_gone_is_taken_back() {
    let (_database, [a, b, c]) = three().await;
    a.vanish().await;
    let leader = a.ledger.host();
    let before = a.state().await;
    let two = digest(&plain("two"));
    let begin = |_: &ComponentId, state: &State| {
        let next = state.deploy(two, Weight::ALL, None)?;
        let hosts = [a.ledger.host(), b.ledger.host()].map(str::to_owned);
        Ok(next.first_on(hosts.into(), leader, state))
    };
    let next = |states: &States| together::each(states, begin);
    let it = id("it");
    let step = a.lab.releases.0.step("ann", &it, "deploy").await;
    a.lab.releases.0.take(&step, next).await.expect("begun");
    b.comes_to("two").await;
    assert!(c.has("one"), "it is not its turn");
    b.comes_to("one").await;
    let over = async || b.state().await == before && c.state().await == before;
    eventually(Duration::from_secs(10), "it is over", over).await;
    let events = c.lab.releases.history(10, None).await.expect("read");
    let who: Vec<&str> = events.iter().map(|event| event.who.as_str()).collect();
    assert!(
        who.contains(&"host, since the one that led the step is gone"),
        "{who:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn components_that_come_together_are_one_step_on_every_host_and_back_again() {
    let (_database, [a, b, c]) = three().await;
    let (one, mute) = (plain("one"), plain("words"));
    a.release(&asking(), &words()).await.expect("live");
    for host in [&a, &b, &c] {
        assert!(host.lab.has(&asking(), &words()));
    }
    b.is_at_rest().await;
    // From another one, by the name of either.
    let back = Back {
        to: None,
        health: Health::Asked,
    };
    let back = c.lab.releases.rollback("ann", &id("words"), back).await;
    back.expect("live");
    for host in [&c, &a, &b] {
        host.comes_to_both(&one, &mute).await;
    }
    let history = b.lab.releases.history(10, None).await.expect("read");
    let actions: Vec<(&str, usize)> = history
        .iter()
        .map(|event| (event.action.as_str(), event.with.len()))
        .collect();
    assert_eq!(actions, [("rollback", 1), ("deploy", 1)]);
    let of_words = b.lab.releases.history(10, Some(id("words"))).await;
    assert_eq!(of_words.expect("read").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_come_together_both_are_taken_back_where_a_host_cannot_have_one() {
    let (_database, [a, b, c]) = three().await;
    // No other host has what was compiled of it, and there is no compiler beside a test.
    let refused = a.release(&plain("nine"), &words()).await;
    assert!(
        matches!(refused, Err(Error::NotEverywhere { .. })),
        "{refused:?}"
    );
    for host in [&a, &b, &c] {
        host.comes_to_both(&plain("one"), &plain("words")).await;
        host.is_at_rest().await;
    }
    let history = b.lab.releases.history(10, None).await.expect("read");
    assert_eq!(history.len(), 1, "{history:?}");
    assert!(!history[0].ok);
    a.release(&asking(), &words())
        .await
        .expect("the next one is taken");
    assert!(b.lab.has(&asking(), &words()) && c.lab.has(&asking(), &words()));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_release_both_components_at_once_each_gets_both_or_none() {
    let (_database, [a, b, c]) = three().await;
    let [two, three] = ["two", "three"].map(plain);
    let (first, second) = tokio::join!(a.release(&two, &two), b.release(&three, &three));
    assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
    for host in [&a, &b, &c] {
        host.is_at_rest().await;
    }
    let is_two = a.state().await.active.stable == digest(&plain("two"));
    let mark = plain(if is_two { "two" } else { "three" });
    for host in [&a, &b, &c] {
        host.comes_to_both(&mark, &mark).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_two_whose_leader_is_gone_is_taken_back_whole() {
    let (_database, [a, b, c]) = three().await;
    a.vanish().await;
    let two = [("it", asking()), ("words", words())];
    let two: Together = two.map(|(name, text)| (id(name), digest(&text))).into();
    let next = |states: &States| {
        let next = together::deploy(states, &two, |_| None)?;
        together::each(&next, |id, next| {
            let hosts = [a.ledger.host(), b.ledger.host()].map(str::to_owned);
            Ok(next
                .clone()
                .first_on(hosts.into(), a.ledger.host(), &states[id]))
        })
    };
    let inner = &a.lab.releases.0;
    let mut step = inner.step_of("ann", two.keys(), "deploy").await;
    step.widen = true;
    inner.take(&step, next).await.expect("begun");
    b.comes_to_both(&asking(), &words()).await;
    assert!(c.lab.has(&plain("one"), &plain("words")), "not its turn");
    b.comes_to_both(&plain("one"), &plain("words")).await;
    b.is_at_rest().await;
    let events = c.lab.releases.history(10, None).await.expect("read");
    assert_eq!(events.len(), 1, "once, for both: {events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_a_host_serves_says_so_and_takes_no_step_but_one_that_ends_harm() {
    let database = database().await;
    let a = Host::start("a", database.url()).await;
    let mut url = url::Url::parse(database.url()).expect("a URL");
    let port = url.port().unwrap_or(5432);
    let wire = proxy(([127, 0, 0, 1], port).into()).await;
    url.set_host(Some("127.0.0.1")).expect("a host");
    url.set_port(Some(wire.addr().port())).expect("a port");
    let b = Host::start("b", url.as_str()).await;
    a.deploy("two", None).await.expect("live");
    b.comes_to("two").await;
    b.is_at_rest().await;

    wire.cut();
    let says_so = async || b.lab.releases.lags().is_some();
    eventually(Duration::from_secs(20), "it says so", says_so).await;
    assert!(b.has("two"));
    let refused = b.deploy("three", None).await;
    assert!(matches!(refused, Err(Error::Ledger(_))), "{refused:?}");
    b.lab
        .rollback(None, Health::Asked)
        .await
        .expect("it takes effect");
    assert!(b.has("one") && a.has("two"));

    wire.heal();
    a.comes_to("one").await;
    let is_well = async || b.lab.releases.lags().is_none();
    eventually(Duration::from_secs(20), "it is there again", is_well).await;

    // Where another host changed it meanwhile, that stands.
    a.deploy("two", None).await.expect("live");
    b.comes_to("two").await;
    b.is_at_rest().await;
    wire.cut();
    eventually(Duration::from_secs(20), "it says so", says_so).await;
    b.lab
        .rollback(None, Health::Asked)
        .await
        .expect("it takes effect");
    assert!(b.has("one"));
    eventually(Duration::from_secs(20), "nobody waits for b", async || {
        let hosts = a.ledger.hosts().await.expect("hosts");
        hosts.iter().any(|host| host.state == "silent")
    })
    .await;
    a.deploy("three", None).await.expect("live");
    assert!(b.unremembered().await.is_some());
    wire.heal();
    b.comes_to("three").await;
    assert!(a.has("three"));
    let nothing_is = async || b.unremembered().await.is_none();
    eventually(Duration::from_secs(20), "it says nothing of it", nothing_is).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ramp_rises_on_all_hosts_though_the_one_that_began_it_is_gone() {
    let (_database, [a, b, c]) = three().await;
    let bytes = wat::parse_str(plain("two")).expect("a component");
    let ramp = "1%,50%,100%".parse().expect("a ramp");
    let deployment = Deployment {
        bytes: std::io::Cursor::new(bytes),
        label: None,
        signature: None,
        from: None,
        migration: None,
        how: How {
            share: Share::Ramp(ramp, Duration::from_secs(2)),
            ..How::default()
        },
    };
    let deployed = a.lab.releases.deploy("ann", &id("it"), deployment).await;
    deployed.expect("live");
    let report = b.lab.releases.report(Some(&id("it"))).await;
    let report = report.expect("a report").remove(0);
    assert_eq!(report.rising.expect("it rises").then.len(), 2);
    assert!(b.has("one"));
    a.vanish().await;
    b.comes_to("two").await;
    c.comes_to("two").await;
    let events = c.lab.releases.history(10, None).await.expect("read");
    let ramps: Vec<&str> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(ramps, ["ramp", "ramp", "deploy"], "each step once");
}
