//! A change to a movie.

use super::{Invalid, Movie, NewMovie};

/// What is to change; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// The new title.
    pub title: Option<String>,
    /// The new year, which may be none.
    pub year: Option<Option<u16>>,
    /// The new description.
    pub description: Option<String>,
    /// The new director.
    pub director: Option<String>,
}

impl Patch {
    /// The movie after the change, one version on, or none where nothing changes. Every bound is checked of what is new;
    /// what stays is as it was kept.
    pub fn apply(&self, to: &Movie) -> Result<Option<Movie>, Invalid> {
        let or = |new: &Option<String>, old: &String| new.as_ref().unwrap_or(old).clone();
        let patched = NewMovie::parse(
            &or(&self.title, &to.title),
            self.year.unwrap_or(to.year),
            &or(&self.description, &to.description),
            &or(&self.director, &to.director),
        )?;
        if patched == to.content() {
            return Ok(None);
        }
        let version = to.version.saturating_add(1);
        Ok(Some(patched.with(to.id, version, to.created_at_ms)))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn movie() -> Movie {
        let new = NewMovie::parse("Alien", Some(1979), "about", "Scott").unwrap();
        new.created(Uuid::from_u128(7), 9)
    }

    #[test]
    fn what_is_named_changes_and_the_rest_stays() {
        let check = |patch: Patch, title: &str, year, description: &str, director: &str| {
            let found = patch.apply(&movie()).unwrap().unwrap();
            let expected = NewMovie::parse(title, year, description, director).unwrap();
            assert_eq!(found, expected.with(movie().id, 2, 9), "{patch:?}");
        };
        let text = |text: &str| Some(text.to_owned());
        let none = Patch::default;
        check(
            Patch {
                title: text(" Aliens "),
                ..none()
            },
            "Aliens",
            Some(1979),
            "about",
            "Scott",
        );
        check(
            Patch {
                year: Some(None),
                ..none()
            },
            "Alien",
            None,
            "about",
            "Scott",
        );
        check(
            Patch {
                year: Some(Some(1986)),
                description: text(""),
                director: text("Cameron"),
                ..none()
            },
            "Alien",
            Some(1986),
            "",
            "Cameron",
        );
    }

    #[test]
    fn what_is_there_already_is_no_change() {
        let same = Patch {
            title: Some("Alien ".to_owned()),
            year: Some(Some(1979)),
            ..Patch::default()
        };
        assert_eq!(same.apply(&movie()), Ok(None));
        assert_eq!(Patch::default().apply(&movie()), Ok(None));
    }

    #[test]
    fn the_bounds_of_a_movie_are_those_of_its_changes() {
        let wrong = Patch {
            title: Some(" ".to_owned()),
            ..Patch::default()
        };
        assert!(wrong.apply(&movie()).is_err());
        let wrong = Patch {
            year: Some(Some(1)),
            ..Patch::default()
        };
        assert!(wrong.apply(&movie()).is_err());
    }
}
