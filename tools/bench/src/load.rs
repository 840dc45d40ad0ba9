//! Load: connections that each send one request after the other, for a while.
//!
//! Closed loop: a slow server is asked less, so a percentile is that of a client who waits for each answer. Bound: one
//! request in flight a connection.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

/// What is asked: the request number `n`, counted over all connections.
pub(crate) type Ask = Arc<dyn Fn(u64) -> Request<Full<Bytes>> + Send + Sync>;

/// How much is asked at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Each asks again when it has its answer.
    pub(crate) connections: usize,
    /// After an answer, before the next request; longer where the answer says so (`Retry-After`).
    pub(crate) pause: Duration,
}

/// What came of it.
pub(crate) struct Report {
    /// How long it took, in all.
    pub(crate) elapsed: Duration,
    /// From sending a request to the last byte of its answer, in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// Answers by status; 0 where there was none.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// The numbers of the requests that succeeded.
    pub(crate) done: Vec<u64>,
}

/// When the load ends.
#[derive(Clone)]
pub(crate) enum Until {
    /// Then.
    Time(Instant),
    /// When it is told so.
    Told(Arc<AtomicBool>),
}

impl Until {
    /// In so long from now.
    pub(crate) fn after(length: Duration) -> Self {
        Self::Time(Instant::now() + length)
    }

    fn has_come(&self) -> bool {
        match self {
            Self::Time(at) => Instant::now() >= *at,
            Self::Told(told) => told.load(Ordering::Relaxed),
        }
    }

    /// Waits for so long, or until it has come.
    async fn pass(&self, time: Duration) {
        let time = match self {
            Self::Time(at) => time.min(at.saturating_duration_since(Instant::now())),
            Self::Told(_) => time,
        };
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
    }
}

impl Report {
    fn empty() -> Self {
        Self {
            elapsed: Duration::ZERO,
            // Up to a minute, three digits.
            latency: latency(),
            statuses: BTreeMap::new(),
            done: Vec::new(),
        }
    }

    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        let answers: u64 = self.statuses.values().sum();
        precise(answers) / self.elapsed.as_secs_f64()
    }

    /// A percentile, in milliseconds.
    pub(crate) fn percentile_ms(&self, percentile: f64) -> f64 {
        precise(self.latency.value_at_percentile(percentile)) / 1_000.0
    }

    /// Answers that are no success.
    pub(crate) fn failures(&self) -> u64 {
        self.statuses
            .iter()
            .filter(|(status, _)| !(200..300).contains(*status))
            .map(|(_, count)| count)
            .sum()
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latency.add(&other.latency)?;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.done.extend(&other.done);
        Ok(())
    }
}

/// Ask for so long; where there are several addresses, each connection asks one of them.
pub(crate) async fn run(
    addresses: &[&str],
    load: Load,
    until: Until,
    ask: Ask,
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    let addresses = addresses.iter().cycle().take(load.connections);
    for (connection, address) in addresses.enumerate() {
        let (address, ask, until) = ((*address).to_owned(), Arc::clone(&ask), until.clone());
        let first = u64::try_from(connection)?;
        tasks.spawn(async move { one(&address, load, &until, first, &ask).await });
    }
    let mut all = Report::empty();
    while let Some(report) = tasks.join_next().await {
        all.add(&report??)?;
    }
    all.elapsed = begun.elapsed();
    Ok(all)
}

async fn one(
    address: &str,
    load: Load,
    until: &Until,
    first: u64,
    ask: &Ask,
) -> anyhow::Result<Report> {
    let mut report = Report::empty();
    let mut sender = connect(address).await?;
    let step = u64::try_from(load.connections)?;
    let mut n = first;
    while !until.has_come() {
        let mut request = ask(n);
        request.headers_mut().insert(header::HOST, address.parse()?);
        let sent = Instant::now();
        let (status, again) = match answer(&mut sender, request).await {
            Ok(answer) => answer,
            Err(_) => {
                // The server closed, or is not there: a failure, and a new connection.
                sender = connect(address).await?;
                (0, None)
            }
        };
        let taken = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
        report.latency.saturating_record(taken);
        *report.statuses.entry(status).or_default() += 1;
        if (200..300).contains(&status) {
            report.done.push(n);
        }
        n += step;
        until.pass(load.pause.max(again.unwrap_or_default())).await;
    }
    Ok(report)
}

/// Its status, and after what time it says to try again.
async fn answer(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<(u16, Option<Duration>)> {
    sender.ready().await?;
    let mut response = sender.send_request(request).await?;
    while let Some(frame) = response.body_mut().frame().await {
        frame?;
    }
    let again = response.headers().get(header::RETRY_AFTER);
    let again = again.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
    Ok((response.status().as_u16(), again.map(Duration::from_secs)))
}

/// The body at a path; it must be a success.
pub(crate) async fn fetch(address: &str, path: &str) -> anyhow::Result<Bytes> {
    send(address, Request::get(path).body(Full::default())?).await
}

/// The body of one answer, which must be a success.
pub(crate) async fn send(
    address: &str,
    mut request: Request<Full<Bytes>>,
) -> anyhow::Result<Bytes> {
    let mut sender = connect(address).await?;
    request.headers_mut().insert(header::HOST, address.parse()?);
    let response = sender.send_request(request).await?;
    anyhow::ensure!(
        response.status().is_success(),
        "it answered {}",
        response.status()
    );
    Ok(response.into_body().collect().await?.to_bytes())
}

async fn connect(address: &str) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("nobody listens on {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    #[expect(clippy::disallowed_methods, reason = "it ends with its sender")]
    tokio::spawn(connection);
    Ok(sender)
}

#[expect(clippy::expect_used, reason = "the bounds are constants that it takes")]
fn latency() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000, 3).expect("a minute at three digits")
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
pub(crate) fn precise(number: u64) -> f64 {
    number as f64
}

/// One request on a connection of its own; none where there was no answer in time.
pub(crate) async fn ask(address: &str, method: http::Method, path: &str) -> Option<u16> {
    let asked = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, address)
            .body(Full::new(Bytes::new()))?;
        let answer = sender.send_request(request).await?;
        anyhow::Ok(answer.status().as_u16())
    };
    tokio::time::timeout(ANSWER, asked).await.ok()?.ok()
}

/// The status of a page.
pub(crate) async fn status(address: &str, path: &str) -> Option<u16> {
    ask(address, http::Method::GET, path).await
}

/// Longer than a host takes for anything.
const ANSWER: Duration = Duration::from_secs(30);
