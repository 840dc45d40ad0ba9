//! Movies, and what a submitted one must look like.

use serde::Serialize;

use super::Invalid;

/// Most characters of a title.
pub const TITLE_MAX_CHARS: usize = 200;
/// Most characters of a description.
pub const DESCRIPTION_MAX_CHARS: usize = 4_000;
/// Most characters of a director's name.
pub const DIRECTOR_MAX_CHARS: usize = 200;

/// A movie as the metadata component keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Movie {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it is about; may be empty.
    pub description: String,
    /// Who directed it.
    pub director: String,
}

/// A stretch of movies in the order of their titles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MoviePage {
    /// The movies.
    pub movies: Vec<Movie>,
    /// Where the next page begins; none on the last one.
    pub next: Option<String>,
}

/// A movie that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMovie {
    title: String,
    description: String,
    director: String,
}

impl NewMovie {
    /// Checks the fields, and takes off the outer blanks of title and director. Every other character means
    /// itself: nothing is normalised, stripped or escaped.
    pub fn new(title: &str, description: &str, director: &str) -> Result<Self, Invalid> {
        Ok(Self {
            title: name("title", title, TITLE_MAX_CHARS)?,
            description: {
                if description.chars().count() > DESCRIPTION_MAX_CHARS {
                    let reason = format!("must have at most {DESCRIPTION_MAX_CHARS} characters");
                    return Err(Invalid::out_of_bounds("description", reason));
                }
                description.to_owned()
            },
            director: name("director", director, DIRECTOR_MAX_CHARS)?,
        })
    }

    /// 1 to 200 characters without outer blanks.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// 0 to 4,000 characters.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// 1 to 200 characters without outer blanks.
    pub fn director(&self) -> &str {
        &self.director
    }
}

/// The upper bound counts what was sent, as a JSON Schema does; the lower one what is left of it.
fn name(field: &'static str, text: &str, max_chars: usize) -> Result<String, Invalid> {
    let name = text.trim();
    if name.is_empty() || text.chars().count() > max_chars {
        let reason = format!("must have 1 to {max_chars} characters and not only blanks");
        return Err(Invalid::out_of_bounds(field, reason));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outer_blanks_of_title_and_director_are_taken_off() {
        let movie = NewMovie::new("  Playtime\t", " a glass city ", "\u{a0}Tati ").unwrap();
        assert_eq!(
            (movie.title(), movie.description(), movie.director()),
            ("Playtime", " a glass city ", "Tati")
        );
    }

    #[test]
    fn bounds_count_characters_not_bytes() {
        let widest = "🎬".repeat(TITLE_MAX_CHARS);
        assert!(NewMovie::new(&widest, "", "x").is_ok());
        assert!(NewMovie::new("x", &"é".repeat(DESCRIPTION_MAX_CHARS), "x").is_ok());
        assert!(NewMovie::new("x", "", &"ß".repeat(DIRECTOR_MAX_CHARS)).is_ok());
    }

    #[test]
    fn a_value_over_its_bound_is_refused_by_the_name_of_its_field() {
        let long = "x".repeat(201);
        let check = |title: &str, description: &str, director: &str| {
            NewMovie::new(title, description, director)
                .unwrap_err()
                .field
        };
        assert_eq!(check("", "", "x"), "title");
        assert_eq!(check(&format!("x{}", " ".repeat(200)), "", "x"), "title");
        assert_eq!(check(" \n ", "", "x"), "title");
        assert_eq!(check(&long, "", "x"), "title");
        assert_eq!(check("x", &"x".repeat(4_001), "x"), "description");
        assert_eq!(check("x", "", ""), "director");
        assert_eq!(check("x", "", &long), "director");
    }
}
