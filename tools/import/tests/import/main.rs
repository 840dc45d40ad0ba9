//! The program against a server that misbehaves: what is sent again, what is told, and where a stopped run goes on.

#![expect(clippy::expect_used, reason = "a test that panics says what is wrong")]

mod server;

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use server::{Server, Trouble};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A film's id: it needs no lookup.
const FILM: &str = "01936b3e-7d2a-7c31-9c5a-5d2f0c6f8a11";

/// A file with one rating a user, in this order.
fn ratings(folder: &TempDir, users: impl IntoIterator<Item = String>) -> PathBuf {
    let mut text = "user_id,movie_id,value\n".to_owned();
    for user in users {
        text.push_str(&format!("{user},{FILM},7\n"));
    }
    let path = folder.path().join("ratings.csv");
    std::fs::write(&path, text).expect("written");
    path
}

fn import(file: &Path, server: &Server, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_marquee-import"))
        .arg("ratings")
        .arg(file)
        .args(["--url", &server.url])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started")
}

async fn ended(child: Child) -> Output {
    tokio::time::timeout(Duration::from_secs(60), child.wait_with_output())
        .await
        .expect("it ends")
        .expect("its output")
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).expect("text")
}

#[tokio::test]
async fn what_fails_for_a_moment_is_sent_again_until_it_is_acknowledged() {
    let server = Server::start(|user, tries| match (user, tries) {
        ("busy", 1..=2) => Some(Trouble::Status(503, Some(1))),
        ("throttled", 1) => Some(Trouble::Status(429, None)),
        ("broken", 1..=3) => Some(Trouble::Status(500, None)),
        ("cut", 1..=2) => Some(Trouble::Closed),
        ("torn", 1) => Some(Trouble::Torn),
        _ => None,
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let users = ["plain", "busy", "throttled", "broken", "cut", "torn"];
    let file = ratings(&folder, users.map(str::to_owned));
    let output = ended(import(&file, &server, &[])).await;
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("ratings: 6 accepted, 0 done in an earlier run, 0 failed"),
        "{said}"
    );
    for (user, tries) in users.iter().zip([1, 3, 2, 4, 3, 2]) {
        assert_eq!(server.tries(user), tries, "{user}");
        assert_eq!(server.acknowledged(user), 1, "{user}");
    }
    let pauses = server.pauses("busy");
    assert!(
        pauses.iter().all(|pause| *pause >= Duration::from_secs(1)),
        "Retry-After is the least that is waited: {pauses:?}"
    );
}

#[tokio::test]
async fn what_is_refused_is_told_with_its_line_and_reason_and_the_rest_goes_on() {
    let server = Server::start(|user, _| match user {
        "bad" => Some(Trouble::Status(422, None)),
        _ => None,
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = ratings(&folder, ["a", "bad", "b"].map(str::to_owned));
    let output = ended(import(&file, &server, &[])).await;
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("line 3: refused with 422: the server says why"),
        "{said}"
    );
    assert!(
        said.contains("ratings: 2 accepted, 0 done in an earlier run, 1 failed"),
        "{said}"
    );
    assert_eq!(server.tries("bad"), 1, "no is no");
}

#[tokio::test]
async fn a_server_that_stays_away_ends_the_run_and_the_reason_says_what_to_do() {
    let server = Server::start(|_, _| Some(Trouble::Status(503, None))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = ratings(&folder, ["a".to_owned()]);
    let output = ended(import(&file, &server, &["--patience", "1"])).await;
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("had no good answer for 1 s (last: refused with 503")
            && said.contains("run the same command again: it goes on where it stopped"),
        "{said}"
    );
}

#[tokio::test]
async fn a_run_that_was_killed_goes_on_after_what_was_acknowledged() {
    const LINES: usize = 200;
    const ANSWERED: usize = 50;
    let server = Server::start(|_, _| None).await;
    let folder = tempfile::tempdir().expect("a folder");
    let users: Vec<String> = (0..LINES).map(|place| format!("user{place}")).collect();
    let file = ratings(&folder, users.clone());
    let width = ["--concurrency", "4"];

    server.answer_at_most(Some(ANSWERED));
    let mut child = import(&file, &server, &width);
    server.until_stuck().await;
    child.kill().await.expect("killed");
    server.answer_at_most(None);

    let output = ended(import(&file, &server, &width)).await;
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for user in &users {
        assert!(server.acknowledged(user) >= 1, "{user} is lost");
    }
    // What the first run had sent and not noted as done: no more than it had in flight.
    let twice = users.iter().filter(|user| server.tries(user) > 1).count();
    assert!(twice <= 8, "{twice} of {LINES} were sent again");

    let output = ended(import(&file, &server, &width)).await;
    assert!(
        text(&output).contains("ratings: 0 accepted, 200 done in an earlier run, 0 failed"),
        "{}",
        text(&output)
    );
}
