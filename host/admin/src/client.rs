//! The admin API of a running host, as operators use it: on the socket in a data folder of this machine, or over TCP with
//! the host's token or, by TLS, a certificate.
//!
//! Errors are the host's own words, or say what could not be reached. Not here: where a host is, which the command line says.

mod tls;

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use marquee_database::Secret;
use marquee_manifest::ComponentId;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinSet,
};
use url::Url;

pub use self::tls::{Tls, trusting};

/// A running host.
pub struct Client {
    place: Place,
    token: Option<Secret>,
}

/// Where a host is asked.
pub enum Place {
    /// On a socket of this machine.
    Socket(PathBuf),
    /// At `HOST:PORT`, and how where it is asked by TLS.
    Tcp(String, Option<Tls>),
}

impl Place {
    /// That of a URL: `http://HOST:PORT`, or `https://HOST:PORT` with how.
    ///
    /// # Errors
    /// It is not of this form.
    pub fn at(url: &Url, tls: Option<Tls>) -> anyhow::Result<Self> {
        Ok(Self::Tcp(authority(url)?, tls))
    }
}

impl Client {
    /// Of a host that is there. The token is shown over TCP alone.
    pub fn new(place: Place, token: Option<Secret>) -> Self {
        Self { place, token }
    }

    /// The document at a path.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        understood(&self.bytes(path).await?)
    }

    /// What it says of its readiness, whatever that is.
    pub async fn readiness(&self) -> anyhow::Result<Value> {
        let asked = self.exchange(Method::GET, "/readyz", None, Bytes::new());
        understood(&asked.await?.1)
    }

    /// What is at a path.
    pub async fn bytes(&self, path: &str) -> anyhow::Result<Bytes> {
        self.call(Method::GET, path, None, Bytes::new()).await
    }

    /// Something is done; there is nothing to tell.
    pub async fn act(&self, path: &str) -> anyhow::Result<()> {
        self.call(Method::POST, path, None, Bytes::new())
            .await
            .map(drop)
    }

    /// Something is done, and told.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        understood(&self.call(Method::POST, path, None, Bytes::new()).await?)
    }

    /// Something is put in place of what was.
    pub async fn replace(&self, path: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        let kind = Some("application/octet-stream");
        let done = self.call(Method::PUT, path, kind, bytes.into()).await;
        done.map(drop)
    }

    /// A document is sent, and what comes of it told.
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        document: &impl Serialize,
    ) -> anyhow::Result<T> {
        let body = serde_json::to_vec(document)?;
        let kind = Some("application/json");
        understood(&self.call(method, path, kind, body.into()).await?)
    }

    /// A component is sent, and what comes of it told.
    pub async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        bytes: Vec<u8>,
    ) -> anyhow::Result<T> {
        let kind = Some("application/wasm");
        understood(&self.call(Method::POST, path, kind, bytes.into()).await?)
    }

    /// The answer, if it is one that all is well.
    async fn call(
        &self,
        method: Method,
        path: &str,
        kind: Option<&'static str>,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let (status, body) = self.exchange(method, path, kind, body).await?;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<marquee_problem::Problem>(&body) {
            Ok(problem) if status != StatusCode::INTERNAL_SERVER_ERROR => bail!(problem.detail),
            Ok(problem) => bail!("the host failed: {}", problem.detail),
            Err(_) => bail!("the host answered with {status}"),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        kind: Option<&'static str>,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let host = match &self.place {
            Place::Socket(_) => "localhost",
            Place::Tcp(authority, _) => authority,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host);
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if let (Place::Tcp(..), Some(token)) = (&self.place, &self.token) {
            let value = format!("Bearer {}", token.reveal());
            let mut value =
                header::HeaderValue::from_str(&value).context("the token is not one")?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Full::new(body))?;
        match &self.place {
            Place::Socket(socket) => {
                let stream = UnixStream::connect(socket).await.with_context(|| {
                    format!(
                        "no host answers at {}; start one with `marquee up`, or name its data folder with --data",
                        socket.display()
                    )
                })?;
                answer(stream, request).await
            }
            Place::Tcp(authority, tls) => {
                let stream = TcpStream::connect(authority).await;
                let stream = stream.with_context(|| format!("no host answers at {authority}"))?;
                match tls {
                    Some(tls) => answer(tls.connect(stream).await?, request).await,
                    None => answer(stream, request).await,
                }
            }
        }
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with this call.
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let response = match sender.send_request(request).await {
        Ok(response) => response,
        Err(error) => {
            // The connection knows more of it, such as that the host did not like our certificate.
            let ended = driving.join_next().await;
            let broken = ended.and_then(Result::ok).and_then(Result::err);
            return Err(broken.unwrap_or(error)).context("the host went away");
        }
    };
    let status = response.status();
    let body = response.into_body().collect().await;
    Ok((status, body.context("the answer broke off")?.to_bytes()))
}

/// The path of a component, or of what belongs to it. Its names need no encoding.
pub fn at(component: &ComponentId, rest: &str) -> String {
    format!("/admin/v1/components/{component}{rest}")
}

fn authority(url: &Url) -> anyhow::Result<String> {
    let known = ["http", "https"].contains(&url.scheme());
    let plain = known && url.path() == "/" && url.query().is_none();
    let host = url
        .host_str()
        .filter(|_| plain && url.username().is_empty());
    let host =
        host.with_context(|| format!("{url} is neither http://HOST:PORT nor https://HOST:PORT"))?;
    let port = url.port_or_known_default();
    ensure!(port.is_some(), "{url} has no port");
    Ok(format!("{host}:{}", port.unwrap_or_default()))
}

fn understood<T: DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(bytes)
        .context("the answer is not understood; is the host of the same version as this program?")
}

/// The path of a row that a database keeps, or of what is done with it.
pub fn kept_row(kind: &str, id: &str, rest: &str) -> anyhow::Result<String> {
    let parts = id.split_once('/').and_then(|(database, number)| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let number: i64 = number.parse().ok()?;
        database.bytes().all(plain).then_some((database, number))
    });
    let (database, number) = parts.with_context(|| {
        format!("{id:?} is not DATABASE/NUMBER; `marquee {kind} list` shows what there is")
    })?;
    Ok(format!("/admin/v1/{kind}/{database}/{number}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_by_a_plain_url() {
        let authority = |text: &str| authority(&text.parse().expect("a URL")).ok();
        assert_eq!(
            authority("http://127.0.0.1:3001").as_deref(),
            Some("127.0.0.1:3001")
        );
        assert_eq!(
            authority("http://[::1]:3001/").as_deref(),
            Some("[::1]:3001")
        );
        assert_eq!(authority("http://ops").as_deref(), Some("ops:80"));
        assert_eq!(authority("https://ops").as_deref(), Some("ops:443"));
        for not in [
            "ftp://127.0.0.1:3001",
            "http://127.0.0.1:3001/admin/v1",
            "http://ann@127.0.0.1:3001",
            "unix:/run/admin.sock",
        ] {
            assert_eq!(authority(not), None, "{not}");
        }
    }
}
