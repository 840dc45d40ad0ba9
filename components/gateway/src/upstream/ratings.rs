//! What the gateway asks of the rating component, and of the bus on the way to it.

use std::collections::HashSet;

use uuid::Uuid;

use super::{Page, in_url};
use crate::{
    bindings::{
        marquee::messaging::{producer, types as messaging},
        movie::rating0_3_0::{commands, queries, types},
    },
    domain::{Change, MovieId, RECORD_TYPE, RatingEvent, TOPIC, UserId},
    failure::Failure,
    http::log,
};

pub(crate) use commands::Outcome;
pub(crate) use queries::{EventState, Histogram};
pub(crate) use types::{Aggregate, Rating};

/// What a movie's ratings come to.
pub(crate) async fn aggregate(id: &MovieId) -> Result<Aggregate, Failure> {
    let found = aggregates(vec![id.0.clone()]).await?;
    let none = || Failure::internal("rating said nothing of the one movie".to_owned());
    found.into_iter().next().ok_or_else(none)
}

/// What the ratings of each of these 1 to 100 movies come to, in their order.
pub(crate) async fn aggregates(ids: Vec<String>) -> Result<Vec<Aggregate>, Failure> {
    Ok(queries::aggregates_of(RECORD_TYPE.to_owned(), ids).await?)
}

/// A page of the movies that have ratings, the best first: their ids, and what their ratings come to.
pub(crate) async fn best(
    after: Option<String>,
    limit: u32,
) -> Result<Page<(String, Aggregate)>, Failure> {
    let ranking = queries::ranked(RECORD_TYPE.to_owned(), after, limit).await;
    let ranking = ranking.map_err(in_url)?;
    let records = ranking.records.into_iter();
    let records = records.map(|record| (record.record_id, record.aggregate));
    Ok((records.collect(), ranking.next))
}

/// How a movie's ratings are spread.
pub(crate) async fn histogram(id: &MovieId) -> Result<Histogram, Failure> {
    Ok(queries::histogram_of(RECORD_TYPE.to_owned(), id.0.clone()).await?)
}

/// A user's rating of a movie, if it stands.
pub(crate) async fn one(id: &MovieId, user: UserId) -> Result<Option<Rating>, Failure> {
    let rating = queries::rating_of(RECORD_TYPE.to_owned(), id.0.clone(), user.0).await;
    rating.map_err(in_url)
}

/// A page of a movie's ratings.
pub(crate) async fn of_movie(
    id: &MovieId,
    after: Option<String>,
    limit: u32,
) -> Result<Page<Rating>, Failure> {
    let page = queries::ratings_of_record(RECORD_TYPE.to_owned(), id.0.clone(), after, limit);
    let page = page.await.map_err(in_url)?;
    Ok((page.ratings, page.next))
}

/// A page of a user's ratings.
pub(crate) async fn by_user(
    user: UserId,
    after: Option<String>,
    limit: u32,
) -> Result<Page<Rating>, Failure> {
    let page = queries::ratings_by_user(user.0, after, limit)
        .await
        .map_err(in_url)?;
    Ok((page.ratings, page.next))
}

/// What is known of each of these 1 to 500 events, in their order.
pub(crate) async fn states(ids: &[Uuid]) -> Result<Vec<EventState>, Failure> {
    let ids = ids.iter().map(Uuid::to_string).collect();
    Ok(queries::event_states(ids).await?)
}

/// Publishes 1 to 500 events. Ok: the bus has them, durably.
pub(crate) async fn publish(events: &[RatingEvent]) -> Result<(), Failure> {
    let message = |event: &RatingEvent| {
        let value = serde_json::to_vec(event);
        let value = value.map_err(|error| Failure::internal(error.to_string()))?;
        Ok::<_, Failure>(messaging::Outgoing {
            event_id: event.event_id.to_string(),
            topic: TOPIC.to_owned(),
            key: event.key(),
            value,
            headers: Vec::new(),
        })
    };
    let messages = events.iter().map(message).collect::<Result<_, _>>()?;
    Ok(producer::publish(messages).await?)
}

/// Gives 1 to 500 events to the rating component itself; an outcome for each. A duplicate means that the bus had it after
/// all, and that it was counted.
pub(crate) async fn submit(events: Vec<RatingEvent>) -> Result<Vec<Outcome>, Failure> {
    let event = |event: RatingEvent| types::RatingEvent {
        event_id: event.event_id.to_string(),
        record_id: event.record_id.0,
        record_type: event.record_type.to_owned(),
        user_id: event.user_id.0,
        change: match event.change {
            Change::Put(value) => types::Change::Put(value),
            Change::Delete => types::Change::Delete,
        },
        occurred_at_us: event.occurred_at_us,
    };
    Ok(commands::submit_many(events.into_iter().map(event).collect()).await?)
}

/// Deletes all ratings of a user who was deleted, for ever.
pub(crate) async fn erase(user_id: &str) {
    let erased = commands::erase(user_id.to_owned()).await;
    ahead_of_event(erased, "user.deleted", user_id);
}

/// Puts the ratings of a movie that was deleted out of sight, for ever.
pub(crate) async fn remove(id: &MovieId) {
    let removed = commands::remove(RECORD_TYPE.to_owned(), id.0.clone()).await;
    ahead_of_event(removed, "movie.deleted", &id.0);
}

/// The event that was published with the deletion makes sure of what follows from it; so nothing fails here. Under Spin,
/// which relays no event, this is the only way.
fn ahead_of_event(done: Result<(), types::Error>, event: &str, id: &str) {
    if let Err(error) = done {
        log(&format!(
            "ratings follow the deletion of {id} with the event {event} only: {error}"
        ));
    }
}

/// The movies that ratings are of, once each.
pub(crate) fn movies_of(ratings: &[Rating]) -> Vec<String> {
    let mut seen = HashSet::new();
    let ids = ratings.iter().map(|rating| &rating.record_id);
    ids.filter(|id| seen.insert(*id)).cloned().collect()
}

impl From<types::Error> for Failure {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::Invalid(text) => Self::refused(&marquee_problem::OUT_OF_BOUNDS, text),
            types::Error::Unavailable(text) => Self::unavailable(text),
            types::Error::Timeout(text) => Self::timeout(text),
            types::Error::Other(text) => Self::internal(text),
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
