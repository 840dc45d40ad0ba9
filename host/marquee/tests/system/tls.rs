//! TLS on both listeners, and the verbs of the command line over it.

use std::{fs, path::Path, process::Command};

use crate::{
    host::Setup,
    releases::{done, hello, refused, remade, versions},
};

/// A certificate and its key, as files. It is signed by itself: whoever trusts it trusts this one.
pub(crate) struct Own {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Own {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
        let made = made.expect("a certificate");
        let file = |kind: &str, text: String| {
            let path = folder.join(format!("{name}-{kind}.pem"));
            fs::write(&path, text).expect("written");
            path.to_str().expect("text").to_owned()
        };
        Self {
            certificate: file("certificate", made.cert.pem()),
            key: file("key", made.signing_key.serialize_pem()),
        }
    }

    /// As the command line takes it.
    fn shown(&self) -> [&str; 4] {
        ["--admin-cert", &self.certificate, "--admin-key", &self.key]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_ask_over_tls_with_a_certificate_that_the_host_knows_and_not_without() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = |name| Own::new(folder.path(), name);
    let (shown, operator, stranger) = (own("host"), own("operator"), own("stranger"));
    let setup = Setup::application(hello(folder.path(), ""), &[]).await;
    let setup = ["MARQUEE_TLS", "MARQUEE_ADMIN_TLS"]
        .into_iter()
        .fold(setup, |setup, listener| {
            setup
                .with(&format!("{listener}_CERTIFICATE"), &shown.certificate)
                .with(&format!("{listener}_KEY"), &shown.key)
        })
        .with("MARQUEE_ADMIN_TLS_CLIENTS", &operator.certificate);
    let host = setup.start().await;
    assert!(
        host.log().contains("/admin/v1 (with a certificate)"),
        "{}",
        host.log()
    );

    // Requests.
    let fetched = Command::new("curl")
        .args(["-sS", "--fail", "--cacert", &shown.certificate, &host.url])
        .output()
        .expect("curl is there");
    assert!(fetched.status.success(), "{fetched:?}");

    // Verbs, from anywhere.
    let elsewhere = Setup::application(folder.path().join("spin.toml"), &[]).await;
    let asked = ["--admin", &host.admin, "--admin-ca", &shown.certificate];
    let asking = |shown: &[&str]| refused(&elsewhere, &[&["versions"][..], &asked, shown].concat());
    let nobody = asking(&[]);
    assert!(nobody.contains("was shown no certificate"), "{nobody}");
    let unknown = asking(&stranger.shown());
    assert!(unknown.contains("fatal alert"), "{unknown}");
    let half = asking(&["--admin-cert", &operator.certificate]);
    assert!(half.contains("together with its key"), "{half}");
    let listing = [&["versions"][..], &asked, &operator.shown()].concat();
    assert!(done(&elsewhere, &listing).contains("hello"));

    // The environment says it as well.
    let other = remade("hello", "v2", folder.path());
    let elsewhere = elsewhere
        .with("MARQUEE_ADMIN", &host.admin)
        .with("MARQUEE_ADMIN_CERT", &operator.certificate)
        .with("MARQUEE_ADMIN_KEY", &operator.key);
    let untrusted = refused(&elsewhere, &["versions"]);
    assert!(untrusted.contains("--admin-ca"), "{untrusted}");
    let elsewhere = elsewhere.with("MARQUEE_ADMIN_CA", &shown.certificate);
    done(&elsewhere, &["deploy", "hello", &other, "--label", "v2"]);
    assert_eq!(
        versions(&setup, "hello")[0]["labels"],
        serde_json::json!(["v2"])
    );
    let history = done(&setup, &["history", "hello"]);
    assert!(history.contains("certificate "), "{history}");

    // It is the host of that name, or nobody.
    let port = host.admin.rsplit_once(':').expect("a port").1;
    let other_name = elsewhere.with("MARQUEE_ADMIN", &format!("https://localhost:{port}"));
    let said = refused(&other_name, &["versions"]);
    assert!(said.contains("not valid for name"), "{said}");
    let plain = refused(&setup, &["versions", "--admin-ca", &shown.certificate]);
    assert!(plain.contains("https://"), "{plain}");
}
