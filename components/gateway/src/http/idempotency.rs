//! `Idempotency-Key`: names one act, so that a request that is sent again counts once.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use marquee_problem::INVALID_PARAMETER;

use super::{IDEMPOTENCY_KEY, check_json, only};
use crate::failure::Failure;

/// The key, where there is one: 1 to 200 visible characters of ASCII, taken as they are.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl IdempotencyKey {
    /// The key among headers, or among the metadata of a call of gRPC.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        if !headers.contains_key(IDEMPOTENCY_KEY) {
            return Ok(Self(None));
        }
        let key = only(headers, &IDEMPOTENCY_KEY).filter(|key| {
            (1..=MAX_CHARS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
        });
        key.map(|key| Self(Some(key.to_owned()))).ok_or_else(|| {
            let detail = "`Idempotency-Key` must have 1 to 200 visible characters of ASCII, once";
            INVALID_PARAMETER.with(detail).into()
        })
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        check_json(&parts.headers)?;
        Self::of(&parts.headers)
    }
}

const MAX_CHARS: usize = 200;
