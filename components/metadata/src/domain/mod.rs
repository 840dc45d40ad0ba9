//! What metadata knows of movies, without a database, a clock or a host.
//!
//! How titles are compared is not here: the database has the one rule (`movie_title_fold` and `movie_title_words` of the
//! migrations), because it must hold for rows of every version of the component.

mod ids;
mod key;
mod movie;
mod patch;
mod selection;

pub use ids::{Ids, parse_id};
pub use key::Key;
pub use movie::{Movie, NewMovie, deleted_event};
pub use patch::Patch;
pub use selection::{LIMIT_MAX, Part, Position, Selection, Sort};

/// A field breaks one of its bounds. The text names both and may be shown to a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    pub(crate) fn new(field: &str, bound: impl std::fmt::Display) -> Self {
        Self(format!("{field} {bound}"))
    }
}

/// Most movies of one creation.
pub const BATCH_MAX: usize = 100;

/// Refuse what PostgreSQL cannot keep in a text, and what is too long.
fn text(field: &str, text: &str, max_chars: usize) -> Result<(), Invalid> {
    if text.contains('\0') {
        return Err(Invalid::new(field, "must not have the character U+0000"));
    }
    if text.chars().count() > max_chars {
        return Err(Invalid::new(
            field,
            format_args!("must have at most {max_chars} characters"),
        ));
    }
    Ok(())
}
