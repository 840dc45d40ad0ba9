//! What users knows of users and sessions, without a database, a clock, randomness or a host.

mod attempt;
mod names;
mod token;
mod user;

pub use attempt::Client;
pub use names::{Email, Key, Login, Name};
pub use token::{Access, Digest, Issued, RANDOM_BYTES, Refresh};
pub use user::{NewUser, PasswordHash, Role, User, deleted_event};

/// A field breaks one of its bounds. The text names both and may be shown to a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    fn new(field: &str, bound: impl std::fmt::Display) -> Self {
        Self(format!("{field} {bound}"))
    }
}

/// An id as a client may write it: a UUID in its hyphenated form, of either case.
pub fn parse_id(text: &str) -> Result<uuid::Uuid, Invalid> {
    if text.len() == uuid::fmt::Hyphenated::LENGTH
        && let Ok(id) = uuid::Uuid::try_parse(text)
    {
        return Ok(id);
    }
    Err(Invalid::new("id", "must be a UUID in its hyphenated form"))
}

#[cfg(test)]
mod tests {
    use super::parse_id;

    #[test]
    fn only_the_hyphenated_form_is_an_id() {
        let check = |text: &str, good: bool| assert_eq!(parse_id(text).is_ok(), good, "{text}");
        check("0192f0c1-2345-7abc-8def-0123456789ab", true);
        check("0192F0C1-2345-7ABC-8DEF-0123456789AB", true);
        check("0192f0c123457abc8def0123456789ab", false);
        check("0192f0c1-2345-7abc-8def-0123456789aé", false);
        check("", false);
    }
}
