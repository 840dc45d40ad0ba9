//! Reading a request's body: one JSON object of known fields, each once, or a list of them; at most 64 KiB, read at most
//! once.

use std::error::Error as _;

use axum::{
    body::{HttpBody as _, to_bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use http_body_util::LengthLimitError;
use marquee_problem as problem;
use mime::Mime;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{
    Failure,
    accept::{JSON, check_accept},
    only,
};

/// A body as a route takes it: one object.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        read(request, &[JSON_TYPE], OBJECT).await.map(Self)
    }
}

/// A list of objects. How many, its route judges.
#[derive(Debug)]
pub struct List<T>(pub Vec<T>);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for List<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        read(request, &[JSON_TYPE], LIST).await.map(Self)
    }
}

/// What is to change of something (RFC 7396): one object, of this media type or of JSON's.
#[derive(Debug)]
pub struct MergePatch<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for MergePatch<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        read(
            request,
            &[JSON_TYPE, "application/merge-patch+json"],
            OBJECT,
        )
        .await
        .map(Self)
    }
}

/// For a field of a patch (`#[serde(default, deserialize_with = "present")]`): whatever is there, null too, is told from what
/// is not.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A text without NUL: nothing that keeps texts could keep it.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Text(pub String);

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let clean = !text.contains('\0');
        clean.then_some(Self(text)).ok_or("must not contain NUL")
    }
}

/// A number without a fractional part, however it is written (`5`, `5.0`, `5e0`), as JSON Schema has it. Exact within
/// every bound that a route has.
#[derive(Debug, Deserialize)]
#[serde(try_from = "f64")]
pub struct Whole(pub f64);

impl TryFrom<f64> for Whole {
    type Error = &'static str;

    fn try_from(number: f64) -> Result<Self, Self::Error> {
        let whole = number.fract() == 0.0;
        whole.then_some(Self(number)).ok_or("must be an integer")
    }
}

/// What a body begins with, and what it is called.
type Shape = (&'static [u8], &'static str);
const OBJECT: Shape = (b"{", "the body must be a JSON object");
const LIST: Shape = (b"[", "the body must be a JSON array");
const JSON_TYPE: &str = "application/json";

async fn read<T: DeserializeOwned>(
    request: Request,
    types: &[&str],
    shape: Shape,
) -> Result<T, Failure> {
    let (parts, body) = request.into_parts();
    check_accept(&parts.headers, JSON)?;
    check_media_type(&parts.headers, types)?;
    // By what the client says of it, nothing is read.
    if body
        .size_hint()
        .upper()
        .is_some_and(|size| size > MAX_BYTES as u64)
    {
        return Err(too_large());
    }
    let bytes = to_bytes(body, MAX_BYTES).await.map_err(|error| {
        match error
            .source()
            .is_some_and(|source| source.is::<LengthLimitError>())
        {
            true => too_large(),
            false => malformed("the body ended too early"),
        }
    })?;
    parse(&bytes, shape)
}

/// A body that is not JSON is told so whatever else is wrong with it.
fn parse<T: DeserializeOwned>(bytes: &[u8], shape: Shape) -> Result<T, Failure> {
    shaped(bytes, shape).map_err(|failure| {
        match serde_json::from_slice::<serde_json::Value>(bytes) {
            Err(error) => malformed(format!("the body is not JSON: {error}")),
            Ok(_) => failure,
        }
    })
}

fn shaped<T: DeserializeOwned>(bytes: &[u8], (first, rule): Shape) -> Result<T, Failure> {
    // Read into a struct, an array would be taken for its fields' values.
    if !bytes.trim_ascii_start().starts_with(first) {
        return Err(problem::WRONG_SHAPE.with(rule).into());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // Neither what a client sent nor the list of all fields is repeated at length.
        let text = error.inner().to_string();
        let text: String = text.chars().take(SHOWN_CHARS).collect();
        match field_of(&error.path().to_string(), &text) {
            Some(field) => Failure::of(&problem::WRONG_SHAPE, field, &text),
            None => problem::WRONG_SHAPE.with(text).into(),
        }
    })?;
    deserializer
        .end()
        .map_err(|error| malformed(error.to_string()))?;
    Ok(value)
}

/// The known field that an error of serde's is about: by its path, or by its text where the field itself is at fault.
pub(super) fn field_of<'a>(path: &'a str, text: &'a str) -> Option<&'a str> {
    if text.starts_with("missing field") || text.starts_with("duplicate field") {
        text.split('`').nth(1)
    } else {
        Some(path).filter(|path| !path.starts_with('.') && !text.starts_with("unknown field"))
    }
}

fn check_media_type(headers: &HeaderMap, types: &[&str]) -> Result<(), Failure> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let plain = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"identity");
    let media_type = only(headers, &header::CONTENT_TYPE).map(str::parse::<Mime>);
    let utf_8 = |(name, value)| name == mime::CHARSET && value == mime::UTF_8;
    let detail = match media_type {
        _ if !codings.all(|coding| plain(coding.as_bytes())) => {
            "a body must not be encoded (Content-Encoding)"
        }
        Some(Ok(own)) if types.contains(&own.essence_str()) && own.params().all(utf_8) => {
            return Ok(());
        }
        _ => "a body must have Content-Type application/json, in UTF-8",
    };
    Err(problem::UNSUPPORTED_MEDIA_TYPE.with(detail).into())
}

fn too_large() -> Failure {
    problem::BODY_TOO_LARGE
        .with("a body has at most 65,536 bytes")
        .into()
}

fn malformed(detail: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    problem::MALFORMED_BODY.with(detail).into()
}

/// Most bytes of a body: what Marquee hands over in one piece.
const MAX_BYTES: usize = 64 * 1024;
/// Most characters that an answer repeats of what is wrong.
const SHOWN_CHARS: usize = 200;

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
