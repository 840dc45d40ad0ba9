//! What the gateway asks of others, through the component's imports: of movies, `movies`; of ratings and the bus,
//! `ratings`; of users, `users`. Their interfaces, what takes more than a call, and which failure an error is.

pub(crate) mod movies;
pub(crate) mod ratings;
pub(crate) mod users;

use marquee_guest::rest::Failure;

pub(crate) use ratings::Aggregate;
pub(crate) use users::Role;

/// A value that its owner refused stands in the URL.
pub(crate) fn in_url(error: impl Into<Failure>) -> Failure {
    error.into().in_url()
}
