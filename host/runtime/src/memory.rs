//! What instances hold: each within its own bound, and all of them within the host's.

use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use marquee_manifest::ComponentId;
use marquee_registry::Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{ResourceLimiter, bail};

use crate::{control::Control, engine::INSTANCES};

/// What the instances of all components may hold together.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// How many there are, in calls or waiting for one. At most 1,000, for which the engine keeps places.
    pub instances: u32,
    /// Their linear memories, in bytes.
    pub bytes: u64,
    /// How long one waits for a call before it goes. A burst leaves many that nobody needs soon.
    pub idle: Duration,
}

impl Default for Room {
    /// Every place, half of the memory that the machine or the container has, and a minute.
    fn default() -> Self {
        Self {
            instances: INSTANCES,
            bytes: half_of_the_machine(),
            idle: Duration::from_secs(60),
        }
    }
}

/// Who has what of the room. Before anybody is refused, instances that wait for calls go.
pub(crate) struct Budget {
    /// As many as the engine has room for.
    slots: Arc<Semaphore>,
    most_instances: usize,
    most_bytes: u64,
    bytes: AtomicU64,
    /// How long an instance waits for a call.
    pub(crate) idle: Duration,
    /// How many were let go for the sake of others.
    evicted: AtomicU64,
    pools: Mutex<Vec<Weak<dyn Evict>>>,
}

/// Keeps instances that wait for calls.
pub(crate) trait Evict: Send + Sync {
    /// The one that has waited for the longest.
    fn oldest(&self) -> Option<Arc<Control>>;

    /// Let that one go.
    fn evict(&self, oldest: &Control);

    /// End all that is under way in it.
    fn end_calls(&self);

    /// How they are. None where nobody is to know: dry runs.
    fn standing(&self) -> Option<Standing>;
}

/// How the instances of a version are.
pub(crate) struct Standing {
    pub(crate) component: ComponentId,
    pub(crate) version: Digest,
    /// In a call.
    pub(crate) busy: usize,
    pub(crate) idle: usize,
    pub(crate) memory_bytes: u64,
    /// Calls that wait for their turn.
    pub(crate) waiting: usize,
}

/// What all of them use.
pub(crate) struct Usage {
    pub(crate) instances: usize,
    pub(crate) most_instances: usize,
    pub(crate) bytes: u64,
    pub(crate) most_bytes: u64,
    /// Instances that were let go for the sake of others, so far.
    pub(crate) evicted: u64,
}

impl Budget {
    pub(crate) fn new(room: Room) -> Self {
        let instances = usize::try_from(room.instances.min(INSTANCES)).unwrap_or(1);
        Self {
            slots: Arc::new(Semaphore::new(instances)),
            most_instances: instances,
            most_bytes: room.bytes,
            bytes: AtomicU64::new(0),
            idle: room.idle,
            evicted: AtomicU64::new(0),
            pools: Mutex::default(),
        }
    }

    pub(crate) fn add(&self, pool: Weak<dyn Evict>) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(pool);
    }

    /// All that there are.
    pub(crate) fn pools(&self) -> Vec<Arc<dyn Evict>> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().filter_map(Weak::upgrade).collect()
    }

    /// What is in use now.
    pub(crate) fn usage(&self) -> Usage {
        let free = self.slots.available_permits();
        Usage {
            instances: self.most_instances.saturating_sub(free),
            most_instances: self.most_instances,
            bytes: self.bytes.load(Ordering::Relaxed),
            most_bytes: self.most_bytes,
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }

    /// A place for one more instance, within this time.
    pub(crate) async fn slot(&self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(slot);
        }
        self.evict(1);
        let slot = Arc::clone(&self.slots).acquire_owned();
        tokio::time::timeout(patience, slot).await.ok()?.ok()
    }

    /// Whether there are so many bytes more. Near the end, instances that wait for calls go: what they hold is free a moment
    /// later, so they go in time.
    fn take(&self, bytes: u64) -> bool {
        let had = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let now = had.saturating_add(bytes);
        let enough = self.most_bytes / 4 * 3;
        if now > enough {
            self.evict(now - enough);
        }
        let fits = now <= self.most_bytes;
        if !fits {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Let the instances that have waited for the longest go, until that comes to so many bytes; at least one.
    fn evict(&self, bytes: u64) {
        let pools = self.pools();
        let mut freed = 0;
        while freed < bytes.max(1) {
            let oldest = pools.iter().filter_map(|pool| Some((pool, pool.oldest()?)));
            let Some((pool, oldest)) = oldest.min_by_key(|(_, control)| control.waits_until())
            else {
                return;
            };
            pool.evict(&oldest);
            self.evicted.fetch_add(1, Ordering::Relaxed);
            freed += oldest.memory_bytes().max(1);
        }
    }
}

/// What one instance holds. Given back when it is dropped, with its store.
pub(crate) struct Holding {
    budget: Arc<Budget>,
    control: Arc<Control>,
    most_bytes: usize,
    bytes: usize,
    elements: usize,
}

impl Holding {
    pub(crate) fn new(budget: &Arc<Budget>, control: &Arc<Control>, most_bytes: usize) -> Self {
        Self {
            budget: Arc::clone(budget),
            control: Arc::clone(control),
            most_bytes,
            bytes: 0,
            elements: 0,
        }
    }

    /// Linear memory never gets smaller: what one call needed stays with the instance. Whether it is little.
    pub(crate) fn is_little(&self) -> bool {
        self.bytes <= self.most_bytes / KEPT
    }
}

impl ResourceLimiter for Holding {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if self.bytes.saturating_add(more) > self.most_bytes {
            bail!("its memories may have {} bytes together", self.most_bytes);
        }
        if maximum.is_some_and(|most| desired > most) {
            bail!("this memory may not have {desired} bytes, by its own declaration");
        }
        let more_bytes = u64::try_from(more).unwrap_or(u64::MAX);
        if !self.budget.take(more_bytes) {
            return Err(NoRoom.into());
        }
        self.bytes += more;
        let bytes = u64::try_from(self.bytes).unwrap_or(u64::MAX);
        self.control.set_memory_bytes(bytes);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.elements = self
            .elements
            .saturating_add(desired.saturating_sub(current));
        if self.elements > ELEMENTS {
            bail!("its tables may have {ELEMENTS} elements together");
        }
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn instances(&self) -> usize {
        32
    }

    fn memories(&self) -> usize {
        4
    }

    fn tables(&self) -> usize {
        32
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let bytes = u64::try_from(self.bytes).unwrap_or(u64::MAX);
        self.budget.give_back(bytes);
    }
}

/// The instances of all components have all the memory that they may have.
#[derive(Debug, thiserror::Error)]
#[error("the host has no memory left for components")]
pub(crate) struct NoRoom;

/// Half of what this machine, or the container, has.
fn half_of_the_machine() -> u64 {
    let number = |text: String| {
        text.split_whitespace()
            .find_map(|word| word.parse::<u64>().ok())
    };
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(number);
    // A container without a bound of its own says `max`.
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(number);
    let machine = machine.map_or(DEFAULT_BYTES, |kib| kib.saturating_mul(1024));
    container.map_or(machine, |bytes| bytes.min(machine)) / 2
}

/// An instance with more than this part of what it may have is replaced after the call.
const KEPT: usize = 4;
/// Of all tables of an instance. A component of wit-bindgen has some hundred functions in its.
const ELEMENTS: usize = 10_000;
/// Where a machine does not say what it has.
const DEFAULT_BYTES: u64 = 2 << 30;
