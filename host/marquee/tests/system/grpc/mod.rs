//! The movie system over gRPC, as clients see it: the port and the rules are those of the REST API.

mod bad_input;
mod calls;
mod client;
mod deadlines;
mod grpcurl;
mod tls;

pub(crate) use client::{
    ById, GetAggregatedRating, Metadata, SubmitMetadata, SubmitRating, frame, framed,
};
