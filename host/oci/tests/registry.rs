//! Registries of every kind of behaviour: what is got of them, what they are shown, and what is said of what is wrong.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test's tasks end with it; what fails fails the test"
)]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use marquee_oci::{Access, Credentials, Error, Pulled, Reference, pull};
use marquee_registry::Digest;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::net::TcpListener;

/// A server that answers as it is told, and remembers what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A request.
#[derive(Debug, Clone)]
struct Asked {
    /// Path and query.
    target: String,
    authorization: Option<String>,
    body: String,
}

type Answer = Response<Full<Bytes>>;

impl Server {
    async fn start(answer: impl Fn(&Asked) -> Answer + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, all) = (answer.clone(), Arc::clone(&all));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, all) = (answer.clone(), Arc::clone(&all));
                    async move {
                        let asked = Asked::of(request).await;
                        all.lock().expect("no panic").push(asked.clone());
                        Ok::<_, Infallible>(answer(&asked))
                    }
                });
                let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serving);
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    fn reference(&self, version: &str) -> Reference {
        let text = format!("oci://{}/movies/rating{version}", self.address);
        text.parse().expect("a reference")
    }

    async fn pull(&self, version: &str, credentials: Credentials) -> Result<Pulled, Error> {
        let access = Access {
            credentials,
            ..access()
        };
        pull(&self.reference(version), &access).await
    }
}

impl Asked {
    async fn of(request: Request<Incoming>) -> Self {
        let authorization = request.headers().get(header::AUTHORIZATION);
        let authorization = authorization.map(|it| it.to_str().expect("text").to_owned());
        let target = request.uri().to_string();
        let body = request.into_body().collect().await.expect("a body");
        Self {
            target,
            authorization,
            body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        }
    }

    fn is(&self, what: &str) -> bool {
        self.target
            .starts_with(&format!("/v2/movies/rating/{what}/"))
    }
}

fn access() -> Access {
    let provider = Arc::new(ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Access {
        tls: Arc::new(tls),
        plain: true,
        credentials: Credentials::Nobody,
        most_bytes: 1 << 20,
        patience: Duration::from_secs(20),
    }
}

fn ann() -> Credentials {
    Credentials::User {
        name: "ann".to_owned(),
        password: "secret".to_owned(),
    }
}

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0 and so on";
/// `ann:secret`.
const BASIC: &str = "Basic YW5uOnNlY3JldA==";

fn manifest(size: usize) -> String {
    let digest = Digest::of(COMPONENT);
    format!(
        r#"{{"schemaVersion":2,"layers":[{{"mediaType":"application/wasm","digest":"sha256:{digest:#}","size":{size}}}],"annotations":{{"marquee.signature":"c2ln"}}}}"#
    )
}

fn ok(body: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(body.into()))
}

fn status(code: u16, headers: &[(&str, &str)]) -> Answer {
    let mut response = Response::builder().status(code);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::default()).expect("an answer")
}

/// What a registry has that asks nothing.
fn open(asked: &Asked) -> Answer {
    match asked.is("manifests") {
        true => ok(manifest(COMPONENT.len())),
        false => ok(COMPONENT),
    }
}

fn said(result: Result<Pulled, Error>) -> String {
    let error = result.expect_err("it is refused");
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[tokio::test]
async fn a_component_is_got_by_its_tag_or_its_digest() {
    let server = Server::start(open).await;
    let pulled = server.pull(":2.0", ann()).await.expect("pulled");
    let digest = Digest::of(manifest(COMPONENT.len()).as_bytes());
    let expected = Pulled {
        bytes: COMPONENT.to_vec(),
        manifest: digest,
        signature: Some("c2ln".to_owned()),
    };
    assert_eq!(pulled, expected);
    let by_digest = format!("@sha256:{digest:#}");
    let again = server.pull(&by_digest, Credentials::Nobody).await;
    assert_eq!(again.expect("pulled"), expected);
    // Who asks for nothing is shown nothing.
    let asked = server.asked();
    assert!(asked.iter().all(|asked| asked.authorization.is_none()));
    let blob = format!("/v2/movies/rating/blobs/sha256:{:#}", Digest::of(COMPONENT));
    let targets: Vec<&str> = asked.iter().map(|asked| asked.target.as_str()).collect();
    assert_eq!(targets[..2], ["/v2/movies/rating/manifests/2.0", &blob]);
}

#[tokio::test]
async fn a_password_is_shown_where_it_is_asked_for() {
    let server = Server::start(|asked| match asked.authorization.as_deref() {
        Some(BASIC) => open(asked),
        _ => status(401, &[("www-authenticate", "Basic realm=\"movies\"")]),
    })
    .await;
    server.pull(":2.0", ann()).await.expect("pulled");
    let nobody = said(server.pull(":2.0", Credentials::Nobody).await);
    assert!(
        nobody.contains("does not let nobody in particular pull movies/rating"),
        "{nobody}"
    );
    let bob = Credentials::User {
        name: "bob".to_owned(),
        password: "hunter2".to_owned(),
    };
    let bob = said(server.pull(":2.0", bob).await);
    assert!(
        bob.contains("does not let bob") && !bob.contains("hunter2"),
        "{bob}"
    );
}

#[tokio::test]
async fn a_token_is_fetched_where_the_registry_says_so() {
    let tokens = Server::start(|asked| {
        let is_ann = asked.authorization.as_deref() == Some(BASIC)
            || asked.body.contains("refresh_token=long");
        match is_ann
            && (asked.target.clone() + &asked.body).contains("repository%3Amovies%2Frating%3Apull")
        {
            true => ok(r#"{"token":"short"}"#),
            false => status(401, &[]),
        }
    })
    .await;
    let realm = format!(
        r#"Bearer realm="http://{}/token?a=b",service="movies",scope="repository:movies/rating:pull""#,
        tokens.address
    );
    let server = Server::start(move |asked| match asked.authorization.as_deref() {
        Some("Bearer short") => open(asked),
        _ => status(401, &[("www-authenticate", &realm)]),
    })
    .await;
    server.pull(":2.0", ann()).await.expect("pulled");
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1, "one token is enough: {asked:?}");
    assert!(asked[0].target.contains("a=b&scope=") && asked[0].target.contains("service=movies"));
    // The registry itself never sees the password.
    let seen = server.asked();
    assert!(
        seen.iter()
            .all(|asked| asked.authorization.as_deref() != Some(BASIC))
    );

    let identity = Credentials::Identity("long".to_owned());
    server.pull(":2.0", identity).await.expect("pulled");
    let nobody = said(server.pull(":2.0", Credentials::Nobody).await);
    assert!(nobody.contains("does not let"), "{nobody}");
}

#[tokio::test]
async fn what_lies_elsewhere_is_fetched_there_without_what_is_for_the_registry() {
    let store = Server::start(|_| ok(COMPONENT)).await;
    let place = format!("http://{}/bucket/key?signed=1", store.address);
    let server = Server::start(move |asked| match asked.authorization.as_deref() {
        Some(BASIC) if asked.is("blobs") => status(307, &[("location", &place)]),
        Some(BASIC) => open(asked),
        _ => status(401, &[("www-authenticate", "Basic realm=\"movies\"")]),
    })
    .await;
    server.pull(":2.0", ann()).await.expect("pulled");
    let asked = store.asked();
    assert_eq!(asked[0].target, "/bucket/key?signed=1");
    assert_eq!(asked[0].authorization, None);

    // Not where anybody on the way could read it, and not for ever.
    for (place, why) in [
        ("http://r.example/key", "without TLS"),
        ("file:///etc/passwd", "without TLS"),
        ("http://[", "to nowhere"),
        (
            "/v2/movies/rating/blobs/again",
            "one redirection after the other",
        ),
    ] {
        let server = Server::start(move |_| status(302, &[("location", place)])).await;
        let said = said(server.pull(":2.0", ann()).await);
        assert!(said.contains(why), "{place}: {said}");
    }
}

#[tokio::test]
async fn what_is_not_what_it_is_called_is_refused() {
    let size = COMPONENT.len();
    let other = Server::start(move |asked| match asked.is("manifests") {
        true => ok(manifest(size)),
        false => ok(vec![b'x'; size]),
    })
    .await;
    let found = said(other.pull(":2.0", ann()).await);
    assert!(
        found.contains("sent other bytes than those of sha256:"),
        "{found}"
    );

    // The manifest says less than comes.
    let longer = Server::start(move |asked| match asked.is("manifests") {
        true => ok(manifest(size - 1)),
        false => ok(COMPONENT),
    })
    .await;
    let found = said(longer.pull(":2.0", ann()).await);
    assert!(found.contains("sent other bytes"), "{found}");

    let moved = Server::start(open).await;
    let wanted = format!("@sha256:{:#}", Digest::of(b"another"));
    let found = said(moved.pull(&wanted, ann()).await);
    assert!(found.contains("sent other bytes"), "{found}");

    let image = Server::start(|_| {
        ok(r#"{"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:0","size":1}]}"#)
    })
    .await;
    let found = said(image.pull(":2.0", ann()).await);
    assert!(found.contains("is no component: it has no layer of application/wasm, but application/vnd.oci.image.layer.v1.tar"), "{found}");
}

#[tokio::test]
async fn what_is_too_large_is_not_read() {
    let server = Server::start(|asked| {
        assert!(
            asked.is("manifests"),
            "the component itself is not asked for"
        );
        ok(manifest(5 << 20))
    })
    .await;
    let found = said(server.pull(":2.0", ann()).await);
    assert!(
        found.contains("has 5 MiB; a component has at most 1"),
        "{found}"
    );
    let endless = Server::start(|_| ok(vec![b' '; 5 << 20])).await;
    let found = said(endless.pull(":2.0", ann()).await);
    assert!(found.contains("more than 4194304 bytes"), "{found}");
}

#[tokio::test]
async fn a_failure_is_told_in_the_registrys_words() {
    let server = Server::start(|_| {
        let mut answer = ok(r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\ndown"}]}"#);
        *answer.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
        answer
    })
    .await;
    let found = said(server.pull(":2.0", ann()).await);
    let address = server.address;
    let expected =
        format!("{address} answered with 429 Too Many Requests: TOOMANYREQUESTS slowdown");
    assert_eq!(found, expected);

    let empty = Server::start(|_| status(404, &[])).await;
    let found = said(empty.pull(":2.0", ann()).await);
    assert!(found.contains("movies/rating:2.0 is not there"), "{found}");

    // Nobody serves there.
    let reference = "oci://127.0.0.1:1/a:1".parse().expect("a reference");
    let found = said(pull(&reference, &access()).await);
    assert!(found.contains("does not answer"), "{found}");

    // Asked in another way than it speaks.
    let secure = Access {
        plain: false,
        ..access()
    };
    let found = said(pull(&server.reference(":2.0"), &secure).await);
    assert!(found.contains("there is no TLS with it"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_is_not_waited_for_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let reference = format!("oci://{address}/a:1").parse().expect("a reference");
    let found = said(pull(&reference, &access()).await);
    assert!(found.contains("timed out"), "{found}");
}
