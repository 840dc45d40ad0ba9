//! The schedule trigger for parked messages: brings each due one to its component again.
//!
//! Promise: a message is tried again within two intervals of its due time while some host runs; hosts share the work.
//! Bounds: messages at once, one unit of work each. Not here: when a message is due and when it is dead, which is
//! delivery's.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use marquee_delivery::retry::{self, Claimed, Retried};
use marquee_registry::Choice;
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use crate::{
    delivery::Deliverer,
    work::{LEASE_MARGIN, Refusal},
};

/// Retries of one subscription.
pub struct Trigger {
    /// Hands messages to the component.
    pub deliverer: Arc<Deliverer>,
    /// The topic.
    pub topic: String,
    /// How often to look.
    pub interval: Duration,
}

impl Trigger {
    /// Look and deliver until `stop`; then finish what is in flight.
    pub async fn run(self, stop: CancellationToken) {
        // At once for what was left by the last run; then in step with nobody else.
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            self.drain(&stop).await;
            pause = self.interval.mul_f64(rand::rng().random_range(0.8..=1.0));
        }
    }

    /// Deliver until nothing is due: what was applied makes the next of its key due.
    async fn drain(&self, stop: &CancellationToken) {
        let Deliverer {
            worker,
            consumer,
            deadline,
            ..
        } = &*self.deliverer;
        while !stop.is_cancelled() {
            let claimed = retry::claim_due(
                &worker.database,
                consumer,
                &self.topic,
                CLAIMS,
                *deadline + LEASE_MARGIN,
            )
            .await;
            let claimed = match claimed {
                Ok(claimed) if claimed.is_empty() => return,
                Ok(claimed) => claimed,
                Err(error) => {
                    tracing::warn!(topic = self.topic, error = %marquee_runtime::chain(&error), "parked messages cannot be claimed; trying again later");
                    return;
                }
            };
            let deliveries = claimed
                .into_iter()
                .map(|claimed| self.deliver(claimed, stop));
            let outcomes: Vec<bool> = futures::stream::iter(deliveries)
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            if !outcomes.contains(&true) {
                // Nothing went forward: the rest waits for its time.
                return;
            }
        }
    }

    /// Whether the message is done.
    async fn deliver(&self, claimed: Claimed, stop: &CancellationToken) -> bool {
        let database = &self.deliverer.worker.database;
        for _ in 0..CONFLICTS {
            if stop.is_cancelled() {
                break;
            }
            let retried = match self.attempt(&claimed).await {
                Ok(retried) => Ok(retried),
                Err(Refusal::Conflict) => continue,
                Err(Refusal::Failed(error)) => claimed.fail(database, &error).await,
                Err(Refusal::Error(error)) => Err(error),
            };
            match retried {
                Ok(Retried::Dead) => {
                    tracing::error!(
                        event.id = %claimed.message().event_id, topic = self.topic, attempt = claimed.message().attempt,
                        "message {} is dead and holds its key; see `marquee messages show {0}`", claimed.id()
                    );
                    return false;
                }
                Ok(retried) => return retried == Retried::Done,
                Err(marquee_delivery::Error::Gone(_)) => return false,
                Err(error) => {
                    tracing::warn!(topic = self.topic, error = %marquee_runtime::chain(&error), "a parked message waits");
                    break;
                }
            }
        }
        if let Err(error) = claimed.release(database).await {
            tracing::debug!(%error, "a claim could not be given back; its lease ends it");
        }
        false
    }

    async fn attempt(&self, claimed: &Claimed) -> Result<Retried, Refusal> {
        let deadline = Instant::now() + self.deliverer.deadline;
        let mut unit = self.deliverer.worker.database.unit().until(deadline);
        if let Err(error) = claimed.open(&mut unit).await {
            unit.rollback().await;
            return Err(error.into());
        }
        let message = claimed.message();
        let choice = match claimed.partition() {
            Some(partition) => self.deliverer.choice(partition),
            None => Choice::by_key(message.key.as_bytes()),
        };
        let (mut work, verdicts) = self
            .deliverer
            .ask(unit, vec![message.clone()], choice)
            .await?;
        let [verdict] = verdicts.as_slice() else {
            work.unit.rollback().await;
            return Err(Refusal::Failed("it gave no verdict".to_owned()));
        };
        match claimed.settle(&mut work.unit, verdict).await {
            Ok(retried) => match work.commit().await {
                Ok(()) => Ok(retried),
                Err(error) => Err(marquee_delivery::Error::from(error).into()),
            },
            Err(error) => {
                work.unit.rollback().await;
                Err(error.into())
            }
        }
    }
}

/// Claimed in one statement.
const CLAIMS: u32 = 32;
/// Delivered side by side: enough to be quick, few enough to leave connections to the rest.
const AT_ONCE: usize = 4;
/// Tries of a message that other transactions get in the way of.
const CONFLICTS: usize = 5;
