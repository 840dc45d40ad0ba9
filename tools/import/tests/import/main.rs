//! The program against a server that misbehaves: what is sent again, what is told, and where a stopped run goes on.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics says what is wrong"
)]

mod aggregates;
mod server;

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use server::{Server, Trouble};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A film's id: it needs no lookup.
const FILM: &str = "01936b3e-7d2a-7c31-9c5a-5d2f0c6f8a11";

/// A file with ratings of these users, in this order: 1, 2 and so on to 10.
fn ratings(folder: &TempDir, users: &[impl AsRef<str>]) -> PathBuf {
    let mut text = "user_id,movie_id,value\n".to_owned();
    for (user, value) in users.iter().zip((1..=10).cycle()) {
        text.push_str(&format!("{},{FILM},{value}\n", user.as_ref()));
    }
    let path = folder.path().join("ratings.csv");
    std::fs::write(&path, text).expect("written");
    path
}

fn import(file: &Path, server: &Server, more: &[&str]) -> Child {
    let what = file.file_stem().expect("a name");
    Command::new(env!("CARGO_BIN_EXE_marquee-import"))
        .arg(what)
        .arg(file)
        .args(["--url", &server.url])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started")
}

/// Its exit code, and all that it said.
async fn ended(child: Child) -> (Option<i32>, String) {
    let waited = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output());
    let output: Output = waited.await.expect("it ends").expect("its output");
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(both).expect("text"))
}

#[tokio::test]
async fn a_list_that_fails_for_a_moment_is_sent_again_and_counts_once() {
    let server = Server::start(|user, tries| match (user, tries) {
        ("busy", 1..=2) => Some(Trouble::List(503, Some(1))),
        ("throttled", 1) => Some(Trouble::List(429, None)),
        ("broken", 1..=3) => Some(Trouble::List(500, None)),
        ("cut", 1..=2) => Some(Trouble::Closed),
        ("torn", 1) => Some(Trouble::Torn),
        _ => None,
    })
    .await;
    for (user, tries) in [
        ("busy", 3),
        ("throttled", 2),
        ("broken", 4),
        ("cut", 3),
        ("torn", 2),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let beside = format!("beside {user}");
        let file = ratings(&folder, &[&beside[..], user]);
        let (code, said) = ended(import(&file, &server, &[])).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.contains("ratings: 2 accepted, 0 done in an earlier run, 0 failed"),
            "{said}"
        );
        for user in [user, &beside] {
            assert_eq!(server.tries(user), tries, "{user}");
            assert_eq!(server.taken(user).len(), 1, "{user}");
        }
    }
    let pauses = server.pauses("busy");
    assert!(
        pauses.iter().all(|pause| *pause >= Duration::from_secs(1)),
        "Retry-After is the least that is waited: {pauses:?}"
    );
}

#[tokio::test]
async fn an_item_that_fails_for_a_moment_is_sent_again_alone() {
    let server = Server::start(|user, tries| match (user, tries) {
        ("late", 1..=2) => Some(Trouble::Item(503)),
        ("later", 1..=3) => Some(Trouble::Item(504)),
        _ => None,
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let users = ["a", "late", "b", "later", "c"];
    let (code, said) = ended(import(&ratings(&folder, &users), &server, &[])).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("ratings: 5 accepted, 0 done in an earlier run, 0 failed"),
        "{said}"
    );
    for (user, tries) in users.iter().zip([1, 3, 1, 4, 1]) {
        assert_eq!(server.tries(user), tries, "{user}");
        assert_eq!(server.taken(user).len(), 1, "{user}");
    }
    assert_eq!(server.requests(), 4);
}

#[tokio::test]
async fn what_is_refused_is_told_with_its_line_and_reason_and_the_rest_goes_on() {
    // Some are refused by themselves, some make a list that cannot be read.
    let server = Server::start(|user, _| match user {
        "bad" => Some(Trouble::Item(422)),
        "malformed" => Some(Trouble::List(400, None)),
        _ => None,
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut users: Vec<String> = (0..50).map(|place| format!("user{place}")).collect();
    users[7] = "bad".to_owned();
    users[20] = "malformed".to_owned();
    let (code, said) = ended(import(&ratings(&folder, &users), &server, &[])).await;
    assert_eq!(code, Some(1), "{said}");
    for line in [
        "line 9: refused with 422: the server says why",
        "line 22: refused with 400: the server says why",
        "ratings: 48 accepted, 0 done in an earlier run, 2 failed",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert_eq!(server.tries("bad"), server.tries("user8"), "no is no");
    for user in users.iter().filter(|user| user.starts_with("user")) {
        assert_eq!(server.taken(user).len(), 1, "{user}");
    }
}

#[tokio::test]
async fn a_server_that_stays_away_ends_the_run_and_the_reason_says_what_to_do() {
    for trouble in [Trouble::List(503, None), Trouble::Item(503)] {
        let server = Server::start(move |_, _| Some(trouble)).await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = ratings(&folder, &["a", "b"]);
        let (code, said) = ended(import(&file, &server, &["--patience", "1"])).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("had no good answer for 1 s (last: refused with 503")
                && said.contains("run the same command again: it goes on where it stopped"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn what_was_acknowledged_of_a_list_is_noted_where_the_rest_ends_the_run() {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let server = Server::start(move |user, _| {
        let ill = user == "ill" && !is_well.load(Ordering::Relaxed);
        ill.then_some(Trouble::Item(503))
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = ratings(&folder, &["a", "ill", "b"]);
    let (code, said) = ended(import(&file, &server, &["--patience", "1"])).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("had no good answer for 1 s"), "{said}");

    well.store(true, Ordering::Relaxed);
    let (code, said) = ended(import(&file, &server, &[])).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("ratings: 1 accepted, 2 done in an earlier run, 0 failed"),
        "{said}"
    );
    assert_eq!((server.tries("a"), server.tries("b")), (1, 1));
}

#[tokio::test]
async fn the_last_of_a_users_ratings_of_a_film_counts_though_an_earlier_one_is_late() {
    let server = Server::start(|user, tries| match (user, tries) {
        ("ann", 1..=2) => Some(Trouble::Item(503)),
        _ => None,
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = ratings(&folder, &["ann", "bob", "ann", "ann"]);
    let (code, said) = ended(import(&file, &server, &[])).await;
    assert_eq!(code, Some(0), "{said}");
    let values: Vec<_> = server
        .taken("ann")
        .iter()
        .map(|item| item["value"].as_u64())
        .collect();
    assert_eq!(values, [Some(1), Some(3), Some(4)]);
}

#[tokio::test]
async fn films_are_new_there_or_refused_each_by_itself_within_the_bounds_of_a_request() {
    let server = Server::start(|title, _| match title {
        "Film 3" => Some(Trouble::Item(409)),
        "Film 5" => Some(Trouble::Item(422)),
        _ => None,
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let text = "x".repeat(4_000);
    let film = |number: usize| match number {
        // More than any request may have.
        250 => format!("Film 250,D,{}\n", text.repeat(17)),
        101.. => format!("Film {number},D,\n"),
        _ => format!("Film {number},D,{text}\n"),
    };
    let films: String = (1..=250).map(film).collect();
    let file = folder.path().join("movies.csv");
    std::fs::write(&file, format!("title,director,description\n{films}")).expect("written");
    let (code, said) = ended(import(&file, &server, &[])).await;
    assert_eq!(code, Some(1), "{said}");
    for line in [
        "line 6: refused with 422: the server says why",
        "line 251: refused with 413: the server says why",
        "films: 247 created, 1 already there, 0 done in an earlier run, 2 failed",
    ] {
        assert!(said.contains(line), "{said}");
    }
    // Sixteen long ones fit in one.
    assert!(
        (7..=10).contains(&server.requests()),
        "{} requests",
        server.requests()
    );
}

#[tokio::test]
async fn a_run_that_was_killed_goes_on_after_what_was_acknowledged() {
    let server = Server::start(|_, _| None).await;
    let folder = tempfile::tempdir().expect("a folder");
    let users: Vec<String> = (0..5_000).map(|place| format!("user{place}")).collect();
    let file = ratings(&folder, &users);
    let width = ["--concurrency", "2"];

    server.answer_at_most(Some(5));
    let mut child = import(&file, &server, &width);
    server.until_stuck().await;
    child.kill().await.expect("killed");
    server.answer_at_most(None);

    let (code, said) = ended(import(&file, &server, &width)).await;
    assert_eq!(code, Some(0), "{said}");
    for user in &users {
        assert!(!server.taken(user).is_empty(), "{user} is lost");
    }
    // What the first run had sent and not noted as done: no more than it had in flight, and what it was noting.
    let twice = users.iter().filter(|user| server.tries(user) > 1).count();
    assert!((1..=2_000).contains(&twice), "{twice} were sent again");

    let (_, said) = ended(import(&file, &server, &width)).await;
    assert!(
        said.contains("ratings: 0 accepted, 5000 done in an earlier run, 0 failed"),
        "{said}"
    );
}
