//! Hosts of one application: what is released on one is live on all.

use std::{fs, path::Path, time::Duration};

use marquee_registry::Digest;
use marquee_testkit::eventually;
use serde_json::Value;

use crate::{
    host::Setup,
    releases::{done, hello, refused, remade, versions},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn hosts(setup: &Setup) -> Vec<Value> {
    let text = done(setup, &["hosts", "--json"]);
    serde_json::from_str(&text).expect("JSON")
}

/// Of two hosts that share what is live of `hello`.
async fn pair(folder: &Path) -> [Setup; 2] {
    let manifest = hello(folder, "");
    let first = Setup::application(&manifest, &["RELEASES"]).await;
    let second = first.release(manifest.to_str().expect("text"));
    [first, second]
}

/// The live version of `hello`.
fn live(setup: &Setup) -> Value {
    versions(setup, "hello").remove(0)["version"].clone()
}

/// Wait until a host has this version live.
async fn comes_to(setup: &Setup, version: &Value) {
    eventually(PATIENCE, "it has it", async || live(setup) == *version).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_goes_to_every_host_and_comes_back_from_every_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, second] = pair(folder.path()).await;
    let (one, two) = (first.start().await, second.start().await);
    eventually(PATIENCE, "both are there", async || {
        let hosts = hosts(&first);
        hosts.len() == 2 && hosts.iter().all(|host| host["state"] == "current")
    })
    .await;
    let file = live(&first);

    let new = remade("hello", "v2", folder.path());
    let said = done(
        &first,
        &[
            "deploy",
            "hello",
            &new,
            "--label",
            "v2",
            "--canary-hosts",
            "1",
        ],
    );
    assert!(said.contains("v2"), "{said}");
    let v2 = live(&first);
    assert_eq!(live(&second), v2, "it is live there when the verb ends");
    let labels = &versions(&second, "hello")[0]["labels"];
    assert_eq!(*labels, serde_json::json!(["v2"]));

    // From the other one, by a label that it was never told.
    done(&second, &["rollback", "hello"]);
    comes_to(&first, &file).await;
    done(&second, &["promote", "hello", "v2"]);
    assert_eq!(live(&first), v2);
    let history = done(&first, &["history", "hello"]);
    for action in ["deploy", "rollback", "promote"] {
        assert!(history.contains(action), "{history}");
    }

    // One that is killed is not waited for, and comes back to what is live by then.
    two.kill();
    let newer = remade("hello", "v3", folder.path());
    eventually(PATIENCE, "it is silent", async || {
        hosts(&first).iter().any(|host| host["state"] == "silent")
    })
    .await;
    done(&first, &["deploy", "hello", &newer]);
    let two = second.start().await;
    assert_eq!(live(&second), live(&first));
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_load_a_version_stops_it_for_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, second] = pair(folder.path()).await;
    let (one, two) = (first.start().await, second.start().await);
    eventually(PATIENCE, "both are there", async || {
        hosts(&first).len() == 2
    })
    .await;
    let file = live(&first);

    // A file where the version's folder would be.
    let new = remade("hello", "v2", folder.path());
    let digest = Digest::of(&fs::read(&new).expect("read"));
    let place = second.data().join(format!("versions/{digest:#}"));
    fs::write(&place, "in the way").expect("written");
    let said = refused(&first, &["deploy", "hello", &new]);
    assert!(said.contains("nothing was changed: host "), "{said}");
    assert_eq!(live(&first), file);
    comes_to(&second, &file).await;
    let history = done(&second, &["history", "hello"]);
    assert!(
        history.contains("refused: nothing was changed"),
        "{history}"
    );

    fs::remove_file(&place).expect("removed");
    done(&first, &["deploy", "hello", &new]);
    assert_eq!(live(&second), live(&first));
    assert_ne!(live(&first), file);
    drop((one, two));
}
