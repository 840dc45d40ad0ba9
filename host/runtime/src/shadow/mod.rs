//! Shadows: a version gets copies of a share of the calls, and what it does is compared with what the live one does.
//!
//! A copy is taken where a call gets its version, and waits until that call is over. Then the live version and the shadow do
//! the same again, one after the other, each in a dry run: so both find the same state, which is the one behind the call, and
//! the call itself is only looked at. Where they differ the live version does it once more, and what differs between its own
//! two runs (times, ids, what others wrote meanwhile) is left out.
//!
//! Promise: no call waits for a copy, and nothing of one reaches anybody: it has instances of its own, stands behind all other
//! calls, is in no figures, and capabilities honour [`crate::DryRun`]. Bounds: one copy at a time, [`WAITING`] that wait,
//! [`rerun::LONGEST`] for each run; what finds no room is counted and dropped. Of the differences the newest [`KEPT`] are kept.

mod compare;
mod copy;
mod hide;
mod rerun;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use marquee_manifest::ComponentId;
use marquee_registry::{Digest, Live};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};

pub use self::compare::Differs;
use self::copy::Copy;
pub(crate) use self::copy::{Asked, Seen};
use crate::Call;

/// The copies that wait, and what came of those before.
pub(crate) struct Shadows {
    queue: Sender<Copy>,
    waiting: tokio::sync::Mutex<Receiver<Copy>>,
    known: Mutex<HashMap<ComponentId, Comparison>>,
}

/// What is known of a shadow beside the live version, since both are what they are and on this host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// The live version.
    pub live: Digest,
    /// The one that gets copies.
    pub shadow: Digest,
    /// When its first copy was taken, in milliseconds since 1970-01-01T00:00:00Z.
    pub since_ms: u64,
    /// Copies that were taken.
    pub copied: u64,
    /// Those of them that found no room, or whose call was too large to be kept.
    pub dropped: u64,
    /// Those that both have done.
    pub compared: u64,
    /// Both did the same.
    pub equal: u64,
    /// They did not.
    pub different: u64,
    /// Those of the different ones to which the shadow had no answer, and the live version had.
    pub failed: u64,
    /// They did not, and neither does the live version when it is asked twice.
    pub unsteady: u64,
    /// What was different, the newest first.
    pub differences: Vec<Difference>,
}

/// A copy of a call that the two versions have not answered alike.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Difference {
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// What was asked for: a function, a method and a path, a topic.
    pub asked: String,
    /// With what, without what may be secret.
    pub with: Value,
    /// What differs.
    pub differs: Vec<Differs>,
    /// How much more does.
    pub more: usize,
}

/// A copy of a call. It is made when this is dropped, which is to be when that call is over.
pub struct Copied {
    shadows: Arc<Shadows>,
    copy: Option<Box<Copy>>,
}

/// Which versions are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    live: Digest,
    shadow: Digest,
}

impl Pair {
    fn of<P>(live: &Live<P>) -> Option<Self> {
        Some(Self {
            live: live.stable.digest,
            shadow: live.shadow.as_ref()?.version.digest,
        })
    }
}

impl Comparison {
    fn new(pair: Pair) -> Self {
        Self {
            live: pair.live,
            shadow: pair.shadow,
            since_ms: now_ms(),
            copied: 0,
            dropped: 0,
            compared: 0,
            equal: 0,
            different: 0,
            failed: 0,
            unsteady: 0,
            differences: Vec::new(),
        }
    }

    fn is_of(&self, pair: Pair) -> bool {
        (self.live, self.shadow) == (pair.live, pair.shadow)
    }

    fn keep(&mut self, difference: Difference) {
        self.differences.insert(0, difference);
        self.differences.truncate(KEPT);
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let Some(copy) = self.copy.take() else { return };
        let (component, pair) = (copy.component.clone(), copy.pair);
        if !copy.is_whole() || self.shadows.queue.try_send(*copy).is_err() {
            self.shadows
                .note(&component, pair, |known| known.dropped += 1);
        }
    }
}

impl Shadows {
    pub(crate) fn new() -> Self {
        let (queue, waiting) = channel(WAITING);
        Self {
            queue,
            waiting: tokio::sync::Mutex::new(waiting),
            known: Mutex::default(),
        }
    }

    /// The copy of a call that is about to be made, if the component's shadow gets one.
    pub(crate) fn copied<P>(
        self: &Arc<Self>,
        component: &ComponentId,
        live: &Live<P>,
        call: &Call,
        asked: impl FnOnce() -> Asked,
    ) -> Option<Copied> {
        let shadow = live.shadow.as_ref()?;
        if call.dry_run.is_some() || !shadow.gets(rand::random()) {
            return None;
        }
        let pair = Pair::of(live)?;
        self.takes_one(component, pair);
        let copy = Copy {
            component: component.clone(),
            pair,
            choice: call.choice.clone(),
            asked: asked(),
        };
        Some(Copied {
            shadows: Arc::clone(self),
            copy: Some(Box::new(copy)),
        })
    }

    /// A copy is taken for the versions that are to be compared now.
    fn takes_one(&self, component: &ComponentId, pair: Pair) {
        let mut known = self.lock();
        let known = known
            .entry(component.clone())
            .or_insert_with(|| Comparison::new(pair));
        if !known.is_of(pair) {
            *known = Comparison::new(pair);
        }
        known.copied += 1;
    }

    /// What has become of one; nothing, if others are compared by now.
    fn note(&self, component: &ComponentId, pair: Pair, what: impl FnOnce(&mut Comparison)) {
        if let Some(known) = self.lock().get_mut(component)
            && known.is_of(pair)
        {
            what(known);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ComponentId, Comparison>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Each holds [`copy::BYTES`] at the most.
const WAITING: usize = 64;
/// Enough to see what sort of difference it is.
const KEPT: usize = 50;
