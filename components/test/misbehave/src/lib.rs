//! A component that does what components should not; the job's name says what. For tests of the runtime.

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bindings::exports::marquee::schedule::job;

marquee_guest::component!(Misbehave, {
    path: "../../../wit/marquee-schedule",
    world: "marquee:schedule/scheduled",
    generate_all,
});

struct Misbehave;

/// Calls of this instance so far.
static CALLS: AtomicU64 = AtomicU64::new(0);

impl job::Guest for Misbehave {
    async fn run(name: String, _due_at_ms: u64) -> Result<(), String> {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        match name.as_str() {
            "count" => Err(calls.to_string()),
            "trap" => std::process::abort(),
            "spin" => loop {
                black_box(calls);
            },
            // Gives way each time, and never ends.
            "wait" => loop {
                wit_bindgen::yield_async().await;
            },
            "grow" => loop {
                let mebibyte = vec![1_u8; 1 << 20];
                std::mem::forget(black_box(mebibyte));
            },
            // So many milliseconds.
            long if long.starts_with("sleep ") => {
                let number = long.trim_start_matches("sleep ").parse();
                sleep(Duration::from_millis(number.map_err(|_| long.to_owned())?));
                Ok(())
            }
            // So many MiB.
            kept if kept.starts_with("keep ") => {
                let number = kept.trim_start_matches("keep ").parse::<usize>();
                let bytes = vec![1_u8; number.map_err(|error| error.to_string())? << 20];
                std::mem::forget(black_box(bytes));
                Ok(())
            }
            // More than one answer may carry to the host.
            "huge" => Err("x".repeat(20 << 20)),
            "recurse" => Err(depth(calls).to_string()),
            other => Err(format!("there is no misdeed {other}")),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "waiting is what it is asked for")]
fn sleep(time: Duration) {
    std::thread::sleep(time);
}

#[expect(
    unconditional_recursion,
    reason = "the end of the stack is what is tried"
)]
#[inline(never)]
fn depth(above: u64) -> u64 {
    let frame = black_box([above; 64]);
    depth(frame.iter().sum()) + black_box(1)
}
