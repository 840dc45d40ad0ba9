//! A line of the access log. `docs/log.schema.json` has the same for whoever reads it.

use std::net::IpAddr;

use serde::Serialize;

/// What became of a request.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Line<'a> {
    /// The request's name, in all lines that are about it.
    pub request_id: &'a str,
    /// As the client sent it.
    pub method: &'a str,
    /// The pattern that the component named, or the manifest's; none where no route fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// Without its query; cut where it is long.
    pub path: &'a str,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'static str,
    /// Of the answer; none where the client did not wait for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The status of gRPC, where the answer has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// From the request's head to the last byte of its answer.
    pub duration_ms: f64,
    /// Bytes of the request's body that were taken.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were handed out.
    pub bytes_out: u64,
    /// Whose route it is; none where no route fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<&'a str>,
    /// The version that answered, as the command line shows it; none where the host did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
    /// The client's address, by which rates count; of IPv6 its /64.
    pub client: IpAddr,
    /// What the client calls itself; cut where it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<&'a str>,
    /// The trace that the request is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<&'a str>,
    /// Its span in that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<&'a str>,
    /// Requests since the line before that have none.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole answer was handed out.
    Answered,
    /// The answer broke off: its client went away, or what makes it failed.
    CutShort,
    /// The client went away before there was an answer.
    Abandoned,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
