//! The schedule trigger for parked messages: brings each key's due ones to its component again.
//!
//! Promise: a message is tried again within two seconds of its due time while some host runs; hosts share the work.
//! Bounds: runs at once, one unit of work each. Not here: when a message is due and when it is dead, which is
//! delivery's.

use std::{sync::Arc, time::Duration};

use marquee_delivery::{
    Error,
    apply::Stretch,
    partition::Delivered,
    retry::{self, Claimed, Due},
};
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use crate::{
    delivery::{Deliverer, Place},
    work::LEASE_MARGIN,
};

/// Retries of one subscription.
pub struct Trigger {
    /// Hands messages to the component.
    pub deliverer: Arc<Deliverer>,
    /// The topic.
    pub topic: String,
}

impl Trigger {
    /// Look and deliver until `stop`; then finish what is in flight.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        // At once for what was left by the last run; then in step with nobody else.
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            futures::future::join_all((0..AT_ONCE).map(|_| self.drain(&stop))).await;
            pause = LOOK.mul_f64(rand::rng().random_range(0.5..=1.0));
        }
    }

    /// Deliver until nothing is due: what was applied makes the next of its key due.
    async fn drain(&self, stop: &CancellationToken) {
        let Deliverer {
            worker, consumer, ..
        } = &*self.deliverer;
        while !stop.is_cancelled() {
            // A claim counts: who waits for a place claims nothing.
            let place = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                place = self.deliverer.place() => place,
            };
            match retry::claim(&worker.database, consumer, &self.topic, self.lease()).await {
                Ok(None) => return,
                Ok(Some(Due::Run(claimed))) => {
                    if !self.deliver(&claimed, &place, stop).await {
                        return;
                    }
                }
                Ok(Some(Due::Dead { id })) => self.dead(&format!("message {id}")),
                Err(error) => {
                    tracing::warn!(topic = self.topic, error = %marquee_runtime::chain(&error), "parked messages cannot be claimed; trying again later");
                    return;
                }
            }
        }
    }

    /// Whether it makes sense to go on with others.
    async fn deliver(&self, claimed: &Claimed, place: &Place, stop: &CancellationToken) -> bool {
        let database = &self.deliverer.worker.database;
        let mut limit = claimed.most();
        let mut conflicts = 0;
        let problem = loop {
            if stop.is_cancelled() {
                break None;
            }
            let delivered = self
                .deliverer
                .attempt(Stretch::Parked { claimed, limit }, place)
                .await;
            let next = match delivered {
                Delivered::Settled(summary) => Ok(Some(summary)),
                Delivered::Split(first) => {
                    limit = first;
                    Ok(None)
                }
                Delivered::Conflict if conflicts < CONFLICTS => {
                    conflicts += 1;
                    Ok(None)
                }
                Delivered::Conflict => break None,
                Delivered::Failed { messages, .. } if messages > 1 => {
                    limit = messages / 2;
                    Ok(None)
                }
                Delivered::Failed { error, .. } => claimed.fail(database, &error).await.map(Some),
                Delivered::Error(error) => Err(error),
            };
            let renewed = match next {
                Ok(Some(summary)) => {
                    if summary.dead > 0 {
                        self.dead(&format!("a message of key {:?}", claimed.key()));
                    }
                    return true;
                }
                Ok(None) => claimed.renew(database, self.lease()).await,
                Err(error) => Err(error),
            };
            match renewed {
                Ok(()) => {}
                Err(Error::Gone(_)) => return true,
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = problem {
            tracing::warn!(topic = self.topic, error = %marquee_runtime::chain(&error), "a parked message waits");
        }
        if let Err(error) = claimed.release(database).await {
            tracing::debug!(%error, "a claim could not be given back; its lease ends it");
        }
        false
    }

    /// Longer than a delivery can take.
    fn lease(&self) -> Duration {
        self.deliverer.deadline + LEASE_MARGIN
    }

    fn dead(&self, what: &str) {
        let consumer = &self.deliverer.consumer.name;
        tracing::error!(
            consumer,
            topic = self.topic,
            "{what} is dead and holds its key; see `marquee messages list --state dead`"
        );
    }
}

/// What is due is found this soon.
const LOOK: Duration = Duration::from_secs(1);
/// Delivered side by side: enough to be quick, few enough to leave connections to the rest.
const AT_ONCE: usize = 4;
/// Tries of a run that other transactions get in the way of.
const CONFLICTS: usize = 5;
