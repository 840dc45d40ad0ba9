//! Components from a registry: a real one, with what tools push to it.

use std::{fs, path::Path, process::Command};

use marquee_registry::Digest;
use serde_json::{Value, json};

use crate::{
    host::Setup,
    releases::{done, guest, hello, refused, remade, versions},
    tls::Own,
    tools::{Server, program},
};

/// A running registry, whose one user is `ann`, with the password `secret`.
struct Registry {
    server: Server,
    folder: tempfile::TempDir,
    /// How curl reaches it.
    curl: Vec<String>,
}

impl Registry {
    /// Over TLS where there is something to be shown.
    fn start(program: &Path, tls: Option<&Own>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let users = folder.path().join("users");
        // `secret`, by bcrypt.
        let ann = "ann:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
        fs::write(&users, ann).expect("written");
        let mut http = json!({"addr": "127.0.0.1:0", "secret": "of this test"});
        let mut curl = vec!["--user".to_owned(), "ann:secret".to_owned()];
        if let Some(own) = tls {
            http["tls"] = json!({"certificate": own.certificate, "key": own.key});
            curl.extend(["--cacert".to_owned(), own.certificate.clone()]);
        }
        let config = json!({
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": folder.path().join("store")}},
            "http": http,
            "auth": {"htpasswd": {"realm": "movies", "path": users}},
        });
        let path = folder.path().join("config.yml");
        // YAML has all of JSON.
        fs::write(&path, config.to_string()).expect("written");
        let listens = |line: &str| {
            let rest = line.split("listening on 127.0.0.1:").nth(1)?;
            let port = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            Some(format!("127.0.0.1:{port}"))
        };
        let server = Server::start(Command::new(program).arg("serve").arg(&path), listens);
        Self {
            server,
            folder,
            curl,
        }
    }

    fn curl(&self, arguments: &[&str]) -> String {
        let done = Command::new("curl")
            .args(["--silent", "--show-error", "--fail"])
            .args(&self.curl)
            .args(arguments)
            .output()
            .expect("curl is there");
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        String::from_utf8(done.stdout).expect("text")
    }

    fn url(&self, at: &str) -> String {
        let scheme = if self.curl.iter().any(|it| it == "--cacert") {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}/v2/movies/hello/{at}", self.server.address)
    }

    /// What a manifest says of a file that lies there now.
    fn layer(&self, kind: &str, bytes: &[u8]) -> Value {
        let file = self.folder.path().join("blob");
        fs::write(&file, bytes).expect("written");
        let begun = ["--request", "POST", "--dump-header", "-"];
        let begun = self.curl(&[&begun[..], &[&self.url("blobs/uploads/")]].concat());
        let place = begun.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location").then(|| value.trim())
        });
        let digest = format!("sha256:{:#}", Digest::of(bytes));
        let place = format!("{}&digest={digest}", place.expect("a place"));
        let file = format!("@{}", file.display());
        let binary = "content-type: application/octet-stream";
        self.curl(&[
            "--request",
            "PUT",
            "--header",
            binary,
            "--data-binary",
            &file,
            &place,
        ]);
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    }

    /// A manifest with these layers, under a tag.
    fn push(&self, tag: &str, layers: Vec<Value>, signature: Option<&str>) -> String {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": self.layer("application/vnd.wasm.config.v0+json", b"{}"),
            "layers": layers,
        });
        if let Some(signature) = signature {
            manifest["annotations"] = json!({"marquee.signature": signature});
        }
        let text = manifest.to_string();
        let file = self.folder.path().join("manifest");
        fs::write(&file, &text).expect("written");
        let (kind, file) = (
            format!("content-type: {kind}"),
            format!("@{}", file.display()),
        );
        let url = self.url(&format!("manifests/{tag}"));
        self.curl(&[
            "--request",
            "PUT",
            "--header",
            &kind,
            "--data-binary",
            &file,
            &url,
        ]);
        format!("sha256:{:#}", Digest::of(text.as_bytes()))
    }

    /// A component, as `oras push FILE:application/wasm` pushes it.
    fn push_component(&self, tag: &str, file: &str) -> String {
        let layer = self.layer("application/wasm", &fs::read(file).expect("read"));
        let signature = fs::read_to_string(format!("{file}.sig")).ok();
        self.push(tag, vec![layer], signature.as_deref())
    }

    fn reference(&self, version: &str) -> String {
        format!("oci://{}/movies/hello{version}", self.server.address)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_deployed_from_a_registry_and_the_history_says_from_where() {
    let Some(program) = program("docker-registry") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let registry = Registry::start(&program, None);
    let docker = folder.path().join("config.json");
    let other = format!(
        "[[trigger.http]]\nroute = \"/other\"\ncomponent = \"other\"\n[component.other]\nsource = {:?}\n",
        guest("hello")
    );
    let setup = Setup::application(hello(folder.path(), &other), &[])
        .await
        .with("DOCKER_CONFIG", folder.path().to_str().expect("text"));
    let _host = setup.start().await;
    let refused_of = |reference: &str| refused(&setup, &["deploy", "hello", reference]);
    let deployed = |reference: &str| done(&setup, &["deploy", "hello", reference]);

    let first = remade("hello", "first", folder.path());
    let digest = registry.push_component("2.0", &first);
    let by_tag = registry.reference(":2.0");
    let denied = refused_of(&by_tag);
    assert!(
        denied.contains("does not let nobody in particular pull movies/hello"),
        "{denied}"
    );

    // As `docker login` writes it: `ann:secret`.
    let login = json!({"auths": {&registry.server.address: {"auth": "YW5uOnNlY3JldA=="}}});
    fs::write(&docker, login.to_string()).expect("written");
    let shown = done(&setup, &["deploy", "hello", &by_tag, "--label", "2.0"]);
    assert!(shown.contains("2.0"), "{shown}");
    let live = &versions(&setup, "hello")[0];
    let version = format!("{:#}", Digest::of(&fs::read(&first).expect("read")));
    assert_eq!(live["version"], json!(version));
    let from = format!("{by_tag}@{digest}");
    let history = done(&setup, &["history", "hello"]);
    assert!(history.contains(&format!("from {from}")), "{history}");
    let events: Value = serde_json::from_str(&done(&setup, &["history", "--json"])).expect("JSON");
    assert_eq!(events[0]["from"], json!(from));

    // A tag is moved; a digest is not.
    let second = remade("hello", "second", folder.path());
    registry.push_component("2.0", &second);
    deployed(&by_tag);
    assert_ne!(versions(&setup, "hello")[0]["version"], json!(version));
    let by_digest = registry.reference(&format!("@{digest}"));
    deployed(&by_digest);
    assert_eq!(versions(&setup, "hello")[0]["version"], json!(version));

    // Several in one step: each with where it comes from, if it comes from a registry.
    done(
        &setup,
        &[
            "deploy",
            &format!("hello={by_tag}"),
            &format!("other={second}"),
        ],
    );
    done(
        &setup,
        &[
            "deploy",
            &format!("hello={by_digest}"),
            &format!("other={by_digest}"),
        ],
    );
    let events: Value = serde_json::from_str(&done(&setup, &["history", "--json"])).expect("JSON");
    assert_eq!(
        events[0]["from"],
        json!(format!("hello {by_digest}, other {by_digest}"))
    );
    let tagged = events[1]["from"].as_str().expect("it says so");
    let is_hello = tagged.starts_with(&format!("hello {by_tag}@sha256:"));
    assert!(is_hello && !tagged.contains("other"), "{tagged}");

    // What is something else is told what it is, and changes nothing.
    let image = registry.layer("application/vnd.oci.image.layer.v1.tar+gzip", b"files");
    registry.push("image", vec![image], None);
    let wasm = registry.layer("application/wasm", b"no component");
    registry.push("text", vec![wasm.clone()], None);
    registry.push("two", vec![wasm.clone(), wasm], None);
    for (version, why) in [
        (
            ":image",
            "no layer of application/wasm, but application/vnd.oci.image.layer.v1.tar+gzip",
        ),
        (":text", "step compile"),
        (":two", "has 2 layers"),
        (":3.0", "is not there"),
        ("", "names no version"),
        (":2.0@sha512:00", "a digest is sha256:"),
    ] {
        let said = refused_of(&registry.reference(version));
        assert!(said.contains(why), "{version}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
    let nowhere = refused_of("oci://127.0.0.1:1/movies/hello:1");
    assert!(
        nowhere.contains("registry 127.0.0.1:1 does not answer"),
        "{nowhere}"
    );
    assert_eq!(versions(&setup, "hello")[0]["version"], json!(version));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_asked_over_tls_with_a_password_from_a_file_and_gives_the_signature_too() {
    let Some(program) = program("docker-registry") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let own = Own::new(folder.path(), "registry");
    let registry = Registry::start(&program, Some(&own));
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let sign = |arguments: &[&str]| {
        let signed = Command::new(env!("CARGO_BIN_EXE_marquee"))
            .arg("sign")
            .args(arguments)
            .output();
        assert!(signed.expect("it runs").status.success(), "{arguments:?}");
    };
    let (ours, theirs) = (path("ours"), path("theirs"));
    for key in [&ours, &theirs] {
        sign(&["--new-key", key]);
    }
    let current = remade("hello", "current", folder.path());
    sign(&[&current, "--key", &ours]);
    let manifest = hello(folder.path(), "");
    let text = fs::read_to_string(&manifest).expect("read");
    let source = text
        .lines()
        .find(|line| line.starts_with("source"))
        .expect("a source");
    fs::write(
        &manifest,
        text.replace(source, &format!("source = {current:?}")),
    )
    .expect("written");
    let setup = Setup::application(manifest, &[])
        .await
        .with("DOCKER_CONFIG", "/nowhere")
        .with("MARQUEE_RELEASE_KEYS", &format!("{ours}.pub"))
        .with("MARQUEE_REQUIRE_SIGNATURE", "true");
    let _host = setup.start().await;

    let password = path("password");
    fs::write(&password, "secret\n").expect("written");
    let asked = [
        "--registry-user",
        "ann",
        "--registry-password-file",
        &password,
    ];
    let deploy = |version: &str, more: &[&str]| {
        let reference = registry.reference(version);
        let all = [&["deploy", "hello", &reference], &asked[..], more].concat();
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let trusted = ["--registry-ca", &own.certificate];
    let (signed, stranger, unsigned) = ("signed", "stranger", "unsigned");
    for (tag, key) in [
        (signed, Some(&ours)),
        (stranger, Some(&theirs)),
        (unsigned, None),
    ] {
        let file = remade("hello", tag, folder.path());
        if let Some(key) = key {
            sign(&[&file, "--key", key]);
        }
        registry.push_component(tag, &file);
    }
    let run = |arguments: Vec<String>, good: bool| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match good {
            true => done(&setup, &arguments),
            false => refused(&setup, &arguments),
        }
    };
    // On this machine it is asked in plain text, unless somebody says who signs its certificate.
    let plain = run(deploy(":signed", &[]), false);
    assert!(plain.contains("400 Bad Request"), "{plain}");
    run(deploy(":signed", &trusted), true);
    let version = versions(&setup, "hello")[0]["version"].clone();
    let other = Own::new(folder.path(), "other");
    let strange = run(
        deploy(":signed", &["--registry-ca", &other.certificate]),
        false,
    );
    assert!(strange.contains("there is no TLS with it"), "{strange}");
    let said = run(deploy(":stranger", &trusted), false);
    assert!(said.contains("is not by any of the keys"), "{said}");
    let said = run(deploy(":unsigned", &trusted), false);
    assert!(said.contains("is not signed"), "{said}");
    assert_eq!(versions(&setup, "hello")[0]["version"], version);
}
