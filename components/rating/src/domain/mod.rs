//! What rating knows of ratings, without a database, a clock or a host.

mod aggregate;
mod event;
mod fold;
mod movie;
mod news;
mod page;
mod user;

pub use aggregate::Aggregate;
pub use event::{Change, Event, Record};
pub use fold::newest;
pub use movie::created_movie;
pub use page::{LIMIT_MAX, PageQuery, Position};
pub use user::{deleted_user, parse_user};

/// A field breaks one of its bounds. The text names both and may be shown to a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    fn new(field: &str, bound: impl std::fmt::Display) -> Self {
        Self(format!("{field} {bound}"))
    }
}

/// A name as other contexts give it: some bytes, and none that PostgreSQL cannot keep.
fn check_name(field: &str, text: &str, max_bytes: usize) -> Result<(), Invalid> {
    if text.is_empty() || text.len() > max_bytes {
        return Err(Invalid::new(
            field,
            format_args!("must have 1 to {max_bytes} bytes"),
        ));
    }
    if text.contains('\0') {
        return Err(Invalid::new(field, "must not have the character U+0000"));
    }
    Ok(())
}
