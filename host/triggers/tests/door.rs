//! What clients may do to the server, byte by byte: who asks too much, or takes nothing of what it asked for, loses its
//! connection, and others go on.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test's tasks end with it; what fails fails the test"
)]

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, uri::Scheme};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use marquee_testkit::eventually;
use marquee_triggers::server::{Files, Limits, Listener, Peer, RequestBody, Stop, Tls, serve};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

struct Server {
    address: String,
    stop: Stop,
    serving: JoinHandle<usize>,
    /// Answers that are not sent to their end.
    under_way: Arc<AtomicUsize>,
}

impl Server {
    /// `/` is answered shortly, `/long` without an end, `/body` with how its body ended, `/wait` never.
    async fn start(limits: Limits) -> Self {
        Self::on(limits, |listener| listener).await
    }

    /// The same, on a listener that more is asked of.
    async fn on(limits: Limits, more: impl FnOnce(Listener) -> Listener) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let stop = Stop::default();
        let under_way = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&under_way);
        let handler = move |request: Request<RequestBody>, peer: Peer| {
            let held = Held::new(&count);
            async move {
                let left = match request.uri().path() {
                    "/" => 1,
                    "/peer" => {
                        let scheme = request.extensions().get::<Scheme>();
                        let scheme = scheme.map(Scheme::as_str).unwrap_or_default();
                        return said(&format!("{peer:?} by {scheme};"), held);
                    }
                    "/body" => match request.into_body().collect().await {
                        Ok(_) => 1,
                        Err(error) => return said(&error.to_string(), held),
                    },
                    "/wait" => std::future::pending().await,
                    _ => usize::MAX,
                };
                Response::new(Answer { left, _held: held })
            }
        };
        let listener = Arc::new(more(Listener::tcp(listener)));
        let serving = tokio::spawn(serve(listener, limits, handler, stop.clone()));
        Self {
            address,
            stop,
            serving,
            under_way,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.expect("it listens")
    }

    async fn ends_everything(&self) {
        eventually(PATIENCE, "nothing is under way", async || {
            self.under_way.load(Ordering::Relaxed) == 0
        })
        .await;
    }

    async fn is_well(&self) {
        let mut client = self.connect().await;
        client.write_all(GET).await.expect("it reads");
        assert!(read(&mut client, b"hello").await, "others are served");
    }
}

fn said(text: &str, held: Held) -> Response<Answer> {
    let answer = Answer {
        left: 0,
        _held: held,
    };
    let mut response = Response::new(answer);
    let text = text.parse().expect("a header");
    response.headers_mut().insert("x-said", text);
    response
}

/// Counted while it is there.
struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Answer {
    left: usize,
    _held: Held,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or_default();
        let piece = if self.left == 0 {
            Bytes::from_static(b"hello")
        } else {
            Bytes::from_static(&[b'x'; 32 * 1024])
        };
        Poll::Ready(left.map(|_| Ok(Frame::data(piece))))
    }
}

/// Read until this comes. False: the server closed before.
async fn read(client: &mut (impl AsyncRead + Unpin), what: &[u8]) -> bool {
    let mut seen = Vec::new();
    let reading = async {
        while client.read_buf(&mut seen).await.is_ok_and(|read| read > 0) {
            if seen.windows(what.len()).any(|window| window == what) {
                return true;
            }
        }
        false
    };
    timeout(PATIENCE, reading)
        .await
        .expect("it answers or closes")
}

/// How long until the server closes.
async fn closes(client: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    let mut rest = Vec::new();
    let closed = timeout(PATIENCE, client.read_to_end(&mut rest)).await;
    // A reset is an end too.
    let _ = closed.expect("it closes");
    begun.elapsed()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_connection_is_kept_between_requests_and_the_time_of_a_head_counts_from_its_first_byte() {
    let server = Server::start(Limits {
        header_timeout: Duration::from_millis(300),
        keep_alive: Duration::from_millis(1_500),
        ..Limits::default()
    })
    .await;
    let mut client = server.connect().await;
    client.write_all(GET).await.expect("it reads");
    assert!(read(&mut client, b"hello").await);
    // Longer than a head may take.
    sleep(Duration::from_millis(900)).await;
    client.write_all(GET).await.expect("it reads");
    assert!(read(&mut client, b"hello").await, "it was kept");
    client.write_all(b"GET / HT").await.expect("it reads");
    let took = closes(&mut client).await;
    assert!(took < Duration::from_millis(900), "a slow head: {took:?}");

    let mut client = server.connect().await;
    client.write_all(GET).await.expect("it reads");
    assert!(read(&mut client, b"hello").await);
    let took = closes(&mut client).await;
    assert!(took > Duration::from_millis(1_400), "it is kept: {took:?}");
    assert!(
        took < Duration::from_millis(4_000),
        "not for ever: {took:?}"
    );

    let mut client = server.connect().await;
    let took = closes(&mut client).await;
    assert!(
        took < Duration::from_millis(900),
        "it asks nothing: {took:?}"
    );
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_not_waited_for() {
    let server = Server::start(Limits {
        header_timeout: Duration::from_millis(400),
        body_rate: 1024,
        ..Limits::default()
    })
    .await;
    let head = b"POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 2048\r\n\r\n";
    let mut slow = server.connect().await;
    slow.write_all(head).await.expect("it reads");
    slow.write_all(b"x").await.expect("it reads");
    assert!(read(&mut slow, b"too slowly").await);
    closes(&mut slow).await;

    // Half a second in pieces, which is quick enough.
    let mut quick = server.connect().await;
    quick.write_all(head).await.expect("it reads");
    for _ in 0..8 {
        sleep(Duration::from_millis(100)).await;
        quick.write_all(&[b'x'; 256]).await.expect("it reads");
    }
    assert!(read(&mut quick, b"hello").await);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let server = Server::start(Limits {
        write_timeout: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let mut client = server.connect().await;
    let ask = b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write_all(ask).await.expect("it reads");
    assert!(read(&mut client, b"xxxx").await);
    server.ends_everything().await;
}

#[tokio::test]
async fn a_client_has_no_more_connections_than_its_share() {
    let server = Server::start(Limits {
        client_connections: 2,
        ..Limits::default()
    })
    .await;
    let (mut one, _two) = (server.connect().await, server.connect().await);
    let mut third = server.connect().await;
    closes(&mut third).await;
    one.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .expect("it reads");
    assert!(read(&mut one, b"hello").await, "its others go on");
    closes(&mut one).await;
    eventually(PATIENCE, "a place is free again", async || {
        let mut next = server.connect().await;
        next.write_all(GET).await.is_ok() && read(&mut next, b"hello").await
    })
    .await;
}

#[tokio::test]
async fn a_trusted_proxy_says_whom_it_comes_for_and_nobody_else_does() {
    let ask = b"GET /peer HTTP/1.1\r\nhost: a\r\n\r\n";
    let said = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n";
    let trusting = |network: &'static str| {
        let limits = Limits {
            client_connections: 1,
            ..Limits::default()
        };
        Server::on(limits, |listener| {
            listener.with_proxies(network.parse().expect("a network"))
        })
    };
    let server = trusting("127.0.0.0/8").await;
    let mut client = server.connect().await;
    client
        .write_all(&[&said[..], ask].concat())
        .await
        .expect("it reads");
    assert!(read(&mut client, b"Address(192.0.2.7:4711) by http;").await);
    let mut second = server.connect().await;
    second
        .write_all(&[&said[..], ask].concat())
        .await
        .expect("it reads");
    assert!(
        !read(&mut second, b"Address").await,
        "the client's share is one"
    );
    let mut silent = server.connect().await;
    silent.write_all(ask).await.expect("it reads");
    assert!(!read(&mut silent, b"HTTP").await, "it has to");

    let server = trusting("192.0.2.0/24").await;
    let mut client = server.connect().await;
    client
        .write_all(&[&said[..], ask].concat())
        .await
        .expect("it reads");
    assert!(!read(&mut client, b"192.0.2.7").await);
}

mod tls {
    use std::path::Path;

    use rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    };
    use tokio_rustls::{TlsConnector, client::TlsStream};

    use super::*;

    type Own = rcgen::CertifiedKey<rcgen::KeyPair>;

    fn certificate() -> Own {
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate")
    }

    fn write(folder: &Path, own: &Own) {
        let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        std::fs::write(folder.join("certificate.pem"), certificate).expect("written");
        std::fs::write(folder.join("key.pem"), key).expect("written");
    }

    fn files(folder: &Path) -> Files {
        Files {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
            clients: None,
        }
    }

    async fn connect(
        server: &Server,
        trusted: &Own,
        own: Option<&Own>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        agree(server, trusted, own, &[]).await
    }

    /// The same, where the client speaks these and says so.
    async fn agree(
        server: &Server,
        trusted: &Own,
        own: Option<&Own>,
        speaks: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.cert.der().clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain: Vec<CertificateDer<'static>> = vec![own.cert.der().clone()];
                let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("they fit")
            }
        };
        config.alpn_protocols = speaks.iter().map(|it| it.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, server.connect().await).await
    }

    #[tokio::test]
    async fn a_certificate_that_changes_is_used_and_one_that_is_no_good_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (old, new) = (certificate(), certificate());
        write(folder.path(), &old);
        let tls = Tls::read(files(folder.path())).expect("they can be used");
        let follow = tokio::spawn(
            tls.clone()
                .follow(tokio_util::sync::CancellationToken::new()),
        );
        let server = Server::on(Limits::default(), |listener| listener.with_tls(Some(tls))).await;
        let mut client = connect(&server, &old, None).await.expect("it is known");
        client.write_all(GET).await.expect("it reads");
        assert!(read(&mut client, b"hello").await);
        assert!(connect(&server, &new, None).await.is_err(), "not yet");

        std::fs::write(folder.path().join("certificate.pem"), "none").expect("written");
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(connect(&server, &old, None).await.is_ok(), "it goes on");
        write(folder.path(), &new);
        eventually(PATIENCE, "the new one is used", async || {
            connect(&server, &new, None).await.is_ok()
        })
        .await;
        assert!(!follow.is_finished());
        // What has no handshake is closed.
        let mut plain = server.connect().await;
        plain.write_all(GET).await.expect("it reads");
        assert!(!read(&mut plain, b"hello").await);
    }

    #[tokio::test]
    async fn what_was_agreed_on_is_spoken_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = certificate();
        write(folder.path(), &own);
        let tls = Tls::read(files(folder.path())).expect("they can be used");
        let server = Server::on(Limits::default(), |listener| listener.with_tls(Some(tls))).await;
        // The server's first frame is its settings, of some entries.
        let settings: &[u8] = &[4, 0, 0, 0, 0, 0];
        for (agreed, said, answer, is_answered) in [
            ("http/1.1", GET, &b"hello"[..], true),
            ("h2", PREFACE, settings, true),
            ("h2", GET, b"HTTP/1.1", false),
            ("http/1.1", PREFACE, settings, false),
        ] {
            let client = agree(&server, &own, None, &[agreed]).await;
            let mut client = client.expect("a handshake");
            client.write_all(said).await.expect("it reads");
            let found = read(&mut client, answer).await;
            assert_eq!(found, is_answered, "{agreed}: {said:?}");
        }
    }

    #[tokio::test]
    async fn a_client_is_known_by_a_certificate_that_is_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let (server, client, other) = (certificate(), certificate(), certificate());
        write(folder.path(), &server);
        let clients = folder.path().join("clients.pem");
        std::fs::write(&clients, client.cert.pem()).expect("written");
        let files = Files {
            clients: Some(clients),
            ..files(folder.path())
        };
        let tls = Tls::read(files).expect("they can be used");
        let host = Server::on(Limits::default(), |listener| listener.with_tls(Some(tls))).await;
        let who = async |own: Option<&Own>| {
            let mut stream = connect(&host, &server, own).await.expect("a handshake");
            let ask = b"GET /peer HTTP/1.1\r\nhost: a\r\n\r\n";
            // Over TLS 1.3 a client hears of its certificate afterwards.
            let _ = stream.write_all(ask).await;
            for name in ["Certified(", "Address("] {
                if read(&mut stream, name.as_bytes()).await {
                    return Some(name);
                }
            }
            None
        };
        assert_eq!(who(Some(&client)).await, Some("Certified("));
        assert_eq!(who(Some(&other)).await, None, "signed by nobody");
        assert!(
            connect(&host, &server, None).await.is_ok(),
            "health is for all"
        );
    }
}

mod http2 {
    use super::*;

    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const CONTINUATION: u8 = 9;
    const ACK: u8 = 1;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// GET of a path, as a whole request.
    fn get(stream: u32, path: &str) -> Vec<u8> {
        let mut block = vec![0x82, 0x86, 0x41, 1, b'a', 0x04];
        block.push(u8::try_from(path.len()).expect("a path"));
        block.extend(path.as_bytes());
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
    }

    /// The first bytes, with a window so large for each answer.
    fn preface(window: u32) -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        let mut setting = vec![0, 4];
        setting.extend(window.to_be_bytes());
        bytes.extend(frame(SETTINGS, 0, 0, &setting));
        bytes
    }

    /// Take frames, answer pings, until one is as it should be. None: the server closed.
    async fn until(
        client: &mut TcpStream,
        mut wanted: impl FnMut(u8, u8, u32) -> bool,
    ) -> Option<Vec<u8>> {
        let reading = async {
            loop {
                let mut head = [0; 9];
                client.read_exact(&mut head).await.ok()?;
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; usize::try_from(length).expect("a length")];
                client.read_exact(&mut payload).await.ok()?;
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                if head[3] == PING && head[4] & ACK == 0 {
                    let pong = frame(PING, ACK, 0, &payload);
                    client.write_all(&pong).await.ok()?;
                }
                if wanted(head[3], head[4], stream) {
                    return Some(payload);
                }
            }
        };
        timeout(PATIENCE, reading)
            .await
            .expect("it goes on or closes")
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_and_answers_pings_does_not_hold_up_the_end() {
        let server = Server::start(Limits::default()).await;
        let mut client = server.connect().await;
        client.write_all(&preface(0)).await.expect("it reads");
        client.write_all(&get(1, "/long")).await.expect("it reads");
        until(&mut client, |kind, _, _| kind == HEADERS)
            .await
            .expect("an answer");
        let client = tokio::spawn(async move { until(&mut client, |_, _, _| false).await });
        server.stop.drain.cancel();
        sleep(Duration::from_millis(300)).await;
        assert!(!server.serving.is_finished(), "it has its time");
        server.stop.abort.cancel();
        let ended = timeout(Duration::from_secs(2), server.serving).await;
        let ended = ended.expect("the end is bounded").expect("no panic");
        assert_eq!(ended, 1, "it is counted");
        assert_eq!(server.under_way.load(Ordering::Relaxed), 0);
        assert!(client.await.expect("no panic").is_none());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_is_reset_and_the_others_go_on() {
        let server = Server::start(Limits {
            write_timeout: Duration::from_millis(500),
            ..Limits::default()
        })
        .await;
        let mut client = server.connect().await;
        client.write_all(&preface(5)).await.expect("it reads");
        client.write_all(&get(1, "/long")).await.expect("it reads");
        let reset = until(&mut client, |kind, _, stream| {
            (kind, stream) == (RST_STREAM, 1)
        });
        reset.await.expect("it is reset");
        server.ends_everything().await;
        client.write_all(&get(3, "/")).await.expect("it reads");
        let data = until(&mut client, |kind, _, stream| (kind, stream) == (DATA, 3)).await;
        assert_eq!(
            data.as_deref(),
            Some(&b"hello"[..]),
            "another on the same connection"
        );
    }

    #[tokio::test]
    async fn who_gives_up_one_request_after_the_other_loses_the_connection() {
        let server = Server::start(Limits::default()).await;
        let mut client = server.connect().await;
        client.write_all(&preface(65_535)).await.expect("it reads");
        let cancel = 8_u32.to_be_bytes();
        let mut asked = 0;
        // Each is begun before it is given up.
        while asked < 1_000 {
            let stream = 2 * asked + 1;
            if client.write_all(&get(stream, "/wait")).await.is_err() {
                break;
            }
            let begun = timeout(Duration::from_millis(500), async {
                while server.under_way.load(Ordering::Relaxed) == 0 {
                    tokio::task::yield_now().await;
                }
            });
            if begun.await.is_err() {
                break;
            }
            let reset = frame(RST_STREAM, 0, stream, &cancel);
            client.write_all(&reset).await.expect("it reads");
            server.ends_everything().await;
            asked += 1;
        }
        closes(&mut client).await;
        assert!((50..200).contains(&asked), "{asked}");
        server.is_well().await;
    }

    #[tokio::test]
    async fn resets_of_what_nobody_has_begun_lose_the_connection() {
        let server = Server::start(Limits::default()).await;
        let mut client = server.connect().await;
        client.write_all(&preface(65_535)).await.expect("it reads");
        let cancel = 8_u32.to_be_bytes();
        let mut asked = 0_u32;
        while asked < 20_000 {
            let stream = 2 * asked + 1;
            let mut both = get(stream, "/wait");
            both.extend(frame(RST_STREAM, 0, stream, &cancel));
            if client.write_all(&both).await.is_err() {
                break;
            }
            asked += 1;
        }
        closes(&mut client).await;
        assert!(asked < 20_000, "it was heard to the end");
        server.ends_everything().await;
        server.is_well().await;
    }

    #[tokio::test]
    async fn a_head_without_an_end_loses_the_connection() {
        let server = Server::start(Limits::default()).await;
        let mut client = server.connect().await;
        client.write_all(&preface(65_535)).await.expect("it reads");
        let begun = frame(HEADERS, END_STREAM, 1, &[0x82, 0x86, 0x84]);
        client.write_all(&begun).await.expect("it reads");
        // A header of 1 KiB that is not to be remembered.
        let mut field = vec![0, 1, b'x', 0x7f, 0x81, 0x07];
        field.extend([b'y'; 1024]);
        let more = frame(CONTINUATION, 0, 1, &field);
        let mut sent = 0;
        while sent < 10_000 && client.write_all(&more).await.is_ok() {
            sent += 1;
        }
        assert!(sent < 10_000, "10 MB of one head were taken");
        server.is_well().await;
    }

    #[tokio::test]
    async fn who_floods_with_what_is_to_be_answered_and_takes_no_answer_loses_the_connection() {
        for flood in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
            let server = Server::start(Limits {
                write_timeout: Duration::from_millis(500),
                ..Limits::default()
            })
            .await;
            let mut client = server.connect().await;
            client.write_all(&preface(65_535)).await.expect("it reads");
            client.write_all(&get(1, "/wait")).await.expect("it reads");
            let many = flood.repeat(10_000);
            let flooding = async { while client.write_all(&many).await.is_ok() {} };
            timeout(PATIENCE, flooding).await.expect("it is closed");
            server.ends_everything().await;
            server.is_well().await;
        }
    }

    #[tokio::test]
    async fn more_streams_than_may_be_at_once_are_refused_alone() {
        let server = Server::start(Limits {
            streams: 2,
            ..Limits::default()
        })
        .await;
        let mut client = server.connect().await;
        client.write_all(&preface(65_535)).await.expect("it reads");
        for stream in [1, 3, 5] {
            client
                .write_all(&get(stream, "/wait"))
                .await
                .expect("it reads");
        }
        let refused = until(&mut client, |kind, _, stream| {
            assert_ne!(kind, GOAWAY);
            (kind, stream) == (RST_STREAM, 5)
        });
        assert_eq!(refused.await.expect("it is refused"), 7_u32.to_be_bytes());
        assert_eq!(server.under_way.load(Ordering::Relaxed), 2);
    }
}
