//! What the gateway asks of the rating component, and of the bus on the way to it.

use marquee_guest::{log, messaging::Outgoing, rest::Failure};

use crate::{
    bindings::{
        marquee::messaging::producer,
        movie::rating0_3_0::{commands, types},
    },
    domain::{Change, MovieId, RECORD_TYPE, RatingEvent, TOPIC},
};

pub(crate) use crate::bindings::movie::rating0_3_0::queries::{self, EventState};
pub(crate) use commands::Outcome;
pub(crate) use types::{Aggregate, Rating};

/// What the ratings of each of these 1 to 100 movies come to, in their order.
pub(crate) async fn aggregates(ids: Vec<String>) -> Result<Vec<Aggregate>, Failure> {
    Ok(queries::aggregates_of(RECORD_TYPE.to_owned(), ids).await?)
}

/// What a movie's ratings come to.
pub(crate) async fn aggregate(id: &MovieId) -> Result<Aggregate, Failure> {
    let mut found = aggregates(vec![id.0.clone()]).await?;
    let none = || Failure::internal("rating said nothing of the one movie");
    found.pop().ok_or_else(none)
}

/// Publishes 1 to 500 events. Ok: the bus has them, durably.
pub(crate) async fn publish(events: &[RatingEvent]) -> Result<(), Failure> {
    let message = |event: &RatingEvent| {
        let value = serde_json::to_vec(event);
        let value = value.map_err(|error| Failure::internal(error.to_string()))?;
        Ok::<_, Failure>(Outgoing {
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

marquee_guest::failures!(types::Error {});
