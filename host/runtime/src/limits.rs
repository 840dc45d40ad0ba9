//! The bounds of a component's calls.

use std::{num::NonZeroU32, time::Duration};

use rand::RngExt as _;

/// Bounds per component. The manifest sets them; these are the defaults.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Wall clock and CPU of one call, as one: a call that computes is ended at the next tick (2 ms) after it.
    pub deadline: Duration,
    /// Linear memory of one instance, in bytes.
    pub memory_bytes: usize,
    /// Calls at once; more wait.
    pub concurrent_calls: usize,
    /// Calls that wait for their turn at once; more are refused at once.
    pub queue: usize,
    /// How long a call waits for its turn before it is refused.
    pub queue_timeout: Duration,
    /// Handles (connections, streams, bodies) that an instance holds at once.
    pub handles: usize,
    /// Calls that an instance serves at the most before it is replaced; the least is half of it, and which it is chance
    /// decides for each. None: it lives for as long as it is sound. A bound finds what one call leaves to the next.
    pub instance_calls: Option<NonZeroU32>,
    /// Lines a second that it may log, over all its instances and versions; more are counted and left out.
    pub log_lines: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Longer than any statement timeout below it leaves to a person who waits for a page.
            deadline: Duration::from_secs(10),
            // A Rust guest needs 1 to 3 MiB; a batch of 4 MiB is decoded in a few times its size.
            memory_bytes: 64 * 1024 * 1024,
            // Far above what two cores finish at once, low enough to bound memory to a few GiB.
            concurrent_calls: 128,
            // As many again: who comes behind them would wait for longer than for an answer.
            queue: 128,
            queue_timeout: Duration::from_secs(1),
            handles: 1_000,
            instance_calls: None,
            log_lines: 100,
        }
    }
}

impl Limits {
    /// How many calls a new instance has before it.
    pub(crate) fn calls_left(&self) -> u32 {
        self.instance_calls.map_or(u32::MAX, |most| {
            let most = most.get();
            rand::rng().random_range(most.div_ceil(2)..=most)
        })
    }
}

/// What one guest-to-host call may copy, in bytes: a full batch of messages with room for its framing.
pub(crate) const HOSTCALL_BYTES: usize = 16 * 1024 * 1024;
/// The headers of one request or response, as they lie in memory.
pub(crate) const FIELDS_BYTES: usize = 64 * 1024;
/// Random bytes in one call.
pub(crate) const RANDOM_BYTES: u64 = 64 * 1024;
