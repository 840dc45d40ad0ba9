//! Following the ledger: what other hosts wrote is made live here too.
//!
//! Promise: a host that was away, or could not do something, comes to the newest state by itself; until then it serves what
//! it has and says so, in the list of hosts and in its health. A state is looked for each [`LOOK`]; what could not be made
//! live is tried again after pauses. Not here: how a step goes from host to host.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use marquee_manifest::ComponentId;
use marquee_runtime::Health;
use tokio_util::sync::CancellationToken;

use super::{Error, Inner, Ledger, Releases, lock, step::Effect};

/// How far this host has come.
#[derive(Default)]
pub(super) struct Progress {
    /// Of the ledger's steps.
    revision: i64,
    /// Components whose state cannot be made live, and why.
    failing: BTreeMap<ComponentId, String>,
    /// Why the ledger cannot be had, if it cannot.
    away: Option<String>,
}

/// Components whose states are to be made live.
pub(super) type Behind = BTreeMap<ComponentId, Task>;

/// One of them.
pub(super) struct Task {
    health: Health,
    /// Those that one step brought are one step here too.
    revision: i64,
    /// When it is tried.
    at: Instant,
    /// How long it is waited if it fails.
    pause: Duration,
}

/// Follow, until `stop`.
pub(super) async fn run(releases: Releases, stop: CancellationToken) {
    let inner = &releases.0;
    let Some(ledger) = &inner.ledger else {
        return;
    };
    let work = async {
        loop {
            // It is said where it happens.
            let _ = inner.catch_up().await;
            inner.end_of_leaders(ledger).await;
            tokio::time::sleep(LOOK).await;
        }
    };
    let beat = async {
        loop {
            inner.beat(ledger).await;
            // Others may wait for what has changed.
            let _ = tokio::time::timeout(BEAT, inner.news_of_us.notified()).await;
        }
    };
    let both = async { tokio::join!(work, beat) };
    stop.run_until_cancelled(both.boxed()).await;
}

impl Inner {
    /// Read what other hosts wrote, and make it live. A step that meets another one on its way does it too.
    pub(super) fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        async {
            if let Some(revision) = self.hear().await? {
                self.follow_all(revision).await;
            }
            Ok(())
        }
        .boxed()
    }

    /// Read what other hosts wrote. Up to which revision that is, where there is a ledger.
    pub(super) async fn hear(&self) -> Result<Option<i64>, Error> {
        let Some(ledger) = &self.ledger else {
            return Ok(None);
        };
        loop {
            let since = self.desired.lock().await.revision();
            let news = ledger.news(since).await;
            self.reached(
                news.as_ref()
                    .err()
                    .map(|error| marquee_runtime::chain(error)),
            );
            let mut desired = self.desired.lock().await;
            let Some(changed) = desired.learn(since, news?).await else {
                continue;
            };
            let ours = changed
                .into_iter()
                .filter(|(id, _)| self.components.contains_key(id));
            let tasks = ours.map(|(id, (health, revision))| (id, Task::new(health, revision)));
            lock(&self.behind).extend(tasks);
            return Ok(Some(desired.revision()));
        }
    }

    /// Make live what was heard of, up to this revision.
    async fn follow_all(&self, revision: i64) {
        let _one_at_a_time = self.following.lock().await;
        for group in self.due() {
            let mut tasks: Behind = {
                let mut behind = lock(&self.behind);
                let take = |id: &ComponentId| Some((id.clone(), behind.remove(id)?));
                group.iter().filter_map(take).collect()
            };
            let Some(health) = tasks.values().map(|task| task.health).next() else {
                continue;
            };
            let followed = self.follow(tasks.keys(), health).await;
            let mut progress = lock(&self.progress);
            match followed {
                Ok(()) => {
                    for id in tasks.keys() {
                        progress.failing.remove(id);
                    }
                }
                Err(error) => {
                    let error = marquee_runtime::chain(&error);
                    while let Some((id, task)) = tasks.pop_first() {
                        tracing::error!(
                            component = %id, error,
                            "what is to be live on all hosts cannot be live here; this one serves what it has, and tries again"
                        );
                        progress.failing.insert(id.clone(), error.clone());
                        // What was heard meanwhile comes first.
                        lock(&self.behind).entry(id).or_insert_with(|| task.later());
                    }
                }
            }
        }
        let mut progress = lock(&self.progress);
        if progress.revision < revision {
            progress.revision = revision;
            self.news_of_us.notify_one();
        }
    }

    /// What is to be done now: those that one step brought together, who is imported from before who imports.
    fn due(&self) -> Vec<Vec<ComponentId>> {
        let behind = lock(&self.behind);
        let mut groups: Vec<(i64, Vec<ComponentId>)> = Vec::new();
        for id in &self.order {
            let task = behind.get(id).filter(|task| task.at <= Instant::now());
            let Some(task) = task else {
                continue;
            };
            match groups.iter_mut().find(|(of, _)| *of == task.revision) {
                Some((_, group)) => group.push(id.clone()),
                None => groups.push((task.revision, vec![id.clone()])),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// Make the states of components live, whatever they are by then.
    async fn follow(
        &self,
        components: impl IntoIterator<Item = &ComponentId>,
        health: Health,
    ) -> Result<(), Error> {
        let mut step = self.step_of("ledger", components, "follow").await;
        step.widen = true;
        step.health = health;
        step.effect = Effect::Followed;
        let followed = self.take(&step, |states| Ok(states.clone())).boxed();
        for (id, state) in followed.await? {
            tracing::info!(component = %id, result = %state, "what another host released is live here too");
        }
        Ok(())
    }

    /// The ledger answered, or did not.
    fn reached(&self, error: Option<String>) {
        let mut progress = lock(&self.progress);
        match (&error, &progress.away) {
            (Some(error), None) => tracing::error!(
                error,
                "the database of releases is away: this host serves what it has, and hears of no step"
            ),
            (None, Some(_)) => tracing::info!("the database of releases is there again"),
            _ => {}
        }
        progress.away = error;
    }

    /// All that stands in the ledger is live here: from now on others wait for this host too.
    pub(super) async fn arrive(&self) {
        let revision = self.desired.lock().await.revision();
        lock(&self.progress).revision = revision;
        if let Some(ledger) = &self.ledger {
            self.beat(ledger).await;
        }
    }

    async fn beat(&self, ledger: &Ledger) {
        let (revision, failing) = {
            let progress = lock(&self.progress);
            (progress.revision, progress.failing.clone())
        };
        if let Err(error) = ledger.beat(revision, &failing).await {
            // Whoever looks for steps says so.
            let error = marquee_runtime::chain(&error);
            tracing::debug!(error, "this host cannot say how far it has come");
        }
    }

    /// What a person should know of this host beside others.
    pub(super) fn lags(&self) -> Option<String> {
        let progress = lock(&self.progress);
        if let Some(away) = &progress.away {
            return Some(format!("serves what it has, and hears of no step: {away}"));
        }
        let mut failing = progress.failing.iter();
        let (component, why) = failing.next()?;
        Some(format!("cannot do what other hosts do: {component}: {why}"))
    }
}

impl Task {
    fn new(health: Health, revision: i64) -> Self {
        Self {
            health,
            revision,
            at: Instant::now(),
            pause: FIRST_PAUSE,
        }
    }

    fn later(self) -> Self {
        Self {
            at: Instant::now() + self.pause,
            pause: (2 * self.pause).min(LONGEST_PAUSE),
            ..self
        }
    }
}

/// A question for one row.
const LOOK: Duration = Duration::from_millis(200);
/// Ten of them are missed before a host is not waited for.
const BEAT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
