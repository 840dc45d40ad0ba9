//! Tells a person how far a run is: a bar on a terminal, else a line every few seconds.

use std::{
    io::{IsTerminal, Write},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How far one step of a run is.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    total: Option<u64>,
    done: AtomicU64,
    bar: Option<ProgressBar>,
    told: Mutex<Instant>,
}

impl Progress {
    /// Begins a step; its total is known or not.
    #[must_use]
    pub fn start(what: &'static str, total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let (bar, template) = match total {
                Some(total) => (
                    ProgressBar::new(total),
                    "{msg:<22} {wide_bar} {human_pos}/{human_len} {per_sec:>12} {eta:>4}",
                ),
                None => (
                    ProgressBar::new_spinner(),
                    "{msg:<22} {spinner} {human_pos} {per_sec:>12}",
                ),
            };
            let style = ProgressStyle::with_template(template);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(what);
            bar
        });
        Self {
            what,
            total,
            done: AtomicU64::new(0),
            bar,
            told: Mutex::new(Instant::now()),
        }
    }

    /// So many more are done.
    pub fn advance(&self, more: usize) {
        let more = more as u64;
        let done = self.done.fetch_add(more, Ordering::Relaxed) + more;
        self.tell(done);
    }

    /// This many are done in all.
    pub fn reach(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.tell(done);
    }

    /// A line for a person, without tearing the bar.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => line(text),
        }
    }

    fn tell(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        let mut told = self
            .told
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.elapsed() >= EVERY {
            *told = Instant::now();
            match self.total {
                Some(total) => line(&format!("{}: {done} of {total}", self.what)),
                None => line(&format!("{}: {done}", self.what)),
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(text: &str) {
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Often enough to see that it goes on, seldom enough for a log.
const EVERY: Duration = Duration::from_secs(3);
