//! Hosts of one application: what is released on one is live on all.

use std::{fs, path::Path, time::Duration};

use marquee_registry::Digest;
use marquee_testkit::eventually;
use serde_json::Value;

use crate::{
    host::Setup,
    releases::{done, guest, hello, refused, remade, versions},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn hosts(setup: &Setup) -> Vec<Value> {
    let text = done(setup, &["hosts", "--json"]);
    serde_json::from_str(&text).expect("JSON")
}

/// Of two hosts that share what is live of `hello`, and of what the manifest has more.
async fn pair(folder: &Path, more: &str) -> [Setup; 2] {
    let manifest = hello(folder, more);
    let first = Setup::application(&manifest, &["RELEASES"]).await;
    let second = first.release(manifest.to_str().expect("text"));
    [first, second]
}

/// The live version of `hello`.
fn live(setup: &Setup) -> Value {
    live_of(setup, "hello")
}

fn live_of(setup: &Setup, component: &str) -> Value {
    versions(setup, component).remove(0)["version"].clone()
}

/// The live versions of `hello` and `other`.
fn both(setup: &Setup) -> [Value; 2] {
    ["hello", "other"].map(|component| live_of(setup, component))
}

/// Wait until a host has this version live.
async fn comes_to(setup: &Setup, version: &Value) {
    eventually(PATIENCE, "it has it", async || live(setup) == *version).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_goes_to_every_host_and_comes_back_from_every_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, second] = pair(folder.path(), "").await;
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
    let [first, second] = pair(folder.path(), "").await;
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

#[tokio::test(flavor = "multi_thread")]
async fn two_components_are_one_step_on_every_host_or_on_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = format!(
        "[[trigger.http]]\nroute = \"/other/...\"\ncomponent = \"other\"\n[component.other]\nsource = {:?}\n",
        guest("hello")
    );
    let [first, second] = pair(folder.path(), &other).await;
    let (one, two) = (first.start().await, second.start().await);
    eventually(PATIENCE, "both are there", async || {
        hosts(&first).len() == 2
    })
    .await;
    let files = both(&first);
    let [v2, w2, w3] = ["v2", "w2", "w3"].map(|mark| remade("hello", mark, folder.path()));
    let [hello, other] = [format!("hello={v2}"), format!("other={w2}")];
    let said = refused(&first, &["deploy", &hello, &other, "--weight", "10%"]);
    assert!(said.contains("go live with all calls"), "{said}");

    // A file where the version's folder would be.
    let digest = Digest::of(&fs::read(&w2).expect("read"));
    let place = second.data().join(format!("versions/{digest:#}"));
    fs::write(&place, "in the way").expect("written");
    let said = refused(&first, &["deploy", &hello, &other]);
    assert!(said.contains("nothing was changed: host "), "{said}");
    assert_eq!(both(&first), files);
    let back = async || both(&second) == files;
    eventually(PATIENCE, "both are back", back).await;
    fs::remove_file(&place).expect("removed");

    let said = done(&first, &["deploy", &hello, &other, "--label", "2.0"]);
    assert_eq!(said.matches("2.0").count(), 2, "{said}");
    let new = both(&first);
    assert_eq!(both(&second), new, "they are live there when the verb ends");
    assert!(new[0] != files[0] && new[1] != files[1]);
    // Another step of one of them stands between them.
    done(&second, &["deploy", "other", &w3]);
    let said = refused(&second, &["rollback", "hello"]);
    assert!(said.contains("other took another step since"), "{said}");
    done(&second, &["deploy", &hello, &other]);
    let said = refused(&first, &["rollback", "hello", "--to", "3.0"]);
    assert!(said.contains("no version is called"), "{said}");

    done(
        &first,
        &["deploy", "hello", guest("hello").to_str().expect("text")],
    );
    done(
        &first,
        &["deploy", "other", guest("hello").to_str().expect("text")],
    );
    done(&first, &["deploy", &hello, &other]);
    let said = done(&second, &["rollback", "other"]);
    assert!(said.contains("hello") && said.contains("other"), "{said}");
    for setup in [&second, &first] {
        let back = async || both(setup) == files;
        eventually(PATIENCE, "both are back", back).await;
    }
    let history = done(&first, &["history", "--json", "--limit", "1"]);
    let history: Value = serde_json::from_str(&history).expect("JSON");
    assert_eq!(history[0]["action"], "rollback");
    assert_eq!(history[0]["component"], "hello");
    assert!(history[0]["with"]["other"].is_string(), "{history}");
    drop((one, two));
}
