//! The engine and its clock.
//!
//! The epoch ticks every 2 ms. A call that computes looks at its deadline at each tick, and lets others run.

use std::{
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::turns;

/// The engine, and the thread that moves its epoch on until this is dropped.
pub(crate) struct Clocked {
    pub(crate) engine: Engine,
    ticker: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Clocked {
    pub(crate) fn new(memory_bytes: usize) -> wasmtime::Result<Self> {
        let engine = Engine::new(&config(memory_bytes))?;
        let (stop, stopped) = sync_channel::<()>(0);
        let ticking = engine.clone();
        // A thread and not a task: the epoch must move while every worker of the async runtime computes.
        let thread = std::thread::Builder::new()
            .name("marquee-epoch".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    ticking.increment_epoch();
                    turns::look();
                }
            })?;
        Ok(Self {
            engine,
            ticker: Some((stop, thread)),
        })
    }
}

impl Drop for Clocked {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.ticker.take() {
            drop(stop);
            // It ends within a tick; a panic in it has nothing left to break.
            let _ = thread.join();
        }
    }
}

fn config(memory_bytes: usize) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * CORE_INSTANCES_EACH)
        .total_memories(INSTANCES * MEMORIES_EACH)
        .total_tables(INSTANCES * TABLES_EACH)
        .total_stacks(INSTANCES * 2)
        .max_memory_size(memory_bytes)
        .max_core_instances_per_component(32)
        .max_memories_per_component(4)
        .max_tables_per_component(32)
        .table_elements(10_000)
        // Kept mapped between calls: a fresh instance then costs 15 us and not 23.
        .linear_memory_keep_resident(1024 * 1024);
    let mut config = compiler();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// What the code depends on. How instances are allocated is not part of it, and a process that only compiles has no
/// use for a pool.
pub(crate) fn compiler() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_component_model_async(true)
        .epoch_interruption(true)
        // Backtraces on errors cost up to 17 % of the throughput.
        .wasm_backtrace_max_frames(None)
        .memory_reservation(RESERVED_BYTES);
    config
}

/// Address space of a memory, as much as 32 bits reach: then no access has to be compared with the memory's end, the pages
/// behind it do that. Nothing of it is taken before it is used.
const RESERVED_BYTES: u64 = 4 << 30;
/// One turn of the epoch: as long as others wait behind a call that computes, and what passing a deadline costs at the
/// most. Shorter ones gain nothing beside what requests take of a CPU, and wake an idle machine more often.
pub(crate) const TICK: Duration = Duration::from_millis(2);
/// Instances of all components together.
pub(crate) const INSTANCES: u32 = 1_000;
/// A component of wit-bindgen has its module, and small ones that glue it to its imports.
const CORE_INSTANCES_EACH: u32 = 6;
const MEMORIES_EACH: u32 = 2;
const TABLES_EACH: u32 = 4;
