//! What other contexts tell of what is theirs: the envelope that their events have in common.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::Invalid;

/// An event of another context. What it tells beside these is passed over: a context may tell more tomorrow.
#[derive(Deserialize)]
pub(super) struct News<'a> {
    /// What happened. A type that is not known here is nothing to rating.
    #[serde(rename = "type")]
    pub(super) kind: Cow<'a, str>,
    id: Option<Value>,
}

impl<'a> News<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Invalid> {
        serde_json::from_slice(bytes)
            .map_err(|error| Invalid::new("the event", format_args!("cannot be read: {error}")))
    }

    /// The id of what it tells of.
    pub(super) fn subject(&self) -> Result<Uuid, Invalid> {
        let text = self.id.as_ref().and_then(Value::as_str);
        text.and_then(|text| Uuid::try_parse(text).ok())
            .ok_or_else(|| Invalid::new("id", "must be a UUID"))
    }
}
