//! What rating knows of ratings, without a database, a clock or a host.

mod aggregate;
mod event;
mod fold;
mod key;
mod movie;
mod news;
mod page;
mod user;

pub use aggregate::{Aggregate, Histogram};
pub use event::{Change, Event, Record, parse_event_id};
pub use fold::newest;
pub use key::rivals;
pub use movie::{MovieNews, movie_news};
pub use page::{LIMIT_MAX, OfRecord, OfUser, Page, Ranked};
pub use user::{deleted_user, parse_user};

/// A field breaks one of its bounds. The text names both and may be shown to a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    fn new(field: &str, bound: impl std::fmt::Display) -> Self {
        Self(format!("{field} {bound}"))
    }

    /// The time of an act that the clock has not reached.
    pub fn ahead() -> Self {
        Self::new("occurred_at_us", "must not be more than five minutes ahead")
    }
}

/// A list has 1 to so many entries.
pub fn check_count(field: &str, count: usize, most: usize) -> Result<(), Invalid> {
    let rule = || Invalid::new(field, format_args!("must have 1 to {most} entries"));
    (1..=most).contains(&count).then_some(()).ok_or_else(rule)
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
