//! What other contexts tell of what is theirs: the envelope that their events have in common.

use std::borrow::Cow;

use serde::Deserialize;
use uuid::Uuid;

use super::Invalid;

/// Reads an event of this type: the id of what it tells of. Fields that are not needed here are passed over. A type of
/// event that this version does not know is refused and not forgotten: an operator brings it again once a version that
/// knows it is live.
pub(super) fn subject(bytes: &[u8], of_type: &str) -> Result<Uuid, Invalid> {
    let news: News<'_> = serde_json::from_slice(bytes)
        .map_err(|error| Invalid::new("the event", format_args!("cannot be read: {error}")))?;
    if news.kind != of_type {
        let kind: String = news.kind.chars().take(100).collect();
        return Err(Invalid::new(
            "type",
            format_args!("{kind:?} is not known to this version"),
        ));
    }
    Ok(news.id)
}

#[derive(Deserialize)]
struct News<'a> {
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    id: Uuid,
}
