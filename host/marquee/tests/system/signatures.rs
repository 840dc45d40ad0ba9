//! Whose code runs: a host that loads signed versions only, from its first version on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use marquee_testkit::eventually;

use crate::{
    host::Setup,
    releases::{done, guest, hello, refused, remade, versions},
};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// What `marquee sign` says.
fn sign(setup: &Setup, arguments: &[&str]) -> String {
    let mut command = setup.bare(&["sign"]);
    let output = command.args(arguments).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn path(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    path.to_str().expect("text").to_owned()
}

/// A manifest whose version is one of a file that nobody else signs, and that file.
fn with_own_file(folder: &Path) -> (PathBuf, String) {
    let own = path(folder, "own.wasm");
    fs::copy(guest("hello"), &own).expect("a copy");
    let manifest = hello(folder, "");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let source = format!("{:?}", guest("hello"));
    assert!(text.contains(&source), "{text}");
    fs::write(&manifest, text.replace(&source, "\"own.wasm\"")).expect("a manifest");
    (manifest, own)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_wants_signatures_runs_nothing_without_one_that_it_trusts() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (manifest, own) = with_own_file(folder);
    let (key, other) = (path(folder, "release"), path(folder, "other"));
    let setup = Setup::application(&manifest, &[])
        .await
        .with("MARQUEE_RELEASE_KEYS", &format!("{key}.pub"))
        .with("MARQUEE_REQUIRE_SIGNATURE", "true");
    sign(&setup, &["--new-key", &key]);
    sign(&setup, &["--new-key", &other]);

    let said = setup.refused().await;
    assert!(said.contains("is not signed"), "{said}");
    sign(&setup, &[&own, "--key", &other]);
    let said = setup.refused().await;
    assert!(said.contains("not by any of the keys"), "{said}");
    sign(&setup, &[&own, "--key", &key]);
    let host = setup.start().await;
    let first = versions(&setup, "hello").remove(0)["version"].clone();

    let new = remade("hello", "v2", folder);
    let said = refused(&setup, &["deploy", "hello", &new]);
    assert!(said.contains("is not signed"), "{said}");
    sign(&setup, &[&new, "--key", &other]);
    let said = refused(&setup, &["deploy", "hello", &new]);
    assert!(said.contains("not by any of the keys"), "{said}");
    // That of other bytes vouches for nothing.
    fs::copy(format!("{own}.sig"), format!("{new}.sig")).expect("a copy");
    let said = refused(&setup, &["deploy", "hello", &new]);
    assert!(said.contains("not by any of the keys"), "{said}");
    assert_eq!(versions(&setup, "hello").remove(0)["version"], first);

    sign(&setup, &[&new, "--key", &key]);
    done(&setup, &["deploy", "hello", &new, "--label", "v2"]);
    let second = versions(&setup, "hello").remove(0)["version"].clone();
    assert_ne!(second, first);

    // It goes on over a restart, and a key that is no longer trusted ends it.
    host.stop("TERM").await;
    let host = setup.start().await;
    eventually(PATIENCE, "the signed version is live", async || {
        versions(&setup, "hello").remove(0)["version"] == second
    })
    .await;
    host.stop("TERM").await;
    let setup = setup.with("MARQUEE_RELEASE_KEYS", &format!("{other}.pub"));
    let said = setup.refused().await;
    assert!(said.contains("not by any of the keys"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_one_host_does_not_trust_is_live_on_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (manifest, own) = with_own_file(folder);
    let first = Setup::application(&manifest, &["RELEASES"]).await;
    let key = path(folder, "release");
    sign(&first, &["--new-key", &key]);
    sign(&first, &[&own, "--key", &key]);
    let second = first
        .release(manifest.to_str().expect("text"))
        .with("MARQUEE_RELEASE_KEYS", &format!("{key}.pub"))
        .with("MARQUEE_REQUIRE_SIGNATURE", "true");
    let (one, two) = (first.start().await, second.start().await);
    let live = |setup: &Setup| versions(setup, "hello").remove(0)["version"].clone();
    let before = live(&first);

    let new = remade("hello", "v2", folder);
    // Whoever is not there yet is not asked.
    eventually(PATIENCE, "the other host is asked", async || {
        let hosts = done(&first, &["hosts", "--json"]);
        hosts.matches("\"current\"").count() == 2
    })
    .await;
    let said = refused(&first, &["deploy", "hello", &new]);
    assert!(said.contains("nothing was changed: host "), "{said}");
    assert!(said.contains("is not signed"), "{said}");
    assert_eq!(
        [live(&first), live(&second)],
        [before.clone(), before.clone()]
    );
    sign(&first, &[&new, "--key", &key]);
    done(&first, &["deploy", "hello", &new]);
    assert_ne!(live(&first), before);
    assert_eq!(live(&second), live(&first));
    drop((one, two));
}
