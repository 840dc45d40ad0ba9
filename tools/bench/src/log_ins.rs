//! `marquee-bench log-ins`: how many users log in a second, and what others notice of it.
//!
//! A host of its own runs the movie system, whose requests are measured while nobody logs in, while as many log in as the
//! passwords component takes, and while many more try. Each log-in is sent for another address (the host is told
//! that a proxy stands before it), since one address may not log in as often as is measured here.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Args;
use http::{Request, header};
use http_body_util::Full;
use serde_json::json;

use crate::{
    host::{self, Host},
    load::{self, Ask, Load, Report, Until},
    movies,
    table::table,
};

/// Measure log-ins, and what others notice of them.
#[derive(Debug, Args)]
#[command(after_help = "Example, after scripts/components:\n  marquee-bench log-ins --seconds 15")]
pub(crate) struct LogIns {
    /// The host's program [default: beside this one]
    #[arg(long)]
    marquee: Option<PathBuf>,
    /// The manifest of the movie system.
    #[arg(long, default_value = "spin.toml")]
    manifest: PathBuf,
    /// How long each phase goes on.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// Requests of others at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=512))]
    connections: u16,
    /// Between two requests of a connection of others, in milliseconds.
    #[arg(long, default_value_t = 10)]
    pause_ms: u64,
}

/// Measure, and tell as a table.
pub(crate) async fn run(command: LogIns) -> anyhow::Result<String> {
    let program = host::program(command.marquee.as_deref())?;
    let host = Host::start(&program, &command.manifest).await?;
    let movies = movies::keep(&host).await?;
    register(&host).await?;
    let others = Load {
        connections: usize::from(command.connections),
        pause: Duration::from_millis(command.pause_ms),
    };
    let others = async |phase: &'static str, until: Until| {
        let movies = Arc::clone(&movies);
        let ask: Ask = Arc::new(move |n| movies::ask(&movies, phase, n));
        load::run(&[&host.address], others, until, ask).await
    };
    others("warm", Until::after(WARM)).await?;
    let mut rows: Vec<(String, Report, Option<Report>)> = Vec::new();
    let length = Duration::from_secs(command.seconds);
    for (phase, at_once) in [("quiet", 0), ("few", FEW), ("many", MANY), ("again", 0)] {
        let until = Until::Time(Instant::now() + length);
        let said = match at_once {
            0 => "nobody".to_owned(),
            _ => format!("{at_once} at once"),
        };
        if at_once == 0 {
            rows.push((said, others(phase, until).await?, None));
            continue;
        }
        let load = Load {
            connections: at_once,
            // Of many, most are refused, and try again when they are told to.
            pause: Duration::ZERO,
        };
        let ask: Ask = Arc::new(log_in);
        let address = [host.address.as_str()];
        let (report, log_ins) = tokio::join!(
            others(phase, until.clone()),
            load::run(&address, load, until, ask)
        );
        rows.push((said, report?, Some(log_ins?)));
    }
    let quiet = rows
        .first()
        .map_or(1.0, |(_, report, _)| report.percentile_ms(99.0));
    let header = [
        "who logs in",
        "log-ins/s",
        "refused (429)",
        "other failures",
        "others' requests",
        "their p50 ms",
        "their p99 ms",
        "p99 of quiet",
        "their failures",
    ];
    Ok(table(
        header,
        rows.into_iter().map(|(said, report, log_ins)| {
            let status = |status| {
                let log_ins = log_ins.as_ref();
                log_ins.and_then(|report| report.statuses.get(&status).copied())
            };
            let (done, refused) = (status(201).unwrap_or(0), status(429).unwrap_or(0));
            let failures = log_ins.as_ref().map_or(0, Report::failures) - refused;
            let seconds = log_ins
                .as_ref()
                .map_or(1.0, |report| report.elapsed.as_secs_f64());
            #[expect(clippy::cast_precision_loss, reason = "for people to read")]
            let rate = done as f64 / seconds;
            let figures = vec![
                format!("{rate:.1}"),
                refused.to_string(),
                failures.to_string(),
                report.statuses.values().sum::<u64>().to_string(),
                format!("{:.2}", report.percentile_ms(50.0)),
                format!("{:.2}", report.percentile_ms(99.0)),
                format!("{:.2}", report.percentile_ms(99.0) / quiet),
                report.failures().to_string(),
            ];
            (said, figures)
        }),
    ))
}

async fn register(host: &Host) -> anyhow::Result<()> {
    for n in 0..USERS {
        let user = json!({ "name": format!("user {n}"), "password": PASSWORD });
        load::send(&host.address, post("/v1/users", n, &user)).await?;
    }
    Ok(())
}

/// Log-in number `n`. One user after the other, so that few attempts of one are under way at once.
fn log_in(n: u64) -> Request<Full<Bytes>> {
    let user = json!({ "login": format!("user {}", n % USERS), "password": PASSWORD });
    post("/v1/sessions", n, &user)
}

/// From an address of its own.
fn post(path: &str, n: u64, body: &serde_json::Value) -> Request<Full<Bytes>> {
    let [.., b, c, d] = n.to_be_bytes();
    Request::post(path)
        .header(header::CONTENT_TYPE, movies::JSON)
        .header("x-forwarded-for", format!("10.{b}.{c}.{d}"))
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap_or_default()
}

const USERS: u64 = 64;
const PASSWORD: &str = "a quiet harbour";
/// As many as are hashed at a time, and as many waiting.
const FEW: usize = 4;
/// More than are let wait.
const MANY: usize = 64;
const WARM: Duration = Duration::from_secs(5);
