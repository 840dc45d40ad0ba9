//! A client of HTTP/2 that can send everything that it allows, for REST and for gRPC.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request,
    body::Frame,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use crate::{contract, raw::Answer};

/// What came back of one request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Reply {
    /// The status of gRPC. It stands in trailers, or in headers of an answer that has nothing else.
    pub(crate) fn code(&self) -> Option<&str> {
        let trailers = [&self.trailers, &self.headers].into_iter();
        let mut values = trailers.filter_map(|fields| fields.get("grpc-status"));
        values.next()?.to_str().ok()
    }

    /// As it would look over HTTP/1.1.
    fn answer(&self) -> Answer {
        let mut head = format!("HTTP/2 {}\r\n", self.status);
        for (name, value) in &self.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        Answer {
            status: self.status,
            head,
            body: String::from_utf8_lossy(&self.body).into_owned(),
        }
    }

    fn is_of_grpc(&self) -> bool {
        let kind = self.headers.get("content-type");
        kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
    }
}

type Sent = UnsyncBoxBody<Bytes, Infallible>;

/// A connection. What the movie system answers on it over REST is held against its contract.
pub(crate) struct Raw {
    sender: SendRequest<Sent>,
    address: String,
    /// Drives the connection.
    _driving: JoinSet<hyper::Result<()>>,
}

impl Raw {
    pub(crate) async fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        Self::over(stream, address).await
    }

    /// Over TLS, to the host on this machine whose certificate is in a file.
    pub(crate) async fn over_tls(address: &str, certificate: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_file(certificate).expect("a certificate");
        roots.add(own).expect("one that can be trusted");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("it has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(address).await.expect("it listens");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = connected.await.expect("it is the host");
        let agreed = stream.get_ref().1.alpn_protocol();
        assert_eq!(agreed, Some(&b"h2"[..]), "HTTP/2 is agreed on");
        Self::over(stream, address).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        address: &str,
    ) -> Self {
        let io = TokioIo::new(stream);
        let connected = http2::handshake(TokioExecutor::new(), io).await;
        let (sender, connection) = connected.expect("it speaks HTTP/2");
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        Self {
            sender,
            address: address.to_owned(),
            _driving: driving,
        }
    }

    /// A request of REST, as `raw::request` sends it over HTTP/1.1.
    pub(crate) async fn ask(
        &mut self,
        line: &str,
        headers: &[&str],
        body: impl Into<Bytes>,
    ) -> Answer {
        let (method, target) = line.split_once(' ').expect("a method and a target");
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{target}", self.address));
        for header in headers {
            let (name, value) = header.split_once(": ").expect("a name and a value");
            request = request.header(name, value);
        }
        let body = Full::new(body.into()).boxed_unsync();
        let request = request.body(body).expect("a request");
        self.exchange(request).await.answer()
    }

    /// A call of gRPC with these bytes as its body.
    pub(crate) async fn call(&mut self, url: &str, body: impl Into<Bytes>) -> Reply {
        let call = Request::post(url).header("content-type", "application/grpc");
        self.send(call, body, Ending::AtOnce).await
    }

    pub(crate) async fn send(
        &mut self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
        ending: Ending,
    ) -> Reply {
        let frames = stream::iter([Ok(Frame::data(body.into()))]);
        let body = match ending {
            Ending::AtOnce => StreamBody::new(frames).boxed_unsync(),
            Ending::Never => StreamBody::new(frames.chain(stream::pending())).boxed_unsync(),
        };
        self.exchange(request.body(body).expect("a request")).await
    }

    async fn exchange(&mut self, request: Request<Sent>) -> Reply {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let answer = self.sender.send_request(request).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        let collected = body.collect().await.expect("to its end");
        let reply = Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            trailers: collected.trailers().cloned().unwrap_or_default(),
            body: collected.to_bytes(),
        };
        // A call has a contract of its own.
        if !reply.is_of_grpc() {
            let target = uri.path_and_query().map_or("/", |target| target.as_str());
            contract::check(&self.address, method.as_str(), target, &reply.answer());
        }
        reply
    }
}

/// When a client says that its body is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    AtOnce,
    Never,
}
