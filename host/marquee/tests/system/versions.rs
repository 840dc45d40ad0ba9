//! Versions of components on a machine: what is refused, what is kept.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    host::Setup,
    raw,
    releases::{done, remade},
};

const HELLO: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/wasm32-wasip2/guest/hello.wasm"
);

/// What was compiled, of all versions under a data folder.
fn artifacts(setup: &Setup) -> Vec<PathBuf> {
    let folders = fs::read_dir(setup.data().join("versions")).expect("a store");
    let folders = folders.map(|folder| folder.expect("an entry").path());
    let files = folders
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| fs::read_dir(folder).expect("a version"))
        .map(|file| file.expect("an entry").path());
    files
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "artifact")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_component_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = "spin_manifest_version = 2
[application]
name = \"broken\"
[[trigger.http]]
route = \"/...\"
component = \"broken\"
[component.broken]
source = \"broken.wasm\"
";
    fs::write(folder.path().join("spin.toml"), manifest).expect("a manifest");
    let hello = fs::read(HELLO).expect("run scripts/components --tests");
    let native = Command::new(env!("CARGO_BIN_EXE_marquee"))
        .arg("compile")
        .stdin(fs::File::open(HELLO).expect("run scripts/components --tests"))
        .output()
        .expect("the binary runs")
        .stdout;
    for (what, bytes, reason) in [
        ("text", b"hello".to_vec(), "it is not WebAssembly"),
        (
            "a core module",
            b"\0asm\x01\0\0\0".to_vec(),
            "it is a core WebAssembly module",
        ),
        (
            "a truncated one",
            hello[..hello.len() / 2].to_vec(),
            "is out of bounds",
        ),
        (
            "native code",
            native,
            "it is native code that was compiled before",
        ),
        (
            "an empty component",
            b"\0asm\x0d\0\x01\0".to_vec(),
            "does not export wasi:http/handler@0.3.0",
        ),
    ] {
        fs::write(folder.path().join("broken.wasm"), bytes).expect("a file");
        let setup = Setup::application(folder.path().join("spin.toml"), &[]).await;
        let refused = setup.verb(&[
            "up",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{what}: {said}");
        assert!(
            said.contains("component broken") && said.contains(reason),
            "{what}: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_code_that_the_host_did_not_make_is_not_run() {
    let setup = Setup::application("examples/hello/spin.toml", &[]).await;
    let (status, _) = setup.start().await.stop("TERM").await;
    assert!(status.success());
    let [artifact] = artifacts(&setup).try_into().expect("one component");
    let written = || {
        fs::metadata(&artifact)
            .and_then(|file| file.modified())
            .expect("a time")
    };
    let first = written();
    setup.start().await.stop("TERM").await;
    assert_eq!(written(), first, "what is compiled is not compiled again");

    let mut code = fs::read(&artifact).expect("the code");
    let middle = code.len() / 2;
    code[middle] ^= 1;
    fs::write(&artifact, &code).expect("changed");
    let host = setup.start().await;
    assert!(host.log().contains("foreign code in the store was refused"));
    let answer = raw::request(host.address(), "GET /Ada", &[], "").await;
    assert_eq!(answer.body, "Hello, Ada!\n");
    assert_ne!(fs::read(&artifact).expect("the code"), code);
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_to_what_was_live_just_now_reads_and_compiles_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::application("examples/hello/spin.toml", &[]).await;
    let host = setup.start().await;
    let other = remade("hello", "v2", folder.path());
    done(&setup, &["deploy", "hello", &other, "--label", "v2"]);
    for artifact in artifacts(&setup) {
        fs::remove_file(artifact).expect("removed");
    }
    // Both ways, and calls that were to end on the version before do not end on this one.
    for _ in 0..4 {
        done(&setup, &["rollback", "hello"]);
        let answer = raw::request(host.address(), "GET /Ada", &[], "").await;
        assert_eq!(answer.body, "Hello, Ada!\n");
        done(&setup, &["promote", "hello", "v2"]);
        let answer = raw::request(host.address(), "GET /Ada", &[], "").await;
        assert_eq!(answer.body, "Hello, Ada!\n");
    }
    assert_eq!(artifacts(&setup), Vec::<PathBuf>::new());
}
