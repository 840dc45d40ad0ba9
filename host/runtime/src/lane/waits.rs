//! How long the threads that run short calls have waited for a CPU lately.
//!
//! The kernel counts it for each thread (`/proc/thread-self/schedstat`: what it ran, what it waited although it could
//! have run, how often it was set to work), so it is known and not guessed from how long things take. Bounds: whoever asks
//! reads at most each [`READ`], and seldom enough that reading takes a fiftieth of the time. Not here: what follows from it.

use std::{
    cell::Cell,
    fs::File,
    os::unix::fs::FileExt as _,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What threads did together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Waits {
    /// On a CPU, in microseconds.
    pub(super) ran_us: u64,
    /// For one, beyond what a thread waits on an idle machine.
    pub(super) waited_us: u64,
}

/// Count this thread among those that run short calls. Cheap when it is.
pub(super) fn join() {
    if JOINED.replace(true) {
        return;
    }
    // Where there is no such file nothing is known of this thread, and if of none, of nobody.
    if let Ok(file) = File::open("/proc/thread-self/schedstat") {
        let mut meter = METER.lock().unwrap_or_else(PoisonError::into_inner);
        meter.threads.push(Thread { file, known: None });
    }
}

/// What they did lately. None where the kernel does not say.
pub(super) fn lately() -> Option<Waits> {
    let mut meter = METER.lock().unwrap_or_else(PoisonError::into_inner);
    meter.read();
    (!meter.threads.is_empty()).then(|| meter.lately.sum())
}

/// Threads and CPUs are the process's, whatever runtimes it has.
static METER: LazyLock<Mutex<Meter>> = LazyLock::new(|| {
    let now = Instant::now();
    Mutex::new(Meter {
        threads: Vec::new(),
        next: now,
        lately: Lately::new(now),
    })
});

thread_local! {
    static JOINED: Cell<bool> = const { Cell::new(false) };
}

struct Meter {
    threads: Vec<Thread>,
    /// Not read before.
    next: Instant,
    lately: Lately,
}

struct Thread {
    file: File,
    /// As it was last read.
    known: Option<Counts>,
}

/// Of one thread, since it began; times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    ran: u64,
    waited: u64,
    turns: u64,
}

/// Sums over the last [`SPAN`] to twice that.
struct Lately {
    begun: Instant,
    now: Waits,
    before: Waits,
}

impl Meter {
    fn read(&mut self) {
        let begun = Instant::now();
        if begun < self.next {
            return;
        }
        let lately = &mut self.lately;
        self.threads.retain_mut(|thread| {
            let Some(counts) = thread.read() else {
                // It has ended.
                return false;
            };
            if let Some(known) = thread.known.replace(counts) {
                lately.add(begun, counts.since(known));
            }
            true
        });
        self.next = begun + (begun.elapsed() * COST).max(READ);
    }
}

impl Thread {
    fn read(&self) -> Option<Counts> {
        let mut text = [0; 96];
        let length = self.file.read_at(&mut text, 0).ok()?;
        Counts::parse(text.get(..length)?)
    }
}

impl Counts {
    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut numbers = text.split_whitespace().map(str::parse);
        let mut number = || numbers.next()?.ok();
        Some(Self {
            ran: number()?,
            waited: number()?,
            turns: number()?,
        })
    }

    fn since(self, before: Self) -> Waits {
        let waking = self.turns.saturating_sub(before.turns) * WAKING_NS;
        let waited = self.waited.saturating_sub(before.waited);
        Waits {
            ran_us: self.ran.saturating_sub(before.ran) / 1_000,
            waited_us: waited.saturating_sub(waking) / 1_000,
        }
    }
}

impl Lately {
    fn new(now: Instant) -> Self {
        Self {
            begun: now,
            now: Waits::default(),
            before: Waits::default(),
        }
    }

    fn add(&mut self, now: Instant, waits: Waits) {
        let age = now.saturating_duration_since(self.begun);
        if age >= SPAN {
            let last = std::mem::take(&mut self.now);
            // What is older than two spans is not lately.
            self.before = if age < SPAN * 2 {
                last
            } else {
                Waits::default()
            };
            self.begun = now;
        }
        self.now.ran_us += waits.ran_us;
        self.now.waited_us += waits.waited_us;
    }

    fn sum(&self) -> Waits {
        Waits {
            ran_us: self.now.ran_us + self.before.ran_us,
            waited_us: self.now.waited_us + self.before.waited_us,
        }
    }
}

/// A slice of the slow lane's.
const READ: Duration = Duration::from_millis(2);
/// Reading takes one part of so many of the time: 1.3 us a thread.
const COST: u32 = 50;
/// What a thread waits each time that it is woken on an idle machine: the CPU has to be woken too.
const WAKING_NS: u64 = 50_000;
/// Some twenty slices: long enough that one wait does not decide, short enough that a burst is noticed while it lasts.
const SPAN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_thread_is_three_numbers() {
        let check = |text: &str, counts: Option<(u64, u64, u64)>| {
            let found = Counts::parse(text.as_bytes());
            let found = found.map(|counts| (counts.ran, counts.waited, counts.turns));
            assert_eq!(found, counts, "{text:?}");
        };
        check("973684 669072 2\n", Some((973_684, 669_072, 2)));
        check("0 0 0\n", Some((0, 0, 0)));
        check("973684 669072", None);
        check("", None);
        check("a b c", None);
    }

    #[test]
    fn waking_on_an_idle_machine_is_no_waiting() {
        let counts = |ran, waited, turns| Counts { ran, waited, turns };
        let check = |after: Counts, ran_us, waited_us| {
            let before = counts(1_000_000, 1_000_000, 10);
            assert_eq!(after.since(before), Waits { ran_us, waited_us });
        };
        check(counts(1_000_000, 1_000_000, 10), 0, 0);
        check(counts(3_000_000, 1_090_000, 12), 2_000, 0);
        check(counts(3_000_000, 5_000_000, 12), 2_000, 3_900);
    }

    #[test]
    fn lately_is_the_last_span_and_what_is_of_the_one_under_way() {
        let begun = Instant::now();
        let mut lately = Lately::new(begun);
        let waits = Waits {
            ran_us: 1,
            waited_us: 2,
        };
        let mut check = |spans: f64, ran_us| {
            lately.add(begun + SPAN.mul_f64(spans), waits);
            let sum = lately.sum();
            assert_eq!((sum.ran_us, sum.waited_us), (ran_us, 2 * ran_us), "{spans}");
        };
        check(0.1, 1);
        check(0.9, 2);
        check(1.1, 3);
        check(1.9, 4);
        check(2.5, 3);
        check(9.0, 1);
    }

    /// Two threads more than there are CPUs, so that each has to wait for its turn.
    #[test]
    fn a_thread_that_waits_for_a_cpu_is_seen_to() {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let until = Instant::now() + Duration::from_secs(20);
        let seen = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..cpus + 2 {
                scope.spawn(|| {
                    join();
                    while !seen.load(std::sync::atomic::Ordering::Relaxed) {
                        assert!(Instant::now() < until, "none was seen to wait");
                        let waits = lately().expect("Linux says it");
                        if waits.ran_us > 0 && waits.waited_us > 0 {
                            seen.store(true, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
    }
}
