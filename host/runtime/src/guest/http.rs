//! `wasi:http/handler@0.3.0`: a request in, a response out.
//!
//! The answer is returned as soon as the guest has it; its body streams on while the call lasts. Whoever drops the
//! response or its body cancels the call.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use marquee_manifest::ComponentId;
use tokio::sync::oneshot;
use wasmtime::{Store, component::Instance};
use wasmtime_wasi_http::{
    Error as HttpError, WasiBody, WasiHttpView as _,
    p3::{Request as WasiRequest, bindings::Service},
};

use crate::{Call, CallError, Runtime, State, load::Loaded, pool::Running};

/// A request for a component.
pub type Request = http::Request<WasiBody>;
/// A component's answer.
pub type Response = http::Response<ResponseBody>;

/// The body of a component's answer. Holds the call that makes it.
pub struct ResponseBody {
    body: WasiBody,
    running: Option<Running>,
    /// Whose answer it is.
    loaded: Arc<Loaded>,
}

/// The interface that a component exports to be asked over HTTP.
pub const HANDLER: &str = "wasi:http/handler@0.3.0";

pub(super) fn fits(store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<()> {
    Service::new(store, instance).map(drop)
}

impl Runtime {
    /// Let a component answer a request.
    pub async fn handle_http(
        &self,
        component: &ComponentId,
        request: Request,
        call: Call,
    ) -> Result<Response, CallError> {
        let loaded = self.0.loaded(component, &call.choice)?;
        let version = Arc::clone(&loaded);
        let (send, receive) = oneshot::channel();
        let job: crate::pool::Job = Box::new(move |accessor, instance| {
            async move {
                let service = accessor.with(|mut access| Service::new(&mut access, instance))?;
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
                if answer.status().is_server_error() || has_failed(answer.headers()) {
                    version.stats.error();
                }
                // Whoever asked may have gone; the body is dropped then, which the guest sees.
                let _ = send.send(answer);
                Ok(())
            }
            .boxed()
        });
        let running = loaded.pool.start(&self.0, &loaded, call, job).await?;
        match receive.await {
            Ok(response) => Ok(response.map(|body| ResponseBody {
                body,
                running: Some(running),
                loaded,
            })),
            Err(_) => match running.ended().await {
                Err(error) => Err(error),
                Ok(()) => Err(CallError::Cancelled(component.clone())),
            },
        }
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
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) if frame.trailers_ref().is_some_and(has_failed) => {
                self.loaded.stats.error();
            }
            Poll::Ready(None) => self.finish(),
            _ => {}
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

impl ResponseBody {
    /// The answer is complete: what the guest still does, it does by itself.
    fn finish(&mut self) {
        if let Some(running) = self.running.take() {
            running.let_go();
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.finish();
        }
    }
}

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
