//! Somebody waits for what comes from outside, whoever holds a thread.
//!
//! One thread of the async runtime waits for sockets and timers, and does what they bring. Where that is a single thing,
//! no other thread is woken: until it is done nobody looks whether more has come, though all others have nothing to do. A
//! guest that fills a fresh memory gives way to nobody for tens of milliseconds, and so does dropping what a large instance
//! held. So a turn that lasts from one tick of the clock to the next has another thread woken up, which waits for sockets
//! and timers then.
//!
//! Bounds: a turn is noticed 2 to 4 ms after it began. It costs two words in memory a turn, and a thread's waking for one that
//! is long. Not here: that there is a thread left, and that a turn ends.

use std::{
    cell::OnceCell,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::runtime::Handle;

/// Do what may hold this thread for long.
pub(crate) fn turn<T>(work: impl FnOnce() -> T) -> T {
    TURNS.with(|turns| {
        let turns = turns.get_or_init(Turns::of_this_thread);
        turns.next();
        let done = work();
        turns.next();
        done
    })
}

/// To be asked at each tick: where a turn was under way at the last one, and still is, have another thread wake up.
pub(crate) fn look() {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain_mut(|seen| {
        let Some(turns) = seen.turns.upgrade() else {
            return false;
        };
        seen.look(&turns);
        true
    });
}

/// Those of one thread. A turn that ends by a panic counts as one that goes on: the next one is mistaken for none, and no more.
struct Turns {
    /// How many began and ended: odd while one is under way. Only its own thread writes it.
    count: AtomicU64,
    /// Whose thread it is. None: of no async runtime.
    runtime: Option<Handle>,
}

/// What the clock knows of a thread.
struct Seen {
    turns: Weak<Turns>,
    count: u64,
}

impl Turns {
    fn of_this_thread() -> Arc<Self> {
        let turns = Arc::new(Self {
            count: AtomicU64::new(0),
            runtime: Handle::try_current().ok(),
        });
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Seen {
            turns: Arc::downgrade(&turns),
            count: 0,
        });
        turns
    }

    fn next(&self) {
        let count = self.count.load(Ordering::Relaxed);
        self.count.store(count.wrapping_add(1), Ordering::Relaxed);
    }
}

impl Seen {
    fn look(&mut self, turns: &Turns) {
        let count = turns.count.load(Ordering::Relaxed);
        let is_long = count % 2 == 1 && count == self.count;
        self.count = count;
        if let (true, Some(runtime)) = (is_long, &turns.runtime) {
            // Whatever is to be done is given to a thread that has nothing to do; it waits afterwards.
            drop(runtime.spawn(async {}));
        }
    }
}

/// Threads are the process's, whatever runtimes it has.
static ALL: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

thread_local! {
    static TURNS: OnceCell<Arc<Turns>> = const { OnceCell::new() };
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        os::unix::net::UnixStream,
        sync::mpsc,
        time::{Duration, Instant},
    };

    use tokio::{io::AsyncReadExt as _, runtime::Runtime};

    use super::*;
    use crate::engine::Clocked;

    /// Where a byte can be written to, and what is done when it comes.
    fn when_it_comes(
        runtime: &Runtime,
        work: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<UnixStream> {
        let (near, far) = UnixStream::pair()?;
        far.set_nonblocking(true)?;
        let _inside = runtime.enter();
        let mut far = tokio::net::UnixStream::from_std(far)?;
        runtime.spawn(async move {
            if far.read_u8().await.is_ok() {
                work();
            }
        });
        Ok(near)
    }

    #[test]
    fn what_comes_while_a_turn_holds_its_thread_is_seen_by_another() {
        let _clock = Clocked::new(65_536).expect("an engine");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads");
        let (begins, begun) = mpsc::channel();
        let (comes, come) = mpsc::channel();
        let (ends, ended) = mpsc::channel();
        let holds = move || {
            let _ = begins.send(());
            let _ = ends.send(turn(|| come.recv_timeout(Duration::from_secs(10))));
        };
        let mut first = when_it_comes(&runtime, holds).expect("sockets");
        let mut second = when_it_comes(&runtime, move || {
            let _ = comes.send(());
        })
        .expect("sockets");
        // One thread waits for sockets, the other one to be woken.
        let until = Instant::now() + Duration::from_secs(20);
        let metrics = runtime.metrics();
        while (0..2).any(|worker| metrics.worker_park_unpark_count(worker).is_multiple_of(2)) {
            assert!(Instant::now() < until, "the threads do not rest");
            std::thread::yield_now();
        }
        first.write_all(b"x").expect("written");
        begun.recv().expect("it begins");
        second.write_all(b"x").expect("written");
        let ended = ended.recv().expect("it ends");
        assert_eq!(ended, Ok(()), "nobody looked");
    }
}
