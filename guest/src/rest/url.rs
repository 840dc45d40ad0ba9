//! Reading the URL. Everything that is wrong in it is 400; a query parameter that a route does not know is none of its
//! business and passed over.

use std::{borrow::Cow, error::Error};

use axum::{
    extract::{self, FromRequestParts, RawPathParams},
    http::{Uri, request::Parts, uri::PathAndQuery},
};
use marquee_problem::INVALID_PARAMETER;
use serde::de::{
    DeserializeOwned,
    value::{self, MapDeserializer},
};

use super::{
    Failure,
    accept::{JSON, check_accept},
    body::field_of,
};

/// The values in the path.
#[derive(Debug)]
pub struct Path<T>(pub T);

/// The parameters of the query, each at most once.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// What a value is not, and where it stands.
type Misread = serde_path_to_error::Error<value::Error>;

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        check_accept(&parts.headers, JSON)?;
        let values = RawPathParams::from_request_parts(parts, state).await;
        let values = values.map_err(|rejection| refused(rejection.body_text()))?;
        let read = serde_path_to_error::deserialize(MapDeserializer::new(values.iter()));
        read.map(Self).map_err(|misread| of(&misread))
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        check_accept(&parts.headers, JSON)?;
        let extract::Query(read) =
            extract::Query::try_from_uri(&parts.uri).map_err(|rejection| {
                // It stands two deep.
                let cause = rejection.source().and_then(Error::source);
                let misread = cause.and_then(|error| error.downcast_ref::<Misread>());
                misread.map_or_else(|| refused(rejection.body_text()), of)
            })?;
        Ok(Self(read))
    }
}

fn of(misread: &Misread) -> Failure {
    let (path, rule) = (misread.path().to_string(), misread.inner().to_string());
    match field_of(&path, &rule) {
        Some(field) => Failure::of(&INVALID_PARAMETER, field, &rule),
        None => refused(rule),
    }
}

fn refused(detail: impl Into<Cow<'static, str>>) -> Failure {
    INVALID_PARAMETER.with(detail).into()
}

/// Refuses wrong escapes, bytes that are not UTF-8, and NUL, wherever they stand: the libraries that decode would let
/// them pass as they stand, or as a replacement character. An empty segment is no value: there is nothing at such a path.
pub(crate) fn check(uri: &Uri) -> Result<(), Failure> {
    let mut decoded = Vec::new();
    let mut rest = uri
        .path_and_query()
        .map_or("", PathAndQuery::as_str)
        .bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let escaped = digit()
            .zip(digit())
            .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        decoded.push(
            escaped.ok_or_else(|| refused("`%` must be followed by two hexadecimal digits"))?,
        );
    }
    match std::str::from_utf8(&decoded) {
        Ok(text) if text.contains('\0') => Err(refused("NUL is not allowed")),
        Ok(_) if uri.path().contains("//") => Err(super::nothing()),
        Ok(_) => Ok(()),
        Err(_) => Err(refused("the URL must be UTF-8")),
    }
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
