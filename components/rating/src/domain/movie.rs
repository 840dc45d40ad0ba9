//! What rating wants to know of a movie: that there is one.

use serde::Deserialize;
use uuid::Uuid;

use super::{Invalid, Record, event::MOVIE};

/// Reads an event of topic `metadata`: the record that can be rated from now on. Fields that are not needed here
/// are passed over. A type of event that this version does not know is refused and not forgotten: an operator
/// brings it again once a version that knows it is live.
pub fn created_movie(bytes: &[u8]) -> Result<Record, Invalid> {
    let wire: Wire<'_> = serde_json::from_slice(bytes)
        .map_err(|error| Invalid::new("the event", format_args!("cannot be read: {error}")))?;
    if wire.kind != "movie.created" {
        let kind: String = wire.kind.chars().take(100).collect();
        return Err(Invalid::new(
            "type",
            format_args!("{kind:?} is not known to this version"),
        ));
    }
    Record::parse(MOVIE, &wire.id.to_string())
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    id: Uuid,
}

#[cfg(test)]
mod tests {
    use super::created_movie;

    #[test]
    fn a_created_movie_is_a_record_by_its_id() {
        let check = |text: &str, id: Option<&str>| {
            let found = created_movie(text.as_bytes()).ok();
            assert_eq!(found.as_ref().map(|record| record.id()), id, "{text}");
        };
        let id = "0192f0c1-2345-7abc-8def-0123456789ab";
        check(
            &format!(r#"{{"type":"movie.created","id":"{id}","title":"T","new":1}}"#),
            Some(id),
        );
        check(
            &format!(r#"{{"type":"movie.created","id":"{}"}}"#, id.to_uppercase()),
            Some(id),
        );
        check(&format!(r#"{{"type":"movie.renamed","id":"{id}"}}"#), None);
        check(&format!(r#"{{"id":"{id}"}}"#), None);
        check(r#"{"type":"movie.created","id":"7"}"#, None);
        check(r#"{"type":"movie.created"}"#, None);
        check("", None);
    }
}
