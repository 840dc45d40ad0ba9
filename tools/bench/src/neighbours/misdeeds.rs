//! What a component should not do, and how it comes to do it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use http::{Method, Request};
use http_body_util::Full;
use tokio::task::JoinSet;

use super::clients::{self, Clients};
use crate::{host::Host, load};

/// How the other component comes to misbehave.
#[derive(Clone, Copy)]
pub(super) enum Misdeed {
    Nothing,
    /// It is asked for this, so often a second, and fails.
    Asked(&'static str),
    /// The same, and it answers.
    Answers(&'static str),
    /// It is released anew, so often a second: a version that cannot start.
    Released(Stillborn),
    /// It has such clients, all the time.
    Clients(Clients),
}

/// Versions that cannot start.
#[derive(Clone, Copy)]
pub(super) enum Stillborn {
    Traps,
    Computes,
}

/// Names on the command line, and what is said of them.
pub(super) const MISDEEDS: [(&str, &str, Misdeed); 18] = [
    ("nothing", "does nothing", Misdeed::Nothing),
    ("error", "answers 500", Misdeed::Asked("/faulty/error")),
    ("trap", "traps", Misdeed::Asked("/faulty/trap")),
    (
        "recurse",
        "recurses without end",
        Misdeed::Asked("/faulty/recurse"),
    ),
    (
        "grow",
        "takes memory without end",
        Misdeed::Asked("/faulty/grow"),
    ),
    (
        "memories",
        "fills four memories in each of its instances, and traps",
        Misdeed::Asked("/memories/trap"),
    ),
    (
        "handles",
        "takes handles without end",
        Misdeed::Asked("/faulty/handles"),
    ),
    (
        "huge",
        "answers with 20 MiB",
        Misdeed::Asked("/faulty/huge"),
    ),
    (
        "chatter",
        "logs 10,000 lines",
        Misdeed::Asked("/faulty/chatter"),
    ),
    ("wait", "waits without end", Misdeed::Asked("/faulty/wait")),
    (
        "yield",
        "gives way without end",
        Misdeed::Asked("/faulty/yield"),
    ),
    (
        "spin",
        "computes without end",
        Misdeed::Asked("/faulty/spin"),
    ),
    (
        "queries",
        "sends 900 slow statements at once",
        Misdeed::Answers("/crowd"),
    ),
    (
        "start",
        "is released anew and traps at its start",
        Misdeed::Released(Stillborn::Traps),
    ),
    (
        "endless-start",
        "is released anew and computes at its start",
        Misdeed::Released(Stillborn::Computes),
    ),
    (
        "bodies",
        "has 260 clients whose bodies do not come",
        Misdeed::Clients(Clients::Bodies),
    ),
    (
        "windows",
        "has two clients of HTTP/2 with 64 requests and windows of nothing",
        Misdeed::Clients(Clients::Windows),
    ),
    (
        "readers",
        "has four clients that read nothing of 20 MiB",
        Misdeed::Clients(Clients::Readers),
    ),
];

/// The bytes of versions that cannot start.
pub(super) struct Versions {
    pub(super) traps: Vec<u8>,
    pub(super) computes: Vec<u8>,
}

/// Have it misbehave for so long. How often it was asked.
pub(super) async fn commit(
    misdeed: Misdeed,
    host: &Arc<Host>,
    versions: &Versions,
    rate: u32,
    length: Duration,
) -> anyhow::Result<usize> {
    let is_to_answer = matches!(misdeed, Misdeed::Answers(_));
    let released = match misdeed {
        Misdeed::Nothing => return Ok(0),
        Misdeed::Clients(kind) => return clients::stay(kind, &host.address, length).await,
        Misdeed::Asked(path) | Misdeed::Answers(path) => Err(path),
        Misdeed::Released(Stillborn::Traps) => Ok(&versions.traps),
        Misdeed::Released(Stillborn::Computes) => Ok(&versions.computes),
    };
    let mut answers = JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    let begun = Instant::now();
    let (mut count, mut number) = (0, 0_usize);
    while begun.elapsed() < length {
        tick.tick().await;
        while let Some(answer) = answers.try_join_next() {
            answer??;
            count += 1;
        }
        if released.is_ok() && answers.len() >= RELEASES {
            continue;
        }
        let host = Arc::clone(host);
        number += 1;
        match released {
            Ok(version) => answers.spawn(release(host, version.clone())),
            Err(path) => answers.spawn(async move {
                let request = Request::get(path)
                    .header(FORWARDED_FOR, client(number))
                    .body(Full::default())?;
                let answer = load::send(&host.address, request).await;
                // Where many wait it may be refused, or late; a trap would measure something else.
                if is_to_answer && let Err(error) = answer {
                    let error = error.to_string();
                    ensure!(!error.contains("500"), "{path}: {error}");
                }
                Ok(())
            }),
        };
    }
    while let Some(answer) = answers.join_next().await {
        answer??;
        count += 1;
    }
    Ok(count)
}

async fn release(host: Arc<Host>, version: Vec<u8>) -> anyhow::Result<()> {
    let path = "/admin/v1/components/faulty/versions";
    let deployed = host.admin(Method::POST, path, "application/wasm", version);
    let refused = deployed
        .await
        .err()
        .context("a version that cannot start is live")?;
    let refused = refused.to_string();
    // While the first one is compiled the next ones may find the host busy.
    let expected = ["step instantiate", "other versions are being deployed"];
    ensure!(expected.iter().any(|e| refused.contains(e)), "{refused}");
    Ok(())
}

/// One of some clients, none of which is the one that the load comes from: the host bounds what one has at once.
fn client(number: usize) -> String {
    format!("192.0.2.{}", number % CLIENTS + 1)
}

const CLIENTS: usize = 8;
const FORWARDED_FOR: &str = "x-forwarded-for";
/// At once: more are sent away before they have said what they bring.
const RELEASES: usize = 2;
