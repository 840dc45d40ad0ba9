//! Requests with their whole bodies, and their answers: the short way in, beside `wasi:http`.
//!
//! A component that answers HTTP exports `wasi:http/handler`. Where it exports `marquee:http/handler` as well, Marquee takes
//! that for requests of at most 64 KiB: one call, without a stream for each body, which is a good part of what a small
//! request costs. Other hosts take the first one. Both lead to one function of the component's, on the types of the crate
//! `http`:
//!
//! ```ignore
//! marquee_guest::whole_requests!(Component, |request| answer(request.map(Body::from)));
//! ```
//!
//! Work that goes on after the answer is spawned on the executor of the export that was called: this crate's
//! `wit_bindgen::spawn_local` here, the SDK's there. A component with such work may as well export `wasi:http/handler` alone.
//!
//! The interface's types are its own: a component that took them from an interface of types would import that one, and a host
//! that does not know it would not start the component.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body::Body;
use http_body_util::BodyExt as _;

/// A header or trailer field.
pub type Field = (String, Vec<u8>);

/// What the interface's record of this name has.
#[derive(Debug, Clone)]
pub struct Request {
    /// As it was sent.
    pub method: String,
    /// With scheme and authority.
    pub url: String,
    /// In their order.
    pub headers: Vec<Field>,
    /// The whole of it.
    pub body: Vec<u8>,
}

/// What the interface's record of this name has.
#[derive(Debug, Clone)]
pub struct Response {
    /// From 200 to 599.
    pub status: u16,
    /// In their order.
    pub headers: Vec<Field>,
    /// The whole of it.
    pub body: Vec<u8>,
    /// Fields after the body.
    pub trailers: Vec<Field>,
}

/// Let `handler` answer. What is no request of HTTP is answered with 400; a body that breaks off, with 500.
pub async fn answer<B, F>(
    request: Request,
    handler: impl FnOnce(http::Request<Bytes>) -> F,
) -> Response
where
    F: Future<Output = http::Response<B>>,
    B: Body,
{
    let Some(request) = read(request) else {
        return empty(StatusCode::BAD_REQUEST);
    };
    let (parts, body) = handler(request).await.into_parts();
    let Ok(body) = body.collect().await else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    Response {
        status: parts.status.as_u16(),
        headers: fields(&parts.headers),
        trailers: body.trailers().map(fields).unwrap_or_default(),
        body: body.to_bytes().into(),
    }
}

fn read(request: Request) -> Option<http::Request<Bytes>> {
    let mut read = http::Request::new(Bytes::from(request.body));
    *read.method_mut() = Method::try_from(request.method.as_str()).ok()?;
    *read.uri_mut() = Uri::try_from(request.url).ok()?;
    let headers = read.headers_mut();
    headers.reserve(request.headers.len());
    for (name, value) in request.headers {
        let name = HeaderName::try_from(name).ok()?;
        headers.append(name, HeaderValue::try_from(value).ok()?);
    }
    Some(read)
}

fn empty(status: StatusCode) -> Response {
    Response {
        status: status.as_u16(),
        headers: Vec::new(),
        body: Vec::new(),
        trailers: Vec::new(),
    }
}

fn fields(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), value.as_bytes().to_owned())
    };
    map.iter().map(field).collect()
}

/// Export `marquee:http/handler`: a type, and the function that answers a request with its whole body.
///
/// The world of [`component!`](crate::component) has `export marquee:http/handler@0.1.0`.
#[macro_export]
macro_rules! whole_requests {
    ($component:ident, $handler:expr) => {
        impl bindings::exports::marquee::http::handler::Guest for $component {
            async fn handle(
                request: bindings::exports::marquee::http::handler::Request,
            ) -> bindings::exports::marquee::http::handler::Response {
                use bindings::exports::marquee::http::handler::{Field, Response};
                let plain = |field: Field| (field.name, field.value);
                let fields = |fields: Vec<$crate::http::Field>| {
                    let field = |(name, value)| Field { name, value };
                    fields.into_iter().map(field).collect()
                };
                let request = $crate::http::Request {
                    method: request.method,
                    url: request.url,
                    headers: request.headers.into_iter().map(plain).collect(),
                    body: request.body,
                };
                let response = $crate::http::answer(request, $handler).await;
                Response {
                    status: response.status,
                    headers: fields(response.headers),
                    body: response.body,
                    trailers: fields(response.trailers),
                }
            }
        }
    };
}
