//! Steps and what they do to each other, on a runtime and a folder of their own.

use std::{collections::BTreeMap, fs};

use marquee_manifest::{Dependencies, Guard, Guarded};
use marquee_registry::Store;
use marquee_runtime::{Call, Figures, Limits, Lineup, LoadError, Room};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;

/// What may be released here: `it`, and `words`, whose interface it may import.
pub(super) struct Lab {
    folder: TempDir,
    pub(super) releases: Releases,
}

/// Keeps so many versions that nobody needs.
const KEPT: usize = 1;

impl Lab {
    /// With these versions live, and nobody beside it.
    async fn with(it: &str, words: &str, deadline: Duration) -> Self {
        let lab = Self::empty(deadline, KEPT, None);
        for (name, text) in [("words", words), ("it", it)] {
            let digest = lab.store(name, text);
            lab.begin(name, State::new(digest)).await;
        }
        lab
    }

    /// Nothing is live yet.
    pub(super) fn empty(deadline: Duration, kept: usize, ledger: Option<Ledger>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Runtime::new(Lineup::nothing(), 1 << 20, Room::default()).expect("a runtime");
        let versions =
            Versions::open(folder.path(), &runtime, kept, Trust::default()).expect("a store");
        let stored = folder.path().join("versions");
        let component = |name: &str, dependencies| {
            let spec = Spec {
                id: id(name),
                dependencies,
                transactional: BTreeSet::new(),
                entry_points: BTreeMap::new(),
                environment: Vec::new(),
                limits: Limits {
                    deadline,
                    memory_bytes: 1 << 20,
                    ..Limits::default()
                },
            };
            let component = Component {
                spec,
                guard: Guard {
                    on: Guarded::Always,
                    calls: 10,
                    factor: 2,
                },
                patience: deadline + Duration::from_secs(1),
            };
            (id(name), component)
        };
        let from_words = [("test:words".parse().expect("a package"), id("words"))];
        let components = vec![
            component("words", Dependencies::default()),
            component("it", from_words.into_iter().collect()),
        ];
        let book = Book::open(&stored).expect("a book");
        let inner = Inner::new(runtime, versions, components, book, ledger);
        let releases = Releases(Arc::new(inner));
        Self { folder, releases }
    }

    async fn new() -> Self {
        Self::with(&plain("one"), &plain("words"), Duration::from_secs(5)).await
    }

    /// A version in the store, with what was compiled of it: there is no compiler beside a test.
    pub(super) fn store(&self, name: &str, text: &str) -> Digest {
        let bytes = wat::parse_str(text).expect("a component");
        let store = Store::open(self.folder.path().join("versions")).expect("a store");
        let digest = store.put(&*bytes, &id(name), "ann").expect("stored");
        let artifact = marquee_runtime::compile(&bytes).expect("compiled");
        let engine = self.releases.0.runtime.engine_key().to_owned();
        let kept = store.put_artifact(&digest, &engine, artifact.bytes());
        kept.expect("kept");
        digest
    }

    /// As at a start.
    async fn begin(&self, name: &str, state: State) {
        let inner = &self.releases.0;
        let state = inner.begin(&id(name), state).await.expect("loaded");
        inner.write(vec![(id(name), state)]).await.expect("written");
    }

    pub(super) async fn deploy(&self, name: &str, text: &str) -> Result<(), Error> {
        self.deploy_labelled(name, text, None).await
    }

    async fn deploy_labelled(
        &self,
        name: &str,
        text: &str,
        label: Option<&str>,
    ) -> Result<(), Error> {
        self.store(name, text);
        let deployment = Deployment {
            bytes: io::Cursor::new(wat::parse_str(text).expect("a component")),
            label: label.map(str::to_owned),
            signature: None,
            from: None,
            migration: None,
            how: How::default(),
        };
        self.releases.deploy("ann", &id(name), deployment).await
    }

    /// Versions of `it` and `words`, as one step.
    pub(super) async fn release(&self, it: &str, words: &str) -> Result<(), Error> {
        let part = |name: &str, text: &str| {
            let version = format!("{:#}", self.store(name, text));
            let part = Part {
                from: None,
                version,
                label: None,
                migration: None,
            };
            (id(name), part)
        };
        let release = Release {
            parts: [part("it", it), part("words", words)].into(),
            widen: true,
            hosts: None,
        };
        self.releases.release("ann", release).await
    }

    pub(super) fn has(&self, it: &str, words: &str) -> bool {
        self.live("it") == digest(it) && self.live("words") == digest(words)
    }

    /// Give a version copies of a share of the calls.
    pub(super) async fn shadow(&self, name: &str, text: &str, share: &str) -> Result<(), Error> {
        self.store(name, text);
        let deployment = Deployment {
            bytes: io::Cursor::new(wat::parse_str(text).expect("a component")),
            label: None,
            signature: None,
            from: None,
            migration: None,
            how: How {
                share: Share::Shadow(share.parse().expect("a share")),
                ..How::default()
            },
        };
        self.releases.deploy("ann", &id(name), deployment).await
    }

    /// The version that gets copies of calls.
    pub(super) fn in_the_shadow(&self, name: &str) -> Option<Digest> {
        let live = self.releases.0.runtime.live(&id(name));
        Some(live?.shadow.as_ref()?.version.digest)
    }

    pub(super) async fn rollback(&self, to: Option<&str>, health: Health) -> Result<(), Error> {
        let to = to.map(str::to_owned);
        let back = Back { to, health };
        self.releases.rollback("ann", &id("it"), back).await
    }

    pub(super) fn live(&self, name: &str) -> Digest {
        let live = self.releases.0.runtime.live(&id(name));
        live.expect("it is live").stable.digest
    }

    /// Have the live version of `it` run ten jobs of this name.
    async fn run(&self, job: &str) {
        for _ in 0..10 {
            let deadline = std::time::Instant::now() + Duration::from_secs(5);
            let call = Call::new("test", deadline);
            let runtime = &self.releases.0.runtime;
            // Whether it failed is in the figures.
            let _ = runtime.run_job(&id("it"), job.to_owned(), 0, call).await;
        }
    }

    /// A job of `it` that computes until its deadline, once it has begun.
    async fn begin_job(&self) -> JoinHandle<()> {
        let runtime = self.releases.0.runtime.clone();
        let call = TaskTracker::new().spawn(async move {
            let deadline = std::time::Instant::now() + Duration::from_secs(2);
            let call = Call::new("test", deadline);
            let ended = runtime.run_job(&id("it"), "it".to_owned(), 0, call).await;
            assert!(ended.is_err(), "it computes for ever");
        });
        let begun = async || self.figures("it").in_flight > 0;
        marquee_testkit::eventually(Duration::from_secs(5), "it has begun", begun).await;
        call
    }

    fn figures(&self, name: &str) -> Figures {
        let live = self.releases.0.runtime.live(&id(name));
        live.expect("it is live").stable.payload.figures()
    }

    /// Actions and results, newest first.
    async fn history(&self) -> Vec<(String, String)> {
        let events = self.releases.history(100, Some(id("it"))).await;
        let events = events.expect("read").into_iter();
        events.map(|event| (event.action, event.result)).collect()
    }

    /// Whether a step is.
    fn is_under_way(&self) -> bool {
        self.releases.0.under_way.try_write().is_err()
    }

    fn is_stored(&self, digest: Digest) -> bool {
        let versions = self.folder.path().join("versions");
        versions.join(format!("{digest:#}")).exists()
    }
}

pub(super) fn id(name: &str) -> ComponentId {
    name.parse().expect("a plain name")
}

pub(super) fn digest(text: &str) -> Digest {
    Digest::of(&wat::parse_str(text).expect("a component"))
}

/// A component that does nothing, one for each mark.
pub(super) fn plain(mark: &str) -> String {
    format!(r#"(component (core module (@custom "mark" "{mark}")))"#)
}

/// One that computes at its start for longer than it may.
fn slow() -> String {
    "(component
      (core module $m (func $start (loop (br 0))) (start $start))
      (core instance (instantiate $m)))"
        .to_owned()
}

/// One whose probe traps.
fn ailing() -> String {
    r#"(component
      (core module $m
        (memory (export "memory") 1)
        (func (export "ready") (result i32) unreachable))
      (core instance $i (instantiate $m))
      (type $ready (func async (result (result (error string)))))
      (func $ready (type $ready)
        (canon lift (core func $i "ready") (memory $i "memory")))
      (instance $probe (export "ready" (func $ready)))
      (export "marquee:health/probe@0.1.0" (instance $probe)))"#
        .to_owned()
}

/// One that exports `test:words/it`.
pub(super) fn words() -> String {
    r#"(component
      (core module $m (func (export "f") (result i32) (i32.const 7)))
      (core instance $i (instantiate $m))
      (type $t (func (result u32)))
      (func $f (type $t) (canon lift (core func $i "f")))
      (instance $has (export "say" (func $f)))
      (export "test:words/it" (instance $has)))"#
        .to_owned()
}

/// One whose jobs succeed, but for those with a long name; one for each mark.
fn working(mark: &str) -> String {
    format!(
        r#"(component
      (core module $m (@custom "mark" "{mark}")
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
        (func (export "run") (param i32 i32 i64) (result i32)
          (if (i32.gt_u (local.get 1) (i32.const 2)) (then unreachable))
          (i32.const 16)))
      {JOB_OF_M})"#
    )
}

/// Exports the core module `$m`'s functions as a job.
const JOB_OF_M: &str = r#"(core instance $i (instantiate $m))
      (type $run (func async (param "name" string) (param "due-at-ms" u64)
        (result (result (error string)))))
      (func $run (type $run)
        (canon lift (core func $i "run") (memory $i "memory") (realloc (func $i "realloc"))))
      (instance $job (export "run" (func $run)))
      (export "marquee:schedule/job@0.1.0" (instance $job))"#;

/// One that imports it, and whose probe calls it.
pub(super) fn asking() -> String {
    r#"(component
      (import "test:words/it" (instance $words (export "say" (func (result u32)))))
      (core func $say (canon lower (func $words "say")))
      (core module $m
        (import "words" "say" (func $say (result i32)))
        (memory (export "memory") 1)
        (func (export "ready") (result i32)
          (if (i32.ne (call $say) (i32.const 7)) (then unreachable))
          (i32.const 16)))
      (core instance $i (instantiate $m (with "words" (instance (export "say" (func $say))))))
      (type $ready (func async (result (result (error string)))))
      (func $ready (type $ready)
        (canon lift (core func $i "ready") (memory $i "memory")))
      (instance $probe (export "ready" (func $ready)))
      (export "marquee:health/probe@0.1.0" (instance $probe)))"#
        .to_owned()
}

/// One that imports it, and whose job computes until its deadline.
fn speaking() -> String {
    format!(
        r#"(component
      (import "test:words/it" (instance (export "say" (func (result u32)))))
      (core module $m
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8))
        (func (export "run") (param i32 i32 i64) (result i32) (loop (br 0)) unreachable))
      {JOB_OF_M})"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_version_on_its_way_out_still_calls_is_not_taken_from_it() {
    let lab = Lab::with(&speaking(), &words(), Duration::from_secs(2)).await;
    let call = lab.begin_job().await;
    // The new version needs nothing of the other one: who looks at what is live only, takes it away.
    lab.deploy("it", &plain("quiet")).await.expect("live");
    assert!(!call.is_finished());
    lab.deploy("words", &plain("mute")).await.expect("live");
    assert!(call.is_finished(), "it was waited for");
    assert_eq!(lab.live("words"), digest(&plain("mute")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_goes_live_with_the_one_that_it_needs_and_back_with_it() {
    let (one, mute) = (plain("one"), plain("words"));
    let lab = Lab::new().await;
    let alone = lab.deploy("it", &asking()).await;
    assert!(matches!(
        alone,
        Err(Error::Load(LoadError::Mismatch { .. }))
    ));
    // Its probe calls what is not live yet.
    lab.release(&asking(), &words()).await.expect("live");
    assert!(lab.has(&asking(), &words()));
    let event = lab.releases.history(1, Some(id("words"))).await;
    let event = event.expect("read").remove(0);
    assert_eq!(
        (event.component, event.action),
        (id("it"), "deploy".to_owned())
    );
    assert_eq!(event.version, Some(digest(&asking())));
    assert_eq!(event.with, [(id("words"), digest(&words()))].into());

    lab.rollback(None, Health::Asked).await.expect("live");
    assert!(lab.has(&one, &mute));
    let event = lab.releases.history(1, None).await.expect("read").remove(0);
    assert_eq!((event.action.as_str(), event.with.len()), ("rollback", 1));
    let none = lab.rollback(None, Health::Asked).await;
    assert!(matches!(none, Err(Error::Refused(Refused::NoPrevious))));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_come_together_neither_is_live_where_one_cannot_be() {
    let (one, mute) = (plain("one"), plain("words"));
    let lab = Lab::new().await;
    let lacks = lab.release(&asking(), &plain("more")).await;
    assert!(matches!(
        lacks,
        Err(Error::Load(LoadError::Mismatch { .. }))
    ));
    let ill = lab.release(&ailing(), &words()).await;
    assert!(matches!(ill, Err(Error::Load(LoadError::Unhealthy { .. }))));
    lab.releases
        .pin("ann", &id("words"), true)
        .await
        .expect("pinned");
    let pinned = lab.release(&asking(), &words()).await;
    let said = pinned.expect_err("one is pinned").to_string();
    assert!(said.starts_with("component words: it is pinned"), "{said}");
    assert!(lab.has(&one, &mute));
    let history = lab.history().await;
    let told: Vec<&str> = history.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(told, ["deploy", "deploy", "deploy"]);
    lab.releases
        .pin("ann", &id("words"), false)
        .await
        .expect("unpinned");
    lab.release(&asking(), &words()).await.expect("live");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_back_together_leaves_calls_under_way_what_they_call() {
    let lab = Lab::with(&plain("one"), &plain("mute"), Duration::from_secs(2)).await;
    lab.release(&speaking(), &words()).await.expect("live");
    let call = lab.begin_job().await;
    lab.rollback(None, Health::Asked).await.expect("live");
    assert!(call.is_finished(), "it was waited for");
    assert!(lab.has(&plain("one"), &plain("mute")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_away_together_what_was_called_waits_for_calls_too() {
    let lab = Lab::with(&speaking(), &words(), Duration::from_secs(2)).await;
    let call = lab.begin_job().await;
    lab.release(&plain("quiet"), &plain("mute"))
        .await
        .expect("live");
    assert!(call.is_finished(), "it was waited for");
    assert!(lab.has(&plain("quiet"), &plain("mute")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_that_changes_for_both_is_refused_since_calls_under_way_would_fail() {
    let lab = Lab::with(&speaking(), &words(), Duration::from_secs(2)).await;
    let param = r#"(func (param "n" u32) (result u32))"#;
    let it = speaking().replace("(func (result u32))", param);
    let words_ = words().replace("(func (result u32))", param).replace(
        r#"(export "f") (result"#,
        r#"(export "f") (param i32) (result"#,
    );
    let refused = lab.release(&it, &words_).await;
    assert!(matches!(refused, Err(Error::Breaks(_))), "{refused:?}");
    assert!(lab.has(&speaking(), &words()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_took_another_step_since_is_not_taken_back_with_the_others() {
    let lab = Lab::new().await;
    lab.release(&asking(), &words()).await.expect("live");
    let more = words().replace(
        "(core module $m",
        r#"(core module $m (@custom "mark" "more")"#,
    );
    lab.deploy("words", &more).await.expect("live");
    let parted = lab.rollback(None, Health::Asked).await;
    assert!(
        matches!(parted, Err(Error::Refused(Refused::Parted(_)))),
        "{parted:?}"
    );
    let to = format!("{:#}", digest(&plain("one")));
    lab.rollback(Some(&to), Health::Asked)
        .await
        .expect("by its name");
    assert!(lab.has(&plain("one"), &more));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_checked_like_any_version_and_is_there_after_a_restart() {
    let lab = Lab::new().await;
    let [one, two] = ["one", "two"].map(|mark| digest(&plain(mark)));
    lab.shadow("it", &plain("two"), "5%")
        .await
        .expect("copied to");
    assert_eq!((lab.live("it"), lab.in_the_shadow("it")), (one, Some(two)));
    let it = id("it");
    let mut reports = lab.releases.report(Some(&it)).await.expect("reported");
    let versions = reports.remove(0).versions;
    let shown: Vec<_> = versions
        .iter()
        .map(|version| {
            let weight = version.weight.map(|weight| weight.to_string());
            (&*version.state, weight.unwrap_or_default(), version.calls)
        })
        .collect();
    let expected = [
        ("stable", "100%".to_owned(), Some(0)),
        ("shadow", "5%".to_owned(), None),
    ];
    assert_eq!(shown, expected);
    let known = lab.releases.comparison(&it).expect("a component");
    assert_eq!(
        known.map(|known| (known.live, known.shadow)),
        Some((one, two))
    );

    let refused = lab.shadow("it", &ailing(), "5%").await;
    assert!(matches!(refused, Err(Error::Load(_))), "{refused:?}");
    let refused = lab.shadow("it", &plain("one"), "5%").await;
    assert!(
        matches!(refused, Err(Error::Refused(Refused::GetsCalls(_)))),
        "{refused:?}"
    );
    let removed = lab.shadow("words", &plain("mute"), "5%").await;
    removed.expect("nobody imports it");
    assert_eq!(lab.in_the_shadow("it"), Some(two), "as it was");

    // As after a restart.
    let state = lab.releases.0.state(&it).await.expect("a state");
    lab.releases
        .0
        .runtime
        .set_live(vec![(it.clone(), Live::only(one, prepared(&lab, "it")))]);
    assert_eq!(lab.in_the_shadow("it"), None);
    lab.begin("it", state).await;
    assert_eq!(lab.in_the_shadow("it"), Some(two));

    lab.deploy("it", &plain("three")).await.expect("live");
    assert_eq!(lab.in_the_shadow("it"), Some(two), "beside the new one");
    lab.releases.unshadow("ann", &it).await.expect("ended");
    assert_eq!(lab.in_the_shadow("it"), None);
    let known = lab.releases.comparison(&it).expect("a component");
    assert!(known.is_none());
    let (action, result) = lab.history().await.remove(0);
    assert_eq!(action, "unshadow");
    assert!(!result.contains("copied"), "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_in_nobodys_way_and_is_checked_anew_before_it_gets_calls() {
    let deadline = Duration::from_secs(2);
    let lab = Lab::with(&speaking(), &words(), deadline).await;
    let refused = lab.shadow("words", &plain("mute"), "5%").await;
    assert!(
        matches!(refused, Err(Error::Load(LoadError::Mismatch { .. }))),
        "{refused:?}"
    );
    lab.deploy("it", &plain("one")).await.expect("live");
    lab.shadow("words", &plain("mute"), "5%")
        .await
        .expect("nobody imports it now");
    lab.rollback(None, Health::Asked)
        .await
        .expect("it is linked with what gets calls");
    let refused = lab.deploy("words", &plain("mute")).await;
    assert!(
        matches!(refused, Err(Error::Load(LoadError::Mismatch { .. }))),
        "{refused:?}"
    );
    assert_eq!(lab.live("words"), digest(&words()));
    assert_eq!(lab.in_the_shadow("words"), Some(digest(&plain("mute"))));
}

/// The live version.
fn prepared(lab: &Lab, name: &str) -> Prepared {
    let live = lab.releases.0.runtime.live(&id(name)).expect("live");
    live.stable.payload.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_prepared_holds_up_no_step_of_another_component() {
    let lab = Arc::new(Lab::new().await);
    lab.deploy("it", &plain("two")).await.expect("live");
    let slow = TaskTracker::new().spawn({
        let lab = Arc::clone(&lab);
        async move { lab.deploy("words", &slow()).await }
    });
    let under_way = async || lab.is_under_way();
    marquee_testkit::eventually(Duration::from_secs(5), "it is under way", under_way).await;
    lab.rollback(None, Health::Asked).await.expect("live");
    assert_eq!(lab.live("it"), digest(&plain("one")));
    assert!(!slow.is_finished(), "it still computes");
    // Nor is anything removed that it may need: of old versions that nobody needs, one is kept.
    for mark in ["three", "four"] {
        lab.deploy("it", &plain(mark)).await.expect("live");
    }
    assert!(!slow.is_finished() && lab.is_stored(digest(&plain("two"))));
    let ended = slow.await.expect("no panic");
    assert!(matches!(
        ended,
        Err(Error::Load(LoadError::Instantiate { .. }))
    ));
    lab.deploy("it", &plain("five")).await.expect("live");
    assert!(!lab.is_stored(digest(&plain("two"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stops_gives_up_what_is_not_committed() {
    let lab = Arc::new(Lab::with(&plain("one"), &plain("words"), Duration::from_secs(60)).await);
    let releases = lab.releases.clone();
    let deploying = TaskTracker::new().spawn({
        let lab = Arc::clone(&lab);
        async move {
            let inner = Arc::clone(&lab);
            let step = async move { inner.deploy("it", &slow()).await };
            lab.releases.carry_out(step).await
        }
    });
    let under_way = async || lab.is_under_way();
    marquee_testkit::eventually(Duration::from_secs(5), "it is under way", under_way).await;
    let stopped = tokio::time::timeout(Duration::from_secs(10), releases.drained()).await;
    stopped.expect("it does not wait for the step");
    let ended = deploying.await.expect("no panic");
    assert!(matches!(ended, Err(Error::Stopping)));
    assert_eq!(lab.live("it"), digest(&plain("one")));
    let (_, result) = lab.history().await.remove(0);
    assert!(result.contains("the host is stopping"), "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_takes_effect_though_it_cannot_be_remembered_and_is_when_it_can() {
    let lab = Lab::new().await;
    lab.deploy("it", &plain("two")).await.expect("live");
    let path = lab.folder.path().join("versions/live.json");
    // A folder in its place refuses everybody, root too.
    let aside = lab.folder.path().join("aside");
    fs::rename(&path, &aside).expect("moved");
    fs::create_dir(&path).expect("a folder");
    let refused = lab.deploy("it", &plain("three")).await;
    assert!(matches!(refused, Err(Error::Store(_))), "{refused:?}");
    assert_eq!(lab.live("it"), digest(&plain("two")));

    lab.rollback(None, Health::Asked)
        .await
        .expect("it takes effect");
    assert_eq!(lab.live("it"), digest(&plain("one")));
    let said = async || {
        let reports = lab.releases.report(Some(&id("it"))).await;
        reports.expect("a report").remove(0).not_remembered
    };
    let why = said().await.expect("it is said");
    assert!(why.contains("live.json"), "{why}");
    lab.releases.0.remember_all().await;
    assert!(said().await.is_some());

    fs::remove_dir(&path).expect("removed");
    lab.releases.0.remember_all().await;
    assert_eq!(said().await, None);
    let text = fs::read_to_string(&path).expect("it is there again");
    let expected = format!("\"stable\": \"{:#}\"", digest(&plain("one")));
    assert!(text.contains(&expected), "{text}");
    // Nor does a second rollback find anything.
    let none = lab.rollback(None, Health::Asked).await;
    assert!(matches!(none, Err(Error::Refused(Refused::NoPrevious))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_to_what_is_not_healthy_or_not_whole_is_forced_or_not_made() {
    let lab = Lab::new().await;
    let ill = lab.store("it", &ailing());
    let mut state = State::new(lab.live("it"));
    state.previous = Some(marquee_registry::Active::only(ill));
    lab.begin("it", state).await;
    let refused = lab.rollback(None, Health::Asked).await;
    assert!(
        matches!(refused, Err(Error::Load(LoadError::Unhealthy { .. }))),
        "{refused:?}"
    );
    lab.rollback(None, Health::Forced).await.expect("forced");
    assert_eq!(lab.live("it"), ill);
    let (action, _) = lab.history().await.remove(0);
    assert_eq!(action, "forced rollback");

    // One whose file is gone, and whose code is not.
    lab.deploy("it", &plain("two")).await.expect("live");
    lab.deploy("it", &plain("three")).await.expect("live");
    let two = digest(&plain("two"));
    let file = format!("versions/{two:#}/component.wasm");
    fs::remove_file(lab.folder.path().join(file)).expect("removed");
    let refused = lab.rollback(None, Health::Asked).await;
    assert!(matches!(refused, Err(Error::Store(_))), "{refused:?}");
    lab.rollback(None, Health::Forced).await.expect("forced");
    assert_eq!(lab.live("it"), two);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_to_a_version_that_was_live_and_to_no_other() {
    let lab = Lab::new().await;
    let of = |text: &str| format!("{:#}", digest(text));
    lab.deploy_labelled("it", &plain("two"), Some("2.0"))
        .await
        .expect("live");
    lab.deploy("it", &plain("three")).await.expect("live");
    lab.deploy("it", &plain("four")).await.expect("live");
    lab.rollback(Some("2.0"), Health::Asked)
        .await
        .expect("live");
    assert_eq!(lab.live("it"), digest(&plain("two")));
    let none = lab.rollback(None, Health::Asked).await;
    assert!(matches!(none, Err(Error::Refused(Refused::NoPrevious))));

    let trapping = slow().replace("(loop (br 0))", "unreachable");
    assert!(lab.deploy("it", &trapping).await.is_err());
    let never = lab.rollback(Some(&of(&trapping)), Health::Asked).await;
    assert!(
        matches!(never, Err(Error::Refused(Refused::NeverLive(_)))),
        "{never:?}"
    );
    let unknown = lab.rollback(Some("3.0"), Health::Asked).await;
    assert!(matches!(unknown, Err(Error::Refused(Refused::Unknown(_)))));
    assert_eq!(lab.live("it"), digest(&plain("two")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_its_name_is_kept_no_longer() {
    let lab = Lab::new().await;
    lab.deploy_labelled("it", &plain("two"), Some("2.0"))
        .await
        .expect("live");
    for mark in ["three", "four", "five"] {
        lab.deploy("it", &plain(mark)).await.expect("live");
    }
    let [two, three] = ["two", "three"].map(|mark| digest(&plain(mark)));
    assert!(lab.is_stored(two) && !lab.is_stored(three));
    let unlabel = async |label| lab.releases.unlabel("ann", &id("it"), label).await;
    let unknown = unlabel("1.0").await;
    assert!(matches!(unknown, Err(Error::Refused(Refused::Unknown(_)))));
    unlabel("2.0").await.expect("unlabelled");
    assert!(!lab.is_stored(two));
    assert_eq!(lab.history().await[0].0, "unlabel");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_all_calls_is_judged_by_what_the_one_before_did_and_for_an_hour() {
    let lab = Lab::with(&working("one"), &plain("words"), Duration::from_secs(5)).await;
    let inner = &lab.releases.0;
    let now = std::time::Instant::now;
    lab.run("ok").await;
    lab.deploy("it", &working("two")).await.expect("live");
    assert_eq!(inner.worse(now()), []);
    lab.run("trap").await;
    let [(component, version, reason)] = inner.worse(now()).try_into().expect("one is");
    assert_eq!((component, version), (id("it"), digest(&working("two"))));
    assert!(
        reason.contains("10 of its 10 calls failed, of the old one's 0 of 10"),
        "{reason}"
    );
    lab.rollback(None, Health::Asked).await.expect("live");
    // What somebody went back to is not judged by what was worse.
    lab.run("trap").await;
    assert_eq!(inner.worse(now()), []);

    // One that did well for an hour is as good as any: what goes wrong weeks later is not its being new.
    let lab = Lab::with(&working("one"), &plain("words"), Duration::from_secs(5)).await;
    let inner = &lab.releases.0;
    lab.run("ok").await;
    lab.deploy("it", &working("two")).await.expect("live");
    lab.run("ok").await;
    let later = now() + Duration::from_secs(2 * 3_600);
    assert_eq!(inner.worse(later), []);
    lab.run("trap").await;
    assert_eq!(inner.worse(later), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_goes_on_after_an_error_of_its_own() {
    let lab = Lab::with(&working("one"), &plain("words"), Duration::from_secs(5)).await;
    let one = digest(&working("one"));
    lab.run("ok").await;
    lab.deploy("it", &working("two")).await.expect("live");
    let file = format!("versions/{one:#}/component.wasm");
    let (file, aside) = (
        lab.folder.path().join(file),
        lab.folder.path().join("aside"),
    );
    fs::rename(&file, &aside).expect("moved");
    lab.run("trap").await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(lab.releases.clone().run(stop.clone()));
    let failed = async || lab.history().await[0].1.contains("is not in the store");
    marquee_testkit::eventually(Duration::from_secs(10), "it could not", failed).await;
    assert_eq!(lab.live("it"), digest(&working("two")));
    fs::rename(&aside, &file).expect("moved back");
    let is_back = async || lab.live("it") == one;
    marquee_testkit::eventually(Duration::from_secs(10), "it is rolled back", is_back).await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
