//! What the gateway asks of others: the rating component and the bus, through the component's imports. Of movies,
//! `movies`; of users, `users`.

pub(crate) mod movies;
pub(crate) mod users;

use marquee_problem::{INVALID_PARAMETER, OUT_OF_BOUNDS};

use crate::{
    bindings::{
        marquee::messaging::{producer, types as messaging},
        movie::rating::{commands as rating_commands, queries as rating_queries, types as rating},
    },
    domain::{Change, MovieId, RECORD_TYPE, RatingEvent, TOPIC, UserId},
    failure::Failure,
};

pub(crate) use rating::{Aggregate, Rating};
pub(crate) use users::{Principal, Role};

/// A page, and where the next one begins.
pub(crate) type Page<T> = (Vec<T>, Option<String>);

/// What a movie's ratings come to.
pub(crate) async fn aggregate(id: &MovieId) -> Result<Aggregate, Failure> {
    Ok(rating_queries::aggregate_of(RECORD_TYPE.to_owned(), id.0.clone()).await?)
}

/// A page of a user's ratings.
pub(crate) async fn ratings(
    user: UserId,
    after: Option<String>,
    limit: u32,
) -> Result<Page<Rating>, Failure> {
    let page = rating_queries::ratings_by_user(user.0, after, limit)
        .await
        .map_err(in_url)?;
    Ok((page.ratings, page.next))
}

/// Publishes an event. Ok: the bus has it, durably.
pub(crate) async fn publish(event: &RatingEvent) -> Result<(), Failure> {
    let value = serde_json::to_vec(event).map_err(|error| Failure::internal(error.to_string()))?;
    producer::publish(vec![messaging::Outgoing {
        event_id: event.event_id.to_string(),
        topic: TOPIC.to_owned(),
        key: event.record_id.0.clone(),
        value,
        headers: Vec::new(),
    }])
    .await?;
    Ok(())
}

/// Gives an event to the rating component itself. A duplicate means that the bus had it after all, and that it was
/// counted.
pub(crate) async fn submit(event: RatingEvent) -> Result<(), Failure> {
    rating_commands::submit(rating::RatingEvent {
        event_id: event.event_id.to_string(),
        record_id: event.record_id.0,
        record_type: event.record_type.to_owned(),
        user_id: event.user_id.0,
        change: match event.change {
            Change::Put(value) => rating::Change::Put(value),
            Change::Delete => rating::Change::Delete,
        },
        occurred_at_us: event.occurred_at_us,
    })
    .await?;
    Ok(())
}

/// Deletes all ratings of a user, for ever.
pub(crate) async fn erase_ratings(user_id: &str) -> Result<(), Failure> {
    Ok(rating_commands::erase(user_id.to_owned()).await?)
}

/// A value that its owner refused stands in the URL, where everything that is wrong is 400.
fn in_url(error: impl Into<Failure>) -> Failure {
    let failure: Failure = error.into();
    if failure.problem.kind == OUT_OF_BOUNDS.uri {
        return Failure::refused(&INVALID_PARAMETER, failure.problem.detail.into_owned());
    }
    failure
}

impl From<rating::Error> for Failure {
    fn from(error: rating::Error) -> Self {
        match error {
            rating::Error::Invalid(text) => Self::refused(&OUT_OF_BOUNDS, text),
            rating::Error::Unavailable(text) => Self::unavailable(text),
            rating::Error::Other(text) => Self::internal(text),
        }
    }
}

impl From<messaging::PublishError> for Failure {
    fn from(error: messaging::PublishError) -> Self {
        match error {
            messaging::PublishError::Unavailable(text) => Self::unavailable(text),
            messaging::PublishError::Refused(text) => Self::internal(format!("refused: {text}")),
            messaging::PublishError::Other(text) => Self::internal(text),
        }
    }
}
