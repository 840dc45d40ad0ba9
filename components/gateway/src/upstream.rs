//! What the gateway asks of others, through the component's imports: of movies, `movies`; of ratings and the bus,
//! `ratings`; of users, `users`.

pub(crate) mod movies;
pub(crate) mod ratings;
pub(crate) mod users;

use marquee_problem::{INVALID_PARAMETER, OUT_OF_BOUNDS};

use crate::failure::Failure;

pub(crate) use ratings::Aggregate;
pub(crate) use users::{Principal, Role};

/// A page, and where the next one begins.
pub(crate) type Page<T> = (Vec<T>, Option<String>);

/// A value that its owner refused stands in the URL, where everything that is wrong is 400.
fn in_url(error: impl Into<Failure>) -> Failure {
    let failure: Failure = error.into();
    if failure.problem.kind == OUT_OF_BOUNDS.uri {
        return Failure::refused(&INVALID_PARAMETER, failure.problem.detail.into_owned());
    }
    failure
}
