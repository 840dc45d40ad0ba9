//! The command line beside a running host.

use std::{fs::File, time::Duration};

use marquee_testkit::eventually;

use crate::host::Setup;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_applied_is_listed_shown_and_skipped() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    // A movie's event that no component can make anything of, put on the bus the way a component would.
    let client = setup.connect("METADATA").await;
    client
        .execute(
            "select marquee.publish('metadata', 'the-key', '{}', convert_to('nonsense', 'utf8'))",
            &[],
        )
        .await
        .expect("published");
    let mut listed = serde_json::Value::Null;
    eventually(
        Duration::from_secs(30),
        "it is among the dead",
        async || {
            let output = setup.verb(&["messages", "list", "--state", "dead", "--json"]);
            assert!(output.status.success(), "{}", text(&output.stderr));
            listed = serde_json::from_slice(&output.stdout).expect("JSON");
            listed.as_array().is_some_and(|list| list.len() == 1)
        },
    )
    .await;
    let id = listed[0]["message"].as_str().expect("its name").to_owned();
    assert_eq!(listed[0]["kept"]["key"], "the-key");

    let shown = setup.verb(&["messages", "show", &id]);
    assert!(
        text(&shown.stdout).contains("nonsense"),
        "{}",
        text(&shown.stdout)
    );
    let table = setup.verb(&["messages", "list"]);
    assert!(text(&table.stdout).contains(&id), "{}", text(&table.stdout));
    let skipped = setup.verb(&["messages", "skip", &id]);
    assert!(skipped.status.success(), "{}", text(&skipped.stderr));
    let again = setup.verb(&["messages", "skip", "rating/999999"]);
    assert_eq!(again.status.code(), Some(1), "there is none");
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_printed_is_a_failure_but_not_where_the_reader_has_gone() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    for verb in [
        &["messages", "list"][..],
        &["messages", "list", "--json"],
        &["messages", "history"],
        &["consumers", "list"],
        &["topics"],
        &["outbox", "list"],
        &["versions"],
        &["versions", "rating", "--json"],
        &["history"],
        &["audit"],
        &["config"],
        &["migrate"],
    ] {
        let full = File::options().write(true).open("/dev/full");
        let full = full.expect("a device that is full");
        let output = setup.command(verb).stdout(full).output().expect("it runs");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{verb:?}: {said}");
        assert!(
            said.contains("error: standard output cannot be written"),
            "{verb:?}: {said}"
        );

        let read = setup.verb(verb);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = setup.command(verb).stdout(writer).output();
        let output = output.expect("it runs");
        let said = text(&output.stderr);
        assert_eq!(output.status, read.status, "{verb:?}: {said}");
        assert!(!said.contains("error"), "{verb:?}: {said}");
    }
    drop(host);
    let full = File::options().write(true).open("/dev/full");
    let full = full.expect("a device that is full");
    let output = setup.bare(&["--help"]).stdout(full).output();
    assert_eq!(output.expect("it runs").status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_may_stand_behind_the_verb_and_what_it_acts_on() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    for verb in [
        &["messages", "list"][..],
        &["consumers", "pause", "rating", "metadata"],
        &["consumers", "resume", "rating", "metadata"],
        &["outbox", "list"],
        &["audit", "accept"],
        &["versions", "rating"],
    ] {
        let output = setup.bare(verb).args(setup.flags()).output();
        let output = output.expect("it runs");
        let said = text(&output.stderr);
        assert!(output.status.success(), "{verb:?}: {said}");
    }
    drop(host);
    let output = setup
        .bare(&["messages", "list", "--admin", "http://127.0.0.1:1"])
        .output()
        .expect("it runs");
    let said = text(&output.stderr);
    assert!(said.contains("no host answers at 127.0.0.1:1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_colours_unless_it_asks_for_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spin.toml");
    std::fs::write(&path, "spin_manifest_version = 2\nbogus = 1\n").expect("written");
    let command = format!(
        "{} up --manifest {}",
        env!("CARGO_BIN_EXE_marquee"),
        path.display()
    );
    let shown = |no_color: &str| {
        // Of util-linux, on every machine: it gives a program a terminal.
        let output = std::process::Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("NO_COLOR", no_color)
            .env("TERM", "xterm-256color")
            .output()
            .expect("`script` runs; it is in the package bsdutils or util-linux");
        let shown = text(&output.stdout);
        assert!(shown.contains("bogus"), "{shown}");
        shown
    };
    assert!(
        shown("").contains("\u{1b}["),
        "an empty one asks for nothing"
    );
    let plain = shown("1");
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn config_says_where_each_value_comes_from_and_hides_secrets() {
    let setup = Setup::nothing()
        .with("DATABASE_URL_RATING", "postgres://me:hush@db/rating")
        .with("KAFKA_BROKERS", "k:9092");
    let output = setup.verb(&["config", "--listen", "127.0.0.1:8080"]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!shown.contains("hush"), "{shown}");
    for part in [
        "127.0.0.1:8080",
        "flag --listen",
        "environment DATABASE_URL_RATING",
        "k:9092",
        "default",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_with_problems_is_refused_with_all_of_them_and_their_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spin.toml");
    let manifest = "spin_manifest_version = 2\n[application]\nname = \"x\"\n[[trigger.redis]]\nchannel = \"c\"\n\
                    [component.a]\nsource = \"a.wasm\"\nfiles = [\"x\"]\n";
    std::fs::write(&path, manifest).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_marquee"))
        .args(["up", "--manifest"])
        .arg(&path)
        .output()
        .expect("it runs");
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    for part in [
        "trigger.redis is not supported",
        "component.a.files is not supported",
        "spin.toml:4",
        "spin.toml:8",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_is_missing_empty_or_writes_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spin.toml");
    let manifest = "spin_manifest_version = 2\n[application]\nname = \"x\"\n\
                    [component.a]\nsource = \"a.wasm\"\n[component.a.tool.marquee]\n\
                    database = { name = \"a\", audit = \"audit.sql\" }\nsubscriptions = [{ topic = \"t\" }]\n";
    std::fs::write(&path, manifest).expect("written");
    let setup = Setup::application(&path, &["A"]).await;
    for (audit, said) in [
        (None, "the audit audit.sql cannot be read"),
        (Some("-- nothing\n"), "the audit audit.sql is empty"),
        (
            Some("delete from marquee.keys returning key;\n"),
            "the audit audit.sql is not one query that only reads",
        ),
        (Some("select * from marquee.keys where last_seq < 1;\n"), ""),
    ] {
        if let Some(audit) = audit {
            std::fs::write(folder.path().join("audit.sql"), audit).expect("written");
        }
        let output = setup.verb(&["migrate"]);
        let shown = text(&output.stderr);
        assert_eq!(
            output.status.success(),
            said.is_empty(),
            "{audit:?}: {shown}"
        );
        assert!(shown.contains(said), "{audit:?}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_has_an_example_in_its_help() {
    for verb in [
        vec!["up"],
        vec!["migrate"],
        vec!["messages"],
        vec!["messages", "list"],
        vec!["config"],
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_marquee"))
            .args(&verb)
            .arg("--help")
            .output()
            .expect("it runs");
        let shown = text(&output.stdout);
        assert!(shown.contains("Example"), "{verb:?}: {shown}");
    }
}
