//! Releases that need a migration: what expands is run before, what takes away later, and neither under a version that it
//! would break.

use std::{fs, path::Path};

use marquee_testkit::eventually;
use tokio::task::block_in_place;

use crate::{
    host::Setup,
    raw,
    releases::{done, guest, refused, remade, versions},
};

const MANIFEST: &str = "examples/counter/spin.toml";

/// Of two hosts of the counter that share what is live.
async fn pair() -> [Setup; 2] {
    let first = Setup::application(MANIFEST, &["COUNTER", "BUS", "RELEASES"]).await;
    let second = first.release(MANIFEST);
    [first, second]
}

/// The counter's migrations, and these.
fn folder(path: &Path, more: &[(&str, &str)]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/counter/migrations");
    let first = "0001_counter.sql";
    fs::copy(root.join(first), path.join(first)).expect("copied");
    for (name, text) in more {
        fs::write(path.join(name), text).expect("written");
    }
    path.to_str().expect("text").to_owned()
}

/// How many columns the counters have.
async fn columns(setup: &Setup) -> i64 {
    let database = setup.connect("COUNTER").await;
    let sql = "select count(*) from information_schema.columns where table_name = 'counters'";
    database.query_one(sql, &[]).await.expect("a count").get(0)
}

const EXPAND: &str = "-- marquee: expand\nalter table counters add column last text;\n";
const CONTRACT: &str = "-- marquee: contract\nalter table counters drop column last;\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_release_expands_first_and_takes_away_once_no_live_version_needs_it() {
    let [first, second] = pair().await;
    let (one, two) = (first.start().await, second.start().await);
    let place = tempfile::tempdir().expect("a folder");
    let own = versions(&first, "counter")[0]["version"].clone();
    let new = remade("counter", "v2", place.path());
    let files = place.path().join("migrations");
    fs::create_dir(&files).expect("a folder");

    // One that does not say what becomes of what is live; one that fails.
    let unmarked = folder(
        &files,
        &[("0002_last.sql", "alter table counters add column last text")],
    );
    let deploy =
        |folder: &str| ["deploy", "counter", &new, "--migrations", folder].map(str::to_owned);
    let say = |arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        block_in_place(|| refused(&first, &arguments))
    };
    let said = say(&deploy(&unmarked));
    assert!(
        said.contains("0002_last.sql does not say whether"),
        "{said}"
    );
    let fails = folder(
        &files,
        &[("0002_last.sql", "-- marquee: expand\nselect 1 / 0;")],
    );
    let said = say(&deploy(&fails));
    assert!(said.contains("0002_last failed"), "{said}");
    assert_eq!(
        versions(&first, "counter")[0]["version"],
        own,
        "nothing was changed"
    );
    assert_eq!(columns(&first).await, 3);

    // Two who release it at once, through two hosts.
    let right = folder(
        &files,
        &[("0002_last.sql", EXPAND), ("0003_not_last.sql", CONTRACT)],
    );
    let early = ["migrate", "--contract", "counter", "--migrations", &right].map(str::to_owned);
    let said = say(&early);
    assert!(
        said.contains("was not released with migration 0003"),
        "{said}"
    );
    let deployed = |setup: &Setup| {
        let output = setup.verb(&["deploy", "counter", &new, "--migrations", &right]);
        output.status.success()
    };
    let both = std::thread::scope(|scope| {
        let other = scope.spawn(|| deployed(&second));
        deployed(&first) | other.join().expect("no panic")
    });
    assert!(both, "one of them at the least");
    assert_eq!(columns(&first).await, 4);
    let status = raw::status(one.address(), "PUT /key/tag/1").await;
    assert_eq!(status, 202, "it works with the new column");

    // The one before can come back, until what it may use is taken away.
    done(&second, &["rollback", "counter"]);
    let said = say(&early);
    assert!(said.contains("is live, and was not released"), "{said}");
    assert_eq!(columns(&first).await, 4);
    done(&first, &["deploy", "counter", &new, "--migrations", &right]);
    let contract = ["migrate", "--contract", "counter", "--migrations", &right];
    let said = done(&second, &contract);
    assert!(said.contains("applied 0003_not_last"), "{said}");
    assert_eq!(columns(&first).await, 3);
    let said = done(&first, &contract);
    assert!(said.contains("nothing to apply"), "{said}");
    for arguments in [
        vec!["rollback", "counter"],
        vec![
            "deploy",
            "counter",
            guest("counter").to_str().expect("text"),
        ],
    ] {
        let said = refused(&first, &arguments);
        assert!(said.contains("which took away what it may use"), "{said}");
    }
    let history = done(&second, &["history", "counter"]);
    for action in [
        "expand",
        "contract",
        "applied 0002_last",
        "applied 0003_not_last",
    ] {
        assert!(history.contains(action), "{action}: {history}");
    }
    let status = raw::status(two.address(), "PUT /key/tag/1").await;
    assert_eq!(status, 202);
    let settled = async || versions(&second, "counter")[0]["version"] != own;
    eventually(
        std::time::Duration::from_secs(20),
        "it is live there",
        settled,
    )
    .await;
    drop((one, two));
}
