//! `marquee-bench costs`: what the runtime itself costs, without HTTP, bus or database, next to native code in one run.
//!
//! The baseline is a function in a task of its own whose answer comes through a channel: that is how a call runs, less
//! the component.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use marquee_manifest::Dependencies;
use marquee_runtime::JOB;
use tokio::{sync::oneshot, task::JoinSet};

use crate::{
    lab::{Lab, id},
    table::table,
};

/// Measure what calls, instances and swaps cost, next to native code.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  marquee-bench costs --calls 20000")]
pub(crate) struct Costs {
    /// How often each is done.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    calls: u32,
    /// A component to compile.
    #[arg(long, default_value = "target/wasm32-wasip2/guest/rating.wasm")]
    component: PathBuf,
}

/// Measure, and tell as a table.
pub(crate) async fn run(command: Costs) -> anyhow::Result<String> {
    // On a worker, as triggers are: from the main thread each call would be a change of threads.
    let mut worker = JoinSet::new();
    worker.spawn(measure(command));
    let measured = worker.join_next().await.context("it was not measured")?;
    measured?
}

async fn measure(command: Costs) -> anyhow::Result<String> {
    let calls = command.calls;
    let lab = Arc::new(Lab::new()?);
    lab.live("callee", Dependencies::default(), &callee())
        .await?;
    let quick = job("");
    lab.live("job", Dependencies::default(), &quick).await?;
    let from_callee = [(WORDS.parse()?, id("callee")?)].into_iter().collect();
    lab.live("caller", from_callee, &caller()).await?;

    let native = timed(calls, || async {
        let (send, receive) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(async move { send.send(std::hint::black_box(1_u64)) });
        receive.await?;
        Ok(())
    })
    .await?;
    let direct = timed(calls, || calling(&lab, "job")).await?;
    let through = timed(calls, || calling(&lab, "caller")).await?;
    // A trap throws the instance away: the next call has a new one.
    let mut fresh = Vec::new();
    for _ in 0..calls.min(2_000) {
        // It is to fail.
        let _ = lab.call("job", "trap").await;
        let begun = Instant::now();
        lab.call("job", "run").await?;
        fresh.push(begun.elapsed());
    }
    let fresh = median(fresh).saturating_sub(direct);

    let versions = [
        lab.prepared("job", Dependencies::default(), &job("nop"))
            .await?,
        lab.prepared("job", Dependencies::default(), &quick).await?,
    ];
    let mut swap = Vec::new();
    for n in 0..1_000_usize {
        let version = versions.iter().cycle().nth(n).context("a version")?;
        let begun = Instant::now();
        lab.set_live("job", version.clone())?;
        lab.call("job", "run").await?;
        swap.push(begun.elapsed());
    }

    let bytes = std::fs::read(&command.component)
        .with_context(|| format!("{} cannot be read", command.component.display()))?;
    let begun = Instant::now();
    let artifact =
        marquee_runtime::compile(&bytes).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let compiled = begun.elapsed();
    drop(artifact);

    let rows = [
        ("native: a task and a channel", native),
        ("call of a component by the host", direct),
        ("the same through another component", through),
        (
            "so: a call from component to component",
            through.saturating_sub(direct),
        ),
        ("a fresh instance, beyond the call", fresh),
        (
            "a swap, until the first call on the new version has ended",
            median(swap),
        ),
        ("compiling (once a version)", compiled),
    ];
    let rows = rows.map(|(name, time)| {
        let us = time.as_secs_f64() * 1e6;
        let of_native = us / (native.as_secs_f64() * 1e6);
        let figures = vec![format!("{us:.1}"), format!("{of_native:.1}")];
        (name.to_owned(), figures)
    });
    Ok(table(["what", "us", "of native"], rows))
}

/// One call, as a future of its own.
fn calling(
    lab: &Arc<Lab>,
    component: &'static str,
) -> impl Future<Output = anyhow::Result<()>> + Send + use<> {
    let lab = Arc::clone(lab);
    async move { lab.call(component, "run").await }
}

/// The median of so many, after a tenth as many to warm up.
async fn timed<F: Future<Output = anyhow::Result<()>>>(
    calls: u32,
    work: impl Fn() -> F,
) -> anyhow::Result<Duration> {
    for _ in 0..calls / 10 {
        work().await?;
    }
    let mut times = Vec::new();
    for _ in 0..calls {
        let begun = Instant::now();
        work().await?;
        times.push(begun.elapsed());
    }
    Ok(median(times))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A component with one job, which traps when its name has four letters.
fn job(code: &str) -> String {
    component("", "", code)
}

/// A component with one job, which calls another one.
fn caller() -> String {
    let import = format!(
        r#"(import "{WORDS}" (instance $words
             (export "say" (func async (param "n" u32) (result u32)))))
           (alias export $words "say" (func $say))
           (core func $lowered (canon lower (func $say)))"#
    );
    let with = r#"(with "words" (instance (export "say" (func $lowered))))"#;
    component(&import, with, "(drop (call $say (i32.const 1)))")
}

fn component(import: &str, with: &str, code: &str) -> String {
    let words = match with {
        "" => "",
        _ => r#"(import "words" "say" (func $say (param i32) (result i32)))"#,
    };
    format!(
        r#"(component
          {import}
          (core module $m
            {words}
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
            ;; The memory is zero: the answer is ok.
            (func (export "run") (param i32 i32 i64) (result i32)
              (if (i32.eq (local.get 1) (i32.const 4)) (then unreachable))
              {code}
              i32.const 2048))
          (core instance $i (instantiate $m {with}))
          (func $run async (param "name" string) (param "due-at-ms" u64) (result (result (error string)))
            (canon lift (core func $i "run") (memory $i "memory") (realloc (func $i "realloc"))))
          (instance $job (export "run" (func $run)))
          (export "{JOB}" (instance $job)))"#
    )
}

fn callee() -> String {
    format!(
        r#"(component
          (core module $m (func (export "say") (param i32) (result i32) local.get 0))
          (core instance $i (instantiate $m))
          (func $say async (param "n" u32) (result u32) (canon lift (core func $i "say")))
          (instance $words (export "say" (func $say)))
          (export "{WORDS}" (instance $words)))"#
    )
}

const WORDS: &str = "bench:words/it";
