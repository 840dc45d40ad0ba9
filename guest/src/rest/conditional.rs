//! Conditional requests (RFC 9110, 13): what a client has already is not sent again, and what has changed meanwhile is
//! not changed.
//!
//! Every answer with JSON to GET or HEAD has an `ETag`: the one that its route gives, which may be a version, or a digest of the body. It
//! may be kept by whoever asked, and is to be asked for again with `If-None-Match` before it is used.

use axum::{
    body::{Body, to_bytes},
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};
use headers::{ETag, HeaderMapExt as _, IfMatch, IfNoneMatch};
use marquee_problem::INVALID_PARAMETER;
use sha2::{Digest as _, Sha256};
use utoipa::{
    IntoParams,
    openapi::path::{Parameter, ParameterIn},
};

use super::{Failure, check_json, document::header_parameter};

/// The header with the tag of a version.
pub fn version_tag(version: u64) -> (HeaderName, String) {
    (header::ETAG, format!("\"{version}\""))
}

/// Which version may be changed: what `If-Match` asks for, if it is there.
#[derive(Debug)]
pub struct Expected(Option<IfMatch>);

impl Expected {
    /// Whether some tags are asked for, so that the version must be looked up.
    pub fn is_any(&self) -> bool {
        self.0.as_ref().is_none_or(IfMatch::is_any)
    }

    /// Whether this version is one that may be changed. The comparison is the strong one.
    pub fn is(&self, version: u64) -> bool {
        let tag: Option<ETag> = format!("\"{version}\"").parse().ok();
        let passes = |expected: &IfMatch| tag.is_some_and(|tag| expected.precondition_passes(&tag));
        self.0.as_ref().is_none_or(passes)
    }
}

impl<S: Sync> FromRequestParts<S> for Expected {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        check_json(&parts.headers)?;
        let expected = parts.headers.typed_try_get();
        expected.map(Self).map_err(|_| {
            let detail = "`If-Match` must be `*` or tags in quotation marks";
            INVALID_PARAMETER.with(detail).into()
        })
    }
}

impl IntoParams for Expected {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![header_parameter("If-Match", "The `ETag` as it was seen.")]
    }
}

/// Gives an answer its tag, and takes the content from it that the client has.
pub(super) async fn answer(method: &Method, request: &HeaderMap, response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_json = kind.is_some_and(|kind| kind == mime::APPLICATION_JSON.as_ref());
    let is_read = [Method::GET, Method::HEAD].contains(method);
    if !is_json || !is_read || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // It is in memory already, and so it cannot fail.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    if !parts.headers.contains_key(header::ETAG)
        && let Ok(tag) = HeaderValue::try_from(digest(&bytes))
    {
        parts.headers.insert(header::ETAG, tag);
    }
    let kept = match request.contains_key(header::AUTHORIZATION) {
        true => HeaderValue::from_static("private, no-cache"),
        false => HeaderValue::from_static("no-cache"),
    };
    parts.headers.entry(header::CACHE_CONTROL).or_insert(kept);
    let wanted: Option<IfNoneMatch> = request.typed_get();
    let tag: Option<ETag> = parts.headers.typed_get();
    let has = wanted
        .zip(tag)
        .is_some_and(|(wanted, tag)| !wanted.precondition_passes(&tag));
    if !has {
        return Response::from_parts(parts, Body::from(bytes));
    }
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}

/// 16 bytes of a digest tell bodies apart.
fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    format!("\"{}\"", hex::encode(digest.get(..16).unwrap_or_default()))
}

#[cfg(test)]
#[path = "conditional_tests.rs"]
mod tests;
