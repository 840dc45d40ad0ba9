//! The host's own tasks, each with a name: one that ends although nobody stopped it, or panics, is begun again.
//!
//! Promise: none is gone without a word. There is an *error* each time, and the host is not ready before the task has gone on
//! for a while. Not here: what a task does, how it ends when it is to.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use marquee_admin::health::Part;
use marquee_database::Backoff;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Tasks that are watched. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    running: TaskTracker,
    /// What was begun again and is not known to be well.
    failing: Arc<Mutex<BTreeMap<String, &'static str>>>,
    /// How often each was begun again.
    restarts: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Tasks {
    /// Keep a task running until `stop`, at which it ends by itself.
    pub(crate) fn keep<F>(
        &self,
        name: impl Into<String>,
        stop: &CancellationToken,
        task: impl Fn(CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (tasks, name, stop) = (self.clone(), name.into(), stop.clone());
        lock(&self.restarts).entry(name.clone()).or_default();
        self.running.spawn(async move {
            for failures in 1_u32.. {
                let mut running = JoinSet::new();
                running.spawn(task(stop.clone()));
                let how = tasks.ended(&name, &mut running).await;
                if stop.is_cancelled() {
                    return;
                }
                tracing::error!(task = name, "the task {name} {how}; it is begun again");
                lock(&tasks.failing).insert(name.clone(), how);
                *lock(&tasks.restarts).entry(name.clone()).or_default() += 1;
                BACKOFF.pause(failures, &stop).await;
                if stop.is_cancelled() {
                    return;
                }
            }
        });
    }

    /// How it ended.
    async fn ended(&self, name: &str, running: &mut JoinSet<()>) -> &'static str {
        let well_at = Instant::now() + WELL;
        let ended = match tokio::time::timeout_at(well_at, running.join_next()).await {
            Ok(ended) => ended,
            Err(_) => {
                lock(&self.failing).remove(name);
                running.join_next().await
            }
        };
        match ended {
            Some(Err(error)) if error.is_panic() => "panicked",
            _ => "ended",
        }
    }

    /// How often each was begun again.
    pub(crate) fn restarts(&self) -> BTreeMap<String, u64> {
        lock(&self.restarts).clone()
    }

    /// When all of them have ended.
    pub(crate) async fn ends(&self) {
        self.running.close();
        self.running.wait().await;
    }

    /// What readiness asks.
    pub(crate) fn part(&self, name: &str) -> Part {
        let failing = Arc::clone(&self.failing);
        Part {
            name: name.to_owned(),
            ask: Box::new(move || {
                let failing = lock(&failing);
                let failing: Vec<String> = failing
                    .iter()
                    .map(|(name, how)| format!("{name} {how} and is begun again"))
                    .collect();
                let answer = match failing.as_slice() {
                    [] => Ok(None),
                    failing => Err(failing.join(", ")),
                };
                Box::pin(std::future::ready(answer))
            }),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever has gone on for so long is well: what it failed at came at once.
const WELL: Duration = Duration::from_secs(5);
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_or_ends_is_begun_again_and_readiness_tells_until_it_is_well() {
        let (tasks, stop) = (Tasks::default(), CancellationToken::new());
        let part = tasks.part("tasks");
        let runs = Arc::new(AtomicU32::new(0));
        let task = {
            let runs = Arc::clone(&runs);
            move |stop: CancellationToken| {
                let runs = Arc::clone(&runs);
                async move {
                    match runs.fetch_add(1, Ordering::Relaxed) {
                        0 => panic!("a bug"),
                        1 => {}
                        _ => stop.cancelled().await,
                    }
                }
            }
        };
        assert_eq!((part.ask)().await, Ok(None));
        tasks.keep("sweep", &stop, task);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let told = (part.ask)().await;
        assert_eq!(told, Err("sweep panicked and is begun again".to_owned()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(runs.load(Ordering::Relaxed), 3);
        let told = (part.ask)().await;
        assert_eq!(told, Err("sweep ended and is begun again".to_owned()));
        tokio::time::sleep(WELL).await;
        assert_eq!((part.ask)().await, Ok(None));
        assert_eq!(tasks.restarts(), BTreeMap::from([("sweep".to_owned(), 2)]));
        stop.cancel();
        tasks.ends().await;
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }
}
