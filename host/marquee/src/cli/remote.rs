//! The admin API of a running host, as the command line uses it.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, task::JoinSet};

use crate::{admin, settings::Settings};

/// A host on this machine.
pub(crate) struct Remote {
    socket: PathBuf,
}

impl Remote {
    /// The one that uses the data folder.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            socket: admin::socket::path(&settings.data.value),
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let bytes = self.call(Method::GET, path, None, Bytes::new()).await?;
        understood(&bytes)
    }

    pub(crate) async fn bytes(&self, path: &str) -> anyhow::Result<Bytes> {
        self.call(Method::GET, path, None, Bytes::new()).await
    }

    /// Something is done; there is nothing to tell.
    pub(crate) async fn act(&self, path: &str) -> anyhow::Result<()> {
        self.call(Method::POST, path, None, Bytes::new())
            .await
            .map(drop)
    }

    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        document: &impl Serialize,
    ) -> anyhow::Result<T> {
        let body = serde_json::to_vec(document)?;
        let kind = Some("application/json");
        understood(&self.call(method, path, kind, body.into()).await?)
    }

    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        bytes: Vec<u8>,
    ) -> anyhow::Result<T> {
        let kind = Some("application/wasm");
        understood(&self.call(Method::POST, path, kind, bytes.into()).await?)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        kind: Option<&'static str>,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let stream = UnixStream::connect(&self.socket).await.with_context(|| {
            format!(
                "no host answers at {}; start one with `marquee up`, or name its data folder with --data",
                self.socket.display()
            )
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with this call.
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost");
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(Full::new(body))?;
        let response = sender
            .send_request(request)
            .await
            .context("the host went away")?;
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.context("the answer broke off")?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<admin::Problem>(&body) {
            Ok(problem) if status != StatusCode::INTERNAL_SERVER_ERROR => bail!(problem.detail),
            Ok(problem) => bail!("the host failed: {}", problem.detail),
            Err(_) => bail!("the host answered with {status}"),
        }
    }
}

fn understood<T: DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(bytes)
        .context("the answer is not understood; is the host of the same version as this program?")
}
