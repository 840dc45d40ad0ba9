//! tonic's client, with messages that are written here by hand, since their numbers are what is promised.

use prost::Message;
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

/// A message as it is framed.
pub(crate) fn frame(message: &impl Message) -> Vec<u8> {
    framed(0, &message.encode_to_vec())
}

/// A frame with these bytes in it.
pub(crate) fn framed(flag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a short message");
    [&[flag], &length.to_be_bytes()[..], bytes].concat()
}
