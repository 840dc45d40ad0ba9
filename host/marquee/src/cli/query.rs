//! What a verb asks for, as the query of a URL.

use serde::Serialize;

use super::text::text;

/// Of a document's fields, those that are set.
pub(super) fn query(wanted: &impl Serialize) -> anyhow::Result<String> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let fields = serde_json::to_value(wanted)?;
    for (name, value) in fields.as_object().into_iter().flatten() {
        if !value.is_null() {
            query.append_pair(name, &text(value));
        }
    }
    Ok(query.finish())
}
