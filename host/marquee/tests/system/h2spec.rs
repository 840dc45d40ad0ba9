//! HTTP/2 as somebody understands it who wrote no part of this server: h2spec.

use std::{path::Path, process::Command};

use crate::{host::Setup, releases::hello, tls::Own, tools::program};

#[tokio::test(flavor = "multi_thread")]
async fn h2spec_finds_nothing_that_is_not_known() {
    let Some(h2spec) = program("h2spec") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let own = Own::new(folder.path(), "host");
    let setup = || Setup::application(hello(folder.path(), ""), &[]);
    let plain = setup().await;
    let secure = setup()
        .await
        .with("MARQUEE_TLS_CERTIFICATE", &own.certificate)
        .with("MARQUEE_TLS_KEY", &own.key);
    for (setup, tls) in [(plain, None), (secure, Some("--tls"))] {
        let host = setup.start().await;
        let address = host.url.rsplit_once("//").expect("a URL").1;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let run = Command::new(root.join("scripts/h2spec"))
            .env("H2SPEC", &h2spec)
            .arg(address)
            .args(tls)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&run.stderr);
        let told = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{told}\n{said}");
    }
}
