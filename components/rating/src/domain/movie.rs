//! What rating wants to know of a movie: that there is one.

use super::{Invalid, Record, event::MOVIE, news};

/// Reads an event of topic `metadata`: the record that can be rated from now on.
pub fn created_movie(bytes: &[u8]) -> Result<Record, Invalid> {
    let id = news::subject(bytes, "movie.created")?;
    Record::parse(MOVIE, &id.to_string())
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
