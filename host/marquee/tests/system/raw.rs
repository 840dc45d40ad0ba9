//! A client that can send what well-behaved ones cannot.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

use crate::contract;

/// What came back on a connection of its own.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status; 0 where the server closed without a word.
    pub(crate) status: u16,
    /// Headers as they stand.
    pub(crate) head: String,
    /// The body, as text.
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Send these bytes and read until the server closes. What the movie system answers is held against its contract.
pub(crate) async fn send(address: &str, bytes: &[u8]) -> Answer {
    let answer = send_unchecked(address, bytes).await;
    let line = bytes.split(|byte| *byte == b'\r').next();
    let line = String::from_utf8_lossy(line.unwrap_or_default());
    let mut words = line.split(' ');
    if let (Some(method), Some(target)) = (words.next(), words.next()) {
        contract::check(address, method, target, &answer);
    }
    answer
}

/// The same, for what learns the contract.
pub(crate) async fn send_unchecked(address: &str, bytes: &[u8]) -> Answer {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    over(stream, bytes).await
}

/// The same to a socket in the file system.
pub(crate) async fn send_to_file(path: &Path, bytes: &[u8]) -> Answer {
    over(UnixStream::connect(path).await.expect("it listens"), bytes).await
}

/// Send these bytes to a socket in the file system, and go away.
pub(crate) async fn break_off(path: &Path, bytes: &[u8]) {
    let mut stream = UnixStream::connect(path).await.expect("it listens");
    stream.write_all(bytes).await.expect("it reads");
}

async fn over(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Answer {
    // A server that refuses early may close while we still send.
    let _ = stream.write_all(bytes).await;
    let mut all = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut all)).await;
    assert!(
        read.is_ok(),
        "the server neither answered nor closed; so far: {}",
        String::from_utf8_lossy(&all)
    );
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    Answer {
        status,
        head: head.to_owned(),
        body: if chunked {
            unchunked(body)
        } else {
            body.to_owned()
        },
    }
}

/// A request that closes its connection.
pub(crate) async fn request(
    address: &str,
    line: &str,
    headers: &[&str],
    body: impl AsRef<[u8]>,
) -> Answer {
    let body = body.as_ref();
    let mut text = format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    send(address, &[text.as_bytes(), body].concat()).await
}

/// The status of a request without a body; 0 where nobody answers.
pub(crate) async fn status(address: &str, line: &str) -> u16 {
    let Ok(stream) = TcpStream::connect(address).await else {
        return 0;
    };
    let request = format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    over(stream, request.as_bytes()).await.status
}

/// A client of HTTP/2 that asks for this, answers pings, and lets nothing of the answer come. Returns when the server closes.
pub(crate) async fn take_nothing(address: &str, path: &str) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let mut block = vec![0x82, 0x86, 0x41, 1, b'a', 0x04];
    block.push(u8::try_from(path.len()).expect("a path"));
    block.extend(path.as_bytes());
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS: an initial window of nothing; HEADERS of the whole request.
    bytes.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    bytes.extend([
        0,
        0,
        u8::try_from(block.len()).expect("a frame"),
        1,
        5,
        0,
        0,
        0,
        1,
    ]);
    bytes.extend(block);
    stream.write_all(&bytes).await.expect("it reads");
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).await.is_err() {
            return;
        }
        if head[3] == 6 && head[4] == 0 {
            head[4] = 1;
            let _ = stream.write_all(&[&head[..], &payload].concat()).await;
        }
    }
}

/// The pieces of a chunked body, put together.
fn unchunked(mut text: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk begins with its size");
        let (piece, rest) = rest.split_at(size);
        whole.push_str(piece);
        text = rest.trim_start_matches("\r\n");
    }
    whole
}
