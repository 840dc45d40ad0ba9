//! A movie, and what it takes to be one.

use uuid::Uuid;

use super::{Invalid, TitleKey, without_nul};

/// Most characters of a title and of a director's name.
const NAME_MAX_CHARS: usize = 200;
/// Most characters of a description.
const DESCRIPTION_MAX_CHARS: usize = 4_000;
/// Most bytes of a title's key, so that it fits an index entry and a cursor. Only a title of a hundred and more
/// characters that fall apart in the canonical form comes near it.
const TITLE_KEY_MAX_BYTES: usize = 1_200;

/// A movie as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movie {
    /// A UUIDv7.
    pub id: Uuid,
    /// 1 to 200 characters, without blanks at either end.
    pub title: String,
    /// At most 4,000 characters.
    pub description: String,
    /// 1 to 200 characters, without blanks at either end.
    pub director: String,
}

impl Movie {
    /// The event `movie.created` as it travels on topic `metadata`.
    pub fn created_event(&self) -> Vec<u8> {
        serde_json::json!({
            "type": "movie.created",
            "id": self.id,
            "title": self.title,
            "description": self.description,
            "director": self.director,
        })
        .to_string()
        .into_bytes()
    }
}

/// A movie before it has an id; every bound holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMovie {
    title: String,
    title_key: TitleKey,
    description: String,
    director: String,
}

impl NewMovie {
    /// Take the outer blanks off title and director, and check every bound.
    pub fn parse(title: &str, description: &str, director: &str) -> Result<Self, Invalid> {
        let title = name("title", title)?;
        let director = name("director", director)?;
        without_nul("description", description)?;
        if description.chars().count() > DESCRIPTION_MAX_CHARS {
            return Err(Invalid::new(
                "description",
                format_args!("must have at most {DESCRIPTION_MAX_CHARS} characters"),
            ));
        }
        let title_key = TitleKey::of(title);
        if title_key.as_str().len() > TITLE_KEY_MAX_BYTES {
            return Err(Invalid::new(
                "title",
                format_args!("must have at most {TITLE_KEY_MAX_BYTES} bytes in its canonical form"),
            ));
        }
        Ok(Self {
            title: title.to_owned(),
            title_key,
            description: description.to_owned(),
            director: director.to_owned(),
        })
    }

    /// The title as it is compared.
    pub fn title_key(&self) -> &TitleKey {
        &self.title_key
    }

    /// The movie that it becomes under this id.
    pub fn with_id(&self, id: Uuid) -> Movie {
        Movie {
            id,
            title: self.title.clone(),
            description: self.description.clone(),
            director: self.director.clone(),
        }
    }
}

fn name<'a>(field: &str, text: &'a str) -> Result<&'a str, Invalid> {
    without_nul(field, text)?;
    let text = text.trim();
    if text.is_empty() || text.chars().count() > NAME_MAX_CHARS {
        return Err(Invalid::new(
            field,
            format_args!("must have 1 to {NAME_MAX_CHARS} characters"),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_counted_in_characters_after_the_blanks_are_off() {
        let check = |title: &str, description: &str, director: &str, field: Option<&str>| {
            let found = NewMovie::parse(title, description, director).err();
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
    fn a_movie_is_kept_as_it_was_sent_but_for_the_outer_blanks() {
        let id = Uuid::from_u128(7);
        let movie = NewMovie::parse(" Ame\u{301}lie ", " x ", " J ")
            .unwrap()
            .with_id(id);
        assert_eq!(
            movie,
            Movie {
                id,
                title: "Ame\u{301}lie".into(),
                description: " x ".into(),
                director: "J".into()
            }
        );
    }

    #[test]
    fn the_event_has_every_field_by_name() {
        let movie = NewMovie::parse("A \"b\"", "line\n", "D")
            .unwrap()
            .with_id(Uuid::from_u128(1));
        let event: serde_json::Value = serde_json::from_slice(&movie.created_event()).unwrap();
        assert_eq!(
            event,
            serde_json::json!({
                "type": "movie.created",
                "id": "00000000-0000-0000-0000-000000000001",
                "title": "A \"b\"",
                "description": "line\n",
                "director": "D",
            })
        );
    }
}
