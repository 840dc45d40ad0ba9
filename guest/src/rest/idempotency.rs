//! `Idempotency-Key`: names one act, so that a request that is sent again counts once.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use marquee_problem::INVALID_PARAMETER;
use utoipa::{
    IntoParams,
    openapi::path::{Parameter, ParameterIn},
};

use super::{Failure, IDEMPOTENCY_KEY, check_json, document::header_parameter, only};

/// The key, where there is one: 1 to 200 visible characters of ASCII, taken as they are.
#[derive(Debug)]
pub struct IdempotencyKey(pub Option<String>);

impl IdempotencyKey {
    /// The key among headers, or among the metadata of a call of gRPC.
    pub fn of(headers: &HeaderMap) -> Result<Self, Failure> {
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

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let meaning = "Names this request, of the caller's own: 1 to 200 visible characters.";
        vec![header_parameter("Idempotency-Key", meaning)]
    }
}

const MAX_CHARS: usize = 200;
