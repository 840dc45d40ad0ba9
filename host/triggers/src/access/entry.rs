//! What is remembered of a request until its line is written: when it is dropped.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use http_body::Frame;
use marquee_manifest::ComponentId;
use marquee_registry::Digest;

use super::{
    AccessLog,
    line::{Line, Outcome},
};
use crate::server::Progress;

/// A request that will have a line. Dropped, it is written, whatever has become of it.
pub(crate) struct Entry {
    log: Arc<AccessLog>,
    begun: Instant,
    request_id: String,
    method: Method,
    path: String,
    protocol: &'static str,
    client: IpAddr,
    user_agent: Option<String>,
    trace: Option<TraceIds>,
    progress: Arc<Progress>,
    answer: Option<Answer>,
}

/// What is known of it when there is an answer.
struct Answer {
    status: StatusCode,
    route: Option<String>,
    component: Option<ComponentId>,
    version: Option<String>,
    /// How much its head says that there is.
    length: Option<u64>,
    bytes: u64,
    grpc_status: Option<u16>,
    /// The end of its body was handed out.
    is_whole: bool,
}

/// The trace that a request is part of, and its span in that; in hexadecimal.
#[derive(Debug, Clone)]
pub(crate) struct TraceIds {
    pub(crate) trace: String,
    pub(crate) span: String,
}

/// What the host knows of a request beside its head.
pub(crate) struct Came<'a> {
    pub(crate) at: Instant,
    pub(crate) request_id: &'a str,
    pub(crate) client: IpAddr,
    pub(crate) trace: Option<TraceIds>,
    pub(crate) progress: Arc<Progress>,
}

impl Entry {
    /// A request has come.
    pub(crate) fn new<B>(log: &Arc<AccessLog>, request: &Request<B>, came: Came<'_>) -> Self {
        let user_agent = request.headers().get(header::USER_AGENT);
        let user_agent = user_agent.and_then(|value| value.to_str().ok());
        Self {
            log: Arc::clone(log),
            begun: came.at,
            request_id: came.request_id.to_owned(),
            method: request.method().clone(),
            path: cut(request.uri().path(), PATH_BYTES).to_owned(),
            protocol: protocol(request.version()),
            client: came.client,
            user_agent: user_agent.map(|text| cut(text, USER_AGENT_BYTES).to_owned()),
            trace: came.trace,
            progress: came.progress,
            answer: None,
        }
    }

    /// Its answer begins.
    pub(crate) fn answered(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        route: Option<&str>,
        answerer: Option<(&ComponentId, Option<Digest>)>,
    ) {
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        let has_none = self.method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.answer = Some(Answer {
            status,
            route: route.map(str::to_owned),
            component: answerer.map(|(component, _)| component.clone()),
            version: answerer.and_then(|(_, version)| Some(version?.to_string())),
            length: if has_none { Some(0) } else { length },
            bytes: 0,
            grpc_status: grpc_status(headers),
            is_whole: false,
        });
    }

    /// A piece of the answer is handed out. None: it is over.
    pub(super) fn sees<E>(&mut self, frame: Option<&Result<Frame<Bytes>, E>>) {
        let Some(answer) = &mut self.answer else {
            return;
        };
        match frame {
            None => answer.is_whole = true,
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    answer.bytes += data.remaining() as u64;
                }
                let trailers = frame.trailers_ref();
                if let Some(status) = trailers.and_then(grpc_status) {
                    answer.grpc_status = Some(status);
                    // Nothing comes behind them.
                    answer.is_whole = true;
                }
            }
            Some(Err(_)) => answer.length = None,
        }
    }

    /// Nothing of the answer is left.
    pub(super) fn is_over(&mut self) {
        if let Some(answer) = &mut self.answer {
            answer.is_whole = true;
        }
    }

    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// Whether somebody should see it, however many others are left out.
    pub(super) fn went_wrong(&self) -> bool {
        let Some(answer) = &self.answer else {
            return true;
        };
        let failed = matches!(answer.grpc_status, Some(2 | 13 | 14 | 15));
        answer.status.is_server_error() || failed || self.outcome() != Outcome::Answered
    }

    fn outcome(&self) -> Outcome {
        match &self.answer {
            None => Outcome::Abandoned,
            // Over HTTP/1.1 nobody asks for the end of a body whose length was said.
            Some(it) if it.is_whole || it.length.is_some_and(|length| it.bytes >= length) => {
                Outcome::Answered
            }
            Some(_) => Outcome::CutShort,
        }
    }

    pub(super) fn line(&self, took: Duration) -> Line<'_> {
        let answer = self.answer.as_ref();
        Line {
            request_id: &self.request_id,
            method: self.method.as_str(),
            route: answer.and_then(|answer| answer.route.as_deref()),
            path: &self.path,
            protocol: self.protocol,
            status: answer.map(|answer| answer.status.as_u16()),
            grpc_status: answer.and_then(|answer| answer.grpc_status),
            outcome: self.outcome(),
            // To a microsecond.
            duration_ms: took.as_micros() as f64 / 1_000.0,
            bytes_in: self.progress.taken(),
            bytes_out: answer.map_or(0, |answer| answer.bytes),
            component: answer.and_then(|answer| Some(answer.component.as_ref()?.as_str())),
            version: answer.and_then(|answer| answer.version.as_deref()),
            client: self.client,
            user_agent: self.user_agent.as_deref(),
            trace_id: self.trace.as_ref().map(|ids| ids.trace.as_str()),
            span_id: self.trace.as_ref().map(|ids| ids.span.as_str()),
            left_out: 0,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.log.take(self);
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    let status = headers.get("grpc-status").map(HeaderValue::to_str)?;
    status.ok()?.parse().ok()
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// As much of it as a line has room for.
fn cut(text: &str, bytes: usize) -> &str {
    let end = text.floor_char_boundary(bytes);
    text.get(..end).unwrap_or(text)
}

/// Longer ones are seldom, and what tells them apart stands in front.
const PATH_BYTES: usize = 1_024;
const USER_AGENT_BYTES: usize = 256;
