//! What rating wants to know of a movie: that there is one, and that it is gone.

use super::{Invalid, Record, event::MOVIE, news::News};

/// What an event of topic `metadata` means here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MovieNews {
    /// The record can be rated from now on.
    Created(Record),
    /// The record is gone, for ever.
    Deleted(Record),
    /// Nothing: a movie was corrected, or something of which this version knows nothing happened.
    Other,
}

/// Reads an event of topic `metadata`.
pub fn movie_news(bytes: &[u8]) -> Result<MovieNews, Invalid> {
    let news = News::read(bytes)?;
    let record = || Record::parse(MOVIE, &news.subject()?.to_string());
    Ok(match news.kind.as_ref() {
        "movie.created" => MovieNews::Created(record()?),
        "movie.deleted" => MovieNews::Deleted(record()?),
        _ => MovieNews::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_movie_is_a_record_by_its_id_and_other_news_are_nothing() {
        let check = |text: &str, expected: Option<MovieNews>| {
            assert_eq!(movie_news(text.as_bytes()).ok(), expected, "{text}");
        };
        let id = "0192f0c1-2345-7abc-8def-0123456789ab";
        let record = || Record::parse("movie", id).unwrap();
        check(
            &format!(r#"{{"type":"movie.created","id":"{id}","title":"T","new":1}}"#),
            Some(MovieNews::Created(record())),
        );
        check(
            &format!(r#"{{"type":"movie.created","id":"{}"}}"#, id.to_uppercase()),
            Some(MovieNews::Created(record())),
        );
        check(
            &format!(r#"{{"type":"movie.deleted","id":"{id}","version":3}}"#),
            Some(MovieNews::Deleted(record())),
        );
        for text in [
            format!(r#"{{"type":"movie.updated","id":"{id}"}}"#),
            r#"{"type":"series.created","id":7}"#.to_owned(),
            r#"{"type":"catalogue.reordered"}"#.to_owned(),
        ] {
            check(&text, Some(MovieNews::Other));
        }
        check(&format!(r#"{{"id":"{id}"}}"#), None);
        check(r#"{"type":"movie.created","id":"7"}"#, None);
        check(r#"{"type":"movie.created","id":7}"#, None);
        check(r#"{"type":"movie.created"}"#, None);
        check("", None);
    }
}
