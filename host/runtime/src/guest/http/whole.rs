//! `marquee:http/handler@0.1.0`: a whole request in, a whole answer out.

use std::{convert::Infallible, sync::Arc, time::Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Full};
use marquee_manifest::ComponentId;
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;

use super::{Request, hand_over};
use crate::{
    CallError, bindings::whole::exports::marquee::http::handler as wit, instance::Job, shadow::Seen,
};

/// Read the request, and say what is to be done with it.
pub(super) async fn job(
    component: &ComponentId,
    request: Request,
    deadline: Instant,
    seen: Option<Arc<Seen>>,
    send: oneshot::Sender<http::Response<WasiBody>>,
) -> Result<Job, CallError> {
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout_at(deadline.into(), body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        // It broke off, or did not come.
        _ => return Err(CallError::Client(component.clone())),
    };
    if let Some(seen) = seen {
        seen.data(&body);
        seen.end();
    }
    let request = wit::Request {
        method: parts.method.as_str().to_owned(),
        url: parts.uri.to_string(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| wit::Field {
                name: name.as_str().to_owned(),
                value: value.as_bytes().to_owned(),
            })
            .collect(),
        body: body.into(),
    };
    Ok(Box::new(move |accessor, bound| {
        async move {
            let service = accessor.with(|mut access| bound.whole(&mut access))?;
            let handler = service.marquee_http_handler();
            let answer = handler.call_handle(accessor, request).await?;
            let answer = read(answer).map_err(wasmtime::Error::new)?;
            Ok(hand_over(answer, send))
        }
        .boxed()
    }))
}

fn read(answer: wit::Response) -> http::Result<http::Response<WasiBody>> {
    let trailers = fields(answer.trailers)?;
    let body = Full::new(Bytes::from(answer.body));
    let body = match trailers.is_empty() {
        true => body.map_err(never).boxed_unsync(),
        false => {
            let trailers = std::future::ready(Some(Ok(trailers)));
            body.with_trailers(trailers).map_err(never).boxed_unsync()
        }
    };
    let mut response = http::Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status)?;
    *response.headers_mut() = fields(answer.headers)?;
    Ok(response)
}

fn never(never: Infallible) -> wasmtime_wasi_http::Error {
    match never {}
}

fn fields(fields: Vec<wit::Field>) -> http::Result<HeaderMap> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for wit::Field { name, value } in fields {
        let value = HeaderValue::from_maybe_shared(Bytes::from(value))?;
        map.append(HeaderName::try_from(name)?, value);
    }
    Ok(map)
}
