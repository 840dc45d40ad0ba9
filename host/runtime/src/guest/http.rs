//! `wasi:http/handler@0.3.0`: a request in, a response out.
//!
//! A small request of a component that exports `marquee:http/handler` goes to that, in one piece: see [`whole`]. Its body is
//! read before an instance is taken, so that a slow client keeps none waiting.
//!
//! The answer is returned as soon as the guest has it; its body streams on while the call lasts. Whoever drops the
//! response, or its body before its end, gives the call up. What the guest does after its answer is complete it does by
//! itself, until the call's deadline.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use marquee_manifest::ComponentId;
use marquee_registry::Digest;
use tokio::sync::oneshot;
use wasmtime_wasi_http::{
    Error as HttpError, WasiBody, WasiHttpView as _, p3::Request as WasiRequest,
};

mod whole;

use crate::{
    Call, CallError, Runtime,
    bindings::WHOLE,
    client::ClientTime,
    entry::Entry,
    instance::Job,
    outcome::{Blame, Kind, Outcome},
    pool::{Pool, Running},
    shadow::{Asked, Copied, Seen},
};

/// A request for a component.
pub type Request = http::Request<WasiBody>;
/// A component's answer.
pub type Response = http::Response<ResponseBody>;

/// The body of a component's answer. Holds the call that makes it.
pub struct ResponseBody {
    body: WasiBody,
    running: Option<Running>,
    /// Whose answer it is.
    version: Arc<Pool>,
    client: Arc<ClientTime>,
    /// What is still to come of it, where its headers say how much it is.
    left: Option<u64>,
    /// Made when the answer is over.
    _copied: Option<Copied>,
}

impl Runtime {
    /// Let a component answer a request.
    pub async fn handle_http(
        &self,
        component: &ComponentId,
        request: Request,
        call: Call,
    ) -> Result<Response, CallError> {
        let (entry, copied) = self.0.choose(component, &call, || Asked::http(&request))?;
        ask(entry, request, call, copied).await
    }
}

/// Let a version answer a request.
pub(crate) async fn ask(
    entry: Entry,
    request: Request,
    call: Call,
    copied: Option<Copied>,
) -> Result<Response, CallError> {
    let version = &entry.version;
    let component = &version.component.spec.id;
    let seen = copied.as_ref().and_then(Copied::seen);
    let client = Arc::new(ClientTime::default());
    let (send, receive) = oneshot::channel();
    let is_small = request
        .body()
        .size_hint()
        .upper()
        .is_some_and(|bytes| bytes <= WHOLE_BYTES);
    let job = if is_small && version.component.exports.contains_key(WHOLE) {
        whole::job(component, request, call.deadline, seen, send).await?
    } else {
        streamed(
            request.map(|body| RequestBody::of(body, &client, seen)),
            send,
        )
    };
    let mut running = entry
        .start(call, Some(Arc::clone(&client)), || "handle".to_owned(), job)
        .await?;
    match running.answer(receive).await {
        Some(response) => {
            let left = response.headers().get(header::CONTENT_LENGTH);
            let left = left.and_then(|length| length.to_str().ok()?.parse().ok());
            Ok(response.map(|body| ResponseBody {
                body,
                running: Some(running),
                version: Arc::clone(version),
                client,
                left,
                _copied: copied,
            }))
        }
        None => match running.ended().await {
            Err(error) => Err(error),
            Ok(()) => Err(CallError::Cancelled(component.clone())),
        },
    }
}

/// By `wasi:http`, with a stream for each body.
fn streamed(request: Request, send: oneshot::Sender<http::Response<WasiBody>>) -> Job {
    Box::new(move |accessor, bound| {
        async move {
            let service = accessor.with(|mut access| bound.service(&mut access))?;
            let (request, sent) = accessor.with(|mut access| {
                let (request, sent) =
                    WasiRequest::from_http(access.data_mut().http().hooks, request);
                (request, Box::pin(sent) as BoxFuture<'static, _>)
            });
            let answer = service.handle(accessor, request).await?;
            let answer = match answer {
                Ok(response) => accessor.with(|access| response.into_http(access, sent))?,
                Err(code) => {
                    return Err(wasmtime::Error::msg(format!(
                        "the handler answered {code:?}"
                    )));
                }
            };
            Ok(hand_over(answer, send))
        }
        .boxed()
    })
}

fn hand_over(
    answer: http::Response<WasiBody>,
    send: oneshot::Sender<http::Response<WasiBody>>,
) -> Kind {
    let failed = answer.status().is_server_error() || has_failed(answer.headers());
    // Whoever asked may have gone; the body is dropped then, which the guest sees.
    let _ = send.send(answer);
    if failed { Kind::Failed } else { Kind::Done }
}

/// The body of a request, which says when it waits for the client.
struct RequestBody {
    body: WasiBody,
    client: Arc<ClientTime>,
    /// A copy of the request is to be made.
    seen: Option<Arc<Seen>>,
}

impl RequestBody {
    fn of(body: WasiBody, client: &Arc<ClientTime>, seen: Option<Arc<Seen>>) -> WasiBody {
        if body.is_end_stream() {
            if let Some(seen) = seen {
                seen.end();
            }
            return body;
        }
        let client = Arc::clone(client);
        Self { body, client, seen }.boxed_unsync()
    }

    fn see(&self, frame: Option<&Result<Frame<Bytes>, HttpError>>) {
        let Some(seen) = &self.seen else { return };
        if let Some(Ok(frame)) = frame
            && let Some(data) = frame.data_ref()
        {
            seen.data(data);
        }
        if frame.is_none() || self.body.is_end_stream() {
            seen.end();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match frame {
            Poll::Pending => self.client.waits(),
            Poll::Ready(_) => self.client.goes_on(),
        }
        if let Poll::Ready(frame) = &frame {
            self.see(frame.as_ref());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.client.goes_on();
    }
}

/// Whether headers or trailers have a status of gRPC that says what one of 500 and above says over HTTP: UNKNOWN,
/// INTERNAL, UNAVAILABLE or DATA_LOSS. DEADLINE_EXCEEDED does not: what a client waits for is its own choice.
fn has_failed(headers: &HeaderMap) -> bool {
    let status = headers.get("grpc-status").map(HeaderValue::as_bytes);
    matches!(status, Some(b"2" | b"13" | b"14" | b"15"))
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.client.goes_on();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if frame.trailers_ref().is_some_and(has_failed) {
                    let failed = Outcome::new(Kind::Failed, Blame::Version);
                    self.version.stats.failed(failed);
                }
                if let Some(data) = frame.data_ref() {
                    let more = u64::try_from(data.remaining()).unwrap_or(u64::MAX);
                    self.left = self.left.map(|left| left.saturating_sub(more));
                }
                // Until it asks for more.
                self.client.waits();
            }
            Some(Err(_)) => {}
            None => self.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl ResponseBody {
    /// The version whose answer it is.
    pub fn version(&self) -> Digest {
        self.version.component.version
    }

    /// The answer is complete: what the guest still does, it does by itself.
    fn finish(&mut self) {
        self.client.goes_on();
        if let Some(running) = self.running.take() {
            running.let_go();
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // Over HTTP/1.1 nobody asks for the end of a body whose length was said.
        if self.left == Some(0) || self.body.is_end_stream() {
            self.finish();
        }
    }
}

/// A larger request goes by streams.
const WHOLE_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_grpc_that_is_the_components_fault_is_a_failure() {
        let check = |status: Option<&'static str>, failed| {
            let field = status.map(HeaderValue::from_static);
            let field = field.map(|value| (http::HeaderName::from_static("grpc-status"), value));
            assert_eq!(
                has_failed(&field.into_iter().collect()),
                failed,
                "{status:?}"
            );
        };
        for status in ["2", "13", "14", "15"] {
            check(Some(status), true);
        }
        for status in ["0", "1", "3", "4", "5", "8", "12", "16", "", "x"] {
            check(Some(status), false);
        }
        check(None, false);
    }
}
