//! Requests with their whole bodies, and their answers: the short way in, beside `wasi:http`.
//!
//! A component that answers HTTP exports `wasi:http/handler`. Where it exports `marquee:http/handler` as well, Marquee takes
//! that for requests of at most 64 KiB: one call, without a stream for each body, which is a good part of what a small
//! request costs. Other hosts take the first one. Both lead to one function of the component's, on the types of the crate
//! `http`:
//!
//! ```ignore
//! impl exports::marquee::http::handler::Guest for Component {
//!     async fn handle(request: marquee_guest::http::Request) -> marquee_guest::http::Response {
//!         marquee_guest::http::answer(request, |request| answer(request.map(Body::from))).await
//!     }
//! }
//! ```

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body::Body;
use http_body_util::BodyExt as _;

pub use bindings::marquee::http::types::{Request, Response};

mod bindings {
    #![allow(
        missing_docs,
        reason = "wit-bindgen writes it; what is public of it has the interface's words"
    )]
    wit_bindgen::generate!({
        inline: "
            package marquee:guest-http;

            world guest {
                import marquee:http/types@0.1.0;
            }
        ",
        path: "../wit/marquee-http",
        generate_all,
        generate_unused_types: true,
    });
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
