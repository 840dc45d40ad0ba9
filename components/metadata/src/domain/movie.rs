//! A movie, and what it takes to be one.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use super::{Invalid, text};

/// Most characters of a title and of a director's name.
const NAME_MAX_CHARS: usize = 200;
/// Most characters of a description.
const DESCRIPTION_MAX_CHARS: usize = 4_000;
/// Most bytes of a title in its canonical form, so that it fits an index entry however it is folded. Only a title of
/// many characters that fall apart in that form comes near it.
const TITLE_MAX_BYTES: usize = 1_000;
/// When the first film was made is disputed; that none was before is not.
const YEARS: std::ops::RangeInclusive<u16> = 1870..=2200;

/// A movie as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movie {
    /// A UUIDv7.
    pub id: Uuid,
    /// 1 to 200 characters, without blanks at either end.
    pub title: String,
    /// 1870 to 2200.
    pub year: Option<u16>,
    /// At most 4,000 characters.
    pub description: String,
    /// 1 to 200 characters, without blanks at either end.
    pub director: String,
    /// 1 at the creation, one more with every change.
    pub version: u64,
    /// Milliseconds since 1970, by the database's clock.
    pub created_at_ms: u64,
}

impl Movie {
    /// The event `movie.updated`, with what the movie is now.
    pub fn updated_event(&self) -> String {
        event("movie.updated", self.id, &self.content(), self.version)
    }

    /// What a client says of it.
    pub(super) fn content(&self) -> NewMovie {
        NewMovie {
            title: self.title.clone(),
            year: self.year,
            description: self.description.clone(),
            director: self.director.clone(),
        }
    }
}

/// The event `movie.deleted`.
pub fn deleted_event(id: Uuid) -> String {
    json!({ "type": "movie.deleted", "id": id }).to_string()
}

/// A movie before it has an id; every bound holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NewMovie {
    title: String,
    year: Option<u16>,
    description: String,
    director: String,
}

impl NewMovie {
    /// Take the outer blanks off title and director, and check every bound.
    pub fn parse(
        title: &str,
        year: Option<u16>,
        description: &str,
        director: &str,
    ) -> Result<Self, Invalid> {
        text("description", description, DESCRIPTION_MAX_CHARS)?;
        Ok(Self {
            title: self::title(title)?.to_owned(),
            year: year.map(self::year).transpose()?,
            description: description.to_owned(),
            director: name("director", director)?.to_owned(),
        })
    }

    /// The title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The year.
    pub fn year(&self) -> Option<u16> {
        self.year
    }

    /// The description.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The director.
    pub fn director(&self) -> &str {
        &self.director
    }

    /// The movie that it became under this id at this time.
    pub fn created(self, id: Uuid, created_at_ms: u64) -> Movie {
        self.with(id, 1, created_at_ms)
    }

    /// The event `movie.created`.
    pub fn created_event(&self, id: Uuid) -> String {
        event("movie.created", id, self, 1)
    }

    /// SHA-256 of all of it: another movie has another one.
    pub fn digest(&self) -> [u8; 32] {
        let fields = json!([self.title, self.year, self.description, self.director]);
        Sha256::digest(fields.to_string()).into()
    }

    pub(super) fn with(self, id: Uuid, version: u64, created_at_ms: u64) -> Movie {
        Movie {
            id,
            title: self.title,
            year: self.year,
            description: self.description,
            director: self.director,
            version,
            created_at_ms,
        }
    }
}

fn event(kind: &str, id: Uuid, movie: &NewMovie, version: u64) -> String {
    json!({
        "type": kind,
        "id": id,
        "title": movie.title,
        "year": movie.year,
        "description": movie.description,
        "director": movie.director,
        "version": version,
    })
    .to_string()
}

fn title(text: &str) -> Result<&str, Invalid> {
    let title = name("title", text)?;
    if title.nfc().map(char::len_utf8).sum::<usize>() > TITLE_MAX_BYTES {
        return Err(Invalid::new(
            "title",
            format_args!("must have at most {TITLE_MAX_BYTES} bytes in its canonical form"),
        ));
    }
    Ok(title)
}

fn name<'a>(field: &str, text: &'a str) -> Result<&'a str, Invalid> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > NAME_MAX_CHARS {
        return Err(Invalid::new(
            field,
            format_args!("must have 1 to {NAME_MAX_CHARS} characters"),
        ));
    }
    super::text(field, text, NAME_MAX_CHARS)?;
    Ok(text)
}

pub(super) fn year(year: u16) -> Result<u16, Invalid> {
    if YEARS.contains(&year) {
        return Ok(year);
    }
    let (first, last) = (YEARS.start(), YEARS.end());
    Err(Invalid::new(
        "year",
        format_args!("must be {first} to {last}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(title: &str, description: &str, director: &str) -> Result<NewMovie, Invalid> {
        NewMovie::parse(title, Some(1979), description, director)
    }

    #[test]
    fn bounds_are_counted_in_characters_after_the_blanks_are_off() {
        let check = |title: &str, description: &str, director: &str, field: Option<&str>| {
            let found = parse(title, description, director).err();
            let found = found
                .as_ref()
                .map(|invalid| invalid.0.split(' ').next().unwrap());
            assert_eq!(found, field, "{title:.20} {description:.20} {director:.20}");
        };
        let long = |count| "é".repeat(count);
        check("t", "", "d", None);
        check("  t\u{3000}\n", "", "\td ", None);
        check("", "", "d", Some("title"));
        check(" \u{a0}\n", "", "d", Some("title"));
        check("t", "", " ", Some("director"));
        check(&long(200), &long(4_000), &long(200), None);
        check(&format!(" {} ", long(200)), "", "d", None);
        check(&long(201), "", "d", Some("title"));
        check("t", &long(4_001), "d", Some("description"));
        check("t", "", &long(201), Some("director"));
        check("a\0b", "", "d", Some("title"));
        check("\0", "", "d", Some("title"));
        check("t", "\0", "d", Some("description"));
        check("t", "", "d\0", Some("director"));
        check(&"😀".repeat(200), "", "d", None);
        // Each of these is three characters in the canonical form, twelve bytes.
        check(&"\u{1d160}".repeat(200), "", "d", Some("title"));
    }

    #[test]
    fn a_year_is_one_in_which_a_movie_can_be() {
        let check = |year, good| {
            assert_eq!(
                NewMovie::parse("t", year, "", "d").is_ok(),
                good,
                "{year:?}"
            );
        };
        check(None, true);
        check(Some(1870), true);
        check(Some(2200), true);
        check(Some(1869), false);
        check(Some(2201), false);
        check(Some(0), false);
    }

    #[test]
    fn a_movie_is_kept_as_it_was_sent_but_for_the_outer_blanks() {
        let id = Uuid::from_u128(7);
        let movie = parse(" Ame\u{301}lie ", " x ", " J ")
            .unwrap()
            .created(id, 9);
        assert_eq!(
            movie,
            Movie {
                id,
                title: "Ame\u{301}lie".into(),
                year: Some(1979),
                description: " x ".into(),
                director: "J".into(),
                version: 1,
                created_at_ms: 9,
            }
        );
    }

    #[test]
    fn the_events_have_every_field_by_name() {
        let new = parse("A \"b\"", "line\n", "D").unwrap();
        let id = Uuid::from_u128(1);
        let mut expected = json!({
            "type": "movie.created",
            "id": "00000000-0000-0000-0000-000000000001",
            "title": "A \"b\"",
            "year": 1979,
            "description": "line\n",
            "director": "D",
            "version": 1,
        });
        let read = |event: String| serde_json::from_str::<serde_json::Value>(&event).unwrap();
        assert_eq!(read(new.created_event(id)), expected);
        expected["type"] = "movie.updated".into();
        expected["version"] = 3.into();
        assert_eq!(read(new.with(id, 3, 0).updated_event()), expected);
    }

    #[test]
    fn the_digest_tells_movies_apart_and_knows_one_again() {
        let of = |title: &str, year, description: &str, director: &str| {
            NewMovie::parse(title, year, description, director)
                .unwrap()
                .digest()
        };
        let one = of("a", None, "b", "c");
        assert_eq!(one, of(" a ", None, "b", "c"));
        for other in [
            of("A", None, "b", "c"),
            of("a", Some(1979), "b", "c"),
            of("a", None, "", "bc"),
            of("a", None, "b", "d"),
        ] {
            assert_ne!(one, other);
        }
    }
}
