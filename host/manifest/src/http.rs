//! Bounds of what clients do over HTTP: `[application.tool.marquee] http = { ... }`.

use std::time::Duration;

use crate::{reader::Section, units};

/// Bounds of all clients together, and of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// Connections of one client at once.
    pub client_connections: usize,
    /// Requests at once.
    pub requests: usize,
    /// Requests of one client at once.
    pub client_requests: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// The largest body of a request that is passed on.
    pub body_bytes: usize,
    /// Bytes a second that it has to come with.
    pub body_rate: usize,
    /// The time to send a request's headers.
    pub header_timeout: Duration,
    /// How long a connection may be without a request.
    pub keep_alive: Duration,
    /// How long an answer may wait for its client to take more of it.
    pub write_timeout: Duration,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            // A file handle and some tens of KiB each.
            connections: 1_024,
            // An eighth of them; many people share an address.
            client_connections: 128,
            // Four components with all of their places taken.
            requests: 512,
            // Half of a component's places.
            client_requests: 64,
            // As many: a client that keeps to it is not refused.
            streams: 64,
            // Many times what an API takes.
            body_bytes: 1 << 20,
            // Far below the slowest network that people still use.
            body_rate: 1 << 10,
            // A few round trips of it.
            header_timeout: Duration::from_secs(5),
            // Longer than the 60 s for which balancers reuse a connection: who closes first must be they.
            keep_alive: Duration::from_secs(75),
            // Longer than a phone is in a tunnel.
            write_timeout: Duration::from_secs(30),
        }
    }
}

pub(crate) fn read(mut table: Section<'_>) -> Http {
    let mut http = Http::default();
    let number = |table: &mut Section<'_>, key, most, set: &mut usize| {
        if let Some(number) = table.number(key, 1..=most) {
            *set = usize::try_from(number).unwrap_or(1);
        }
    };
    number(&mut table, "connections", 100_000, &mut http.connections);
    number(
        &mut table,
        "client_connections",
        100_000,
        &mut http.client_connections,
    );
    number(&mut table, "requests", 100_000, &mut http.requests);
    number(
        &mut table,
        "client_requests",
        100_000,
        &mut http.client_requests,
    );
    if let Some(streams) = table.number("streams", 1..=10_000) {
        http.streams = u32::try_from(streams).unwrap_or(1);
    }
    let bytes = |table: &mut Section<'_>, key, bounds, set: &mut usize| {
        let show = |bytes: usize| format!("{}KiB", bytes >> 10);
        if let Some(bytes) = table.measured(key, units::size, bounds, "64KiB", show) {
            *set = bytes;
        }
    };
    bytes(
        &mut table,
        "body",
        (1 << 10)..=(64 << 20),
        &mut http.body_bytes,
    );
    bytes(
        &mut table,
        "body_rate",
        (1 << 10)..=(64 << 20),
        &mut http.body_rate,
    );
    let duration = |table: &mut Section<'_>, key, most, set: &mut Duration| {
        let bounds = Duration::from_millis(100)..=Duration::from_secs(most);
        let show = |duration: Duration| format!("{duration:?}");
        if let Some(duration) = table.measured(key, units::duration, bounds, "10s", show) {
            *set = duration;
        }
    };
    duration(&mut table, "header_timeout", 60, &mut http.header_timeout);
    duration(&mut table, "keep_alive", 3_600, &mut http.keep_alive);
    duration(&mut table, "write_timeout", 3_600, &mut http.write_timeout);
    table.finish("http has connections, client_connections, requests, client_requests, streams, body, body_rate, header_timeout, keep_alive and write_timeout");
    http
}
