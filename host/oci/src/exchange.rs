//! One request to a server, and the answer. Bounds: the time until the answer begins, and what is read of it.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

use crate::Access;

/// What is asked.
#[derive(Debug, Default)]
pub(crate) struct Question {
    /// As whom; not shown in logs.
    pub(crate) authorization: Option<HeaderValue>,
    /// What may come.
    pub(crate) accept: Option<HeaderValue>,
    /// A form that is sent.
    pub(crate) form: Option<String>,
}

/// What comes. Dropped, its connection is closed.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    _connection: JoinSet<()>,
}

/// A body is longer than it may be.
#[derive(Debug, thiserror::Error)]
#[error("it sends more than {0} bytes")]
pub(crate) struct TooLong(pub(crate) u64);

/// It is not what it should be, or does not speak it.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no TLS with it ({0}); --registry-ca names who signs its certificate, --plain-http does without"
)]
struct NoTls(io::Error);

/// Ask.
pub(crate) async fn ask(access: &Access, url: &Url, question: Question) -> io::Result<Answer> {
    let answered = timeout(PATIENCE, async {
        let stream = connect(url).await?;
        if url.scheme() == "http" {
            return send(stream, url, question).await;
        }
        let connector = TlsConnector::from(access.tls.clone());
        let stream = connector.connect(name(url)?, stream).await;
        let stream = stream.map_err(|error| io::Error::other(NoTls(error)))?;
        send(stream, url, question).await
    });
    answered
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl Answer {
    /// All of it, unless it is longer than this.
    pub(crate) async fn bytes(self, most: u64) -> io::Result<Bytes> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let read = Limited::new(self.body, most).collect().await;
        let read = read.map_err(|error| match error.is::<LengthLimitError>() {
            true => io::Error::other(TooLong(most as u64)),
            false => io::Error::other(error),
        });
        Ok(read?.to_bytes())
    }
}

async fn connect(url: &Url) -> io::Result<TcpStream> {
    let port = url.port_or_known_default().unwrap_or_default();
    match url.host() {
        Some(host) => TcpStream::connect(format!("{host}:{port}")).await,
        None => Err(io::ErrorKind::InvalidInput.into()),
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Url,
    question: Question,
) -> io::Result<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let mut driving = JoinSet::new();
    driving.spawn(async { drop(connection.await) });
    let method = match question.form {
        Some(_) => Method::POST,
        None => Method::GET,
    };
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, host)
        .header(
            header::USER_AGENT,
            concat!("marquee/", env!("CARGO_PKG_VERSION")),
        );
    if let Some(accept) = question.accept {
        request = request.header(header::ACCEPT, accept);
    }
    if let Some(mut authorization) = question.authorization {
        authorization.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if question.form.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    let body = Full::new(Bytes::from(question.form.unwrap_or_default()));
    let request = request.body(body).map_err(io::Error::other)?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let (parts, body) = answer.into_parts();
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body,
        _connection: driving,
    })
}

/// Whom the certificate has to name.
fn name(url: &Url) -> io::Result<ServerName<'static>> {
    let name = match url.host() {
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()).ok(),
        Some(Host::Ipv4(address)) => Some(ServerName::IpAddress(address.into())),
        Some(Host::Ipv6(address)) => Some(ServerName::IpAddress(address.into())),
        None => None,
    };
    name.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Until an answer begins.
const PATIENCE: Duration = Duration::from_secs(30);
