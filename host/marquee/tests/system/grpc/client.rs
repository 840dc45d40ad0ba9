//! Two clients: tonic's, with messages that are written here by hand, since their numbers are what is promised; and one
//! that sends over HTTP/2 what tonic's would not.

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::HeaderMap;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Request,
    body::Frame,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{net::TcpStream, task::JoinSet};
use tonic::{
    Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Metadata {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) title: String,
    #[prost(string, tag = "3")]
    pub(crate) description: String,
    #[prost(string, tag = "4")]
    pub(crate) director: String,
    #[prost(string, tag = "5")]
    pub(crate) record_type: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ResponseStatus {
    #[prost(int32, tag = "1")]
    pub(crate) status_code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

/// `GetMetadataRequest` and `GetMovieDetailsRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ById {
    #[prost(string, tag = "1")]
    pub(crate) movie_id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct SubmitMetadata {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<Metadata>,
}

/// The responses of both methods of `MetadataService`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct OneMetadata {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "2")]
    pub(crate) response_status: Option<ResponseStatus>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct GetAggregatedRating {
    #[prost(string, tag = "1")]
    pub(crate) record_id: String,
    #[prost(string, tag = "2")]
    pub(crate) record_type: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AggregatedRating {
    #[prost(double, tag = "1")]
    pub(crate) rating_value: f64,
    #[prost(int32, tag = "2")]
    pub(crate) amount_rating: i32,
    #[prost(message, optional, tag = "3")]
    pub(crate) response_status: Option<ResponseStatus>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct SubmitRating {
    #[prost(string, tag = "1")]
    pub(crate) user_id: String,
    #[prost(string, tag = "2")]
    pub(crate) record_id: String,
    #[prost(string, tag = "3")]
    pub(crate) record_type: String,
    #[prost(int32, tag = "4")]
    pub(crate) rating_value: i32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct RatingSubmitted {
    #[prost(message, optional, tag = "1")]
    pub(crate) response_status: Option<ResponseStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MovieDetails {
    #[prost(float, tag = "1")]
    pub(crate) rating: f32,
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Details {
    #[prost(message, optional, tag = "1")]
    pub(crate) movie_details: Option<MovieDetails>,
    #[prost(message, optional, tag = "2")]
    pub(crate) response_status: Option<ResponseStatus>,
}

/// A connection of tonic's.
pub(crate) struct Client {
    channel: Channel,
    token: Option<String>,
    key: Option<&'static str>,
}

impl Client {
    pub(crate) async fn to(address: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URL");
        Self {
            channel: endpoint.connect().await.expect("it listens"),
            token: None,
            key: None,
        }
    }

    /// The same connection, for somebody else.
    pub(crate) fn with(&self, token: Option<&str>) -> Self {
        Self {
            channel: self.channel.clone(),
            token: token.map(str::to_owned),
            key: self.key,
        }
    }

    /// The same connection, with an idempotency key for what is called.
    pub(crate) fn under(&self, key: &'static str) -> Self {
        Self {
            channel: self.channel.clone(),
            token: self.token.clone(),
            key: Some(key),
        }
    }

    pub(crate) async fn call<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.expect("it is connected");
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().expect("ASCII");
            request.metadata_mut().insert("authorization", value);
        }
        if let Some(key) = self.key {
            let value = key.parse().expect("ASCII");
            request.metadata_mut().insert("idempotency-key", value);
        }
        let path = http::uri::PathAndQuery::from_static(path);
        let codec = ProstCodec::default();
        Ok(client.unary(request, path, codec).await?.into_inner())
    }
}

/// What came back of one request over HTTP/2.
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
}

type Sent = http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// A connection on which everything can be sent that HTTP/2 allows.
pub(crate) struct Raw {
    sender: SendRequest<Sent>,
    /// Drives the connection.
    _driving: JoinSet<hyper::Result<()>>,
}

impl Raw {
    pub(crate) async fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let io = TokioIo::new(stream);
        let connected = http2::handshake(TokioExecutor::new(), io).await;
        let (sender, connection) = connected.expect("it speaks HTTP/2");
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        Self {
            sender,
            _driving: driving,
        }
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
        let request = request.body(body).expect("a request");
        let answer = self.sender.send_request(request).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        let collected = body.collect().await.expect("to its end");
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            trailers: collected.trailers().cloned().unwrap_or_default(),
            body: collected.to_bytes(),
        }
    }
}

/// When a client says that its body is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    AtOnce,
    Never,
}

/// A message as it is framed.
pub(crate) fn frame(message: &impl Message) -> Vec<u8> {
    framed(0, &message.encode_to_vec())
}

/// A frame with these bytes in it.
pub(crate) fn framed(flag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a short message");
    [&[flag], &length.to_be_bytes()[..], bytes].concat()
}
