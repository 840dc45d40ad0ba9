//! Load by `wrk`, whose own cost is small beside that of what it asks.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

/// What came of it.
pub(super) struct Answers {
    pub(super) all: f64,
    pub(super) a_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// Ask for one page over so many connections, for so long. Every answer must be a success.
pub(super) async fn ask(url: &str, connections: u16, length: Duration) -> anyhow::Result<Answers> {
    let run = Command::new("wrk")
        .args(["--threads", "1", "--latency", "--connections"])
        .arg(connections.to_string())
        .args(["--duration", &format!("{}s", length.as_secs())])
        .arg(url)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("wrk cannot be started; install it (Debian: apt-get install wrk)")?;
    let said = String::from_utf8_lossy(&run.stdout);
    ensure!(
        run.status.success(),
        "wrk: {said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
    ensure!(
        !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "{url} does not answer every request with a success:\n{said}"
    );
    read(&said).with_context(|| format!("wrk tells something else than it used to:\n{said}"))
}

fn read(said: &str) -> Option<Answers> {
    let after = |name: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
        line?.split_whitespace().next()
    };
    let all = said
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))?
        .0;
    Some(Answers {
        all: all.parse().ok()?,
        a_second: after("Requests/sec:")?.parse().ok()?,
        p50_ms: milliseconds(after("50%")?)?,
        p99_ms: milliseconds(after("99%")?)?,
    })
}

/// `120.00us`, `1.20ms`, `1.20s`.
fn milliseconds(time: &str) -> Option<f64> {
    let digits = time.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().ok()?;
    Some(match time.get(digits.len()..)? {
        "us" => number / 1_000.0,
        "ms" => number,
        "s" => number * 1_000.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_tells_is_read() {
        let said = "Running 2s test @ http://127.0.0.1:1/\n  1 threads and 16 connections\n  \
            Latency Distribution\n     50%  812.00us\n     75%    1.02ms\n     90%    1.57ms\n     99%    3.50ms\n  \
            12842 requests in 2.00s, 2.21MB read\nRequests/sec:   6420.13\nTransfer/sec:      1.11MB\n";
        let answers = read(said).expect("all of it");
        assert!((answers.all - 12_842.0).abs() < 0.5);
        assert!((answers.a_second - 6_420.13).abs() < 0.01);
        assert!((answers.p50_ms - 0.812).abs() < 0.001);
        assert!((answers.p99_ms - 3.5).abs() < 0.001);
    }
}
