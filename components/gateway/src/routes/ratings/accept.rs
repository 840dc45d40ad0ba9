//! How acts of rating are taken in, one or many at once.
//!
//! Promise: 202 means that the act is durable, on the bus or in the rating component's database, and that it counts once.
//! The same event id goes both ways, so a publication that looked failed and was not is harmless; and an act that is sent
//! again under its idempotency key has the id that it had.

use std::collections::HashSet;

use axum::{
    Json,
    http::{HeaderName, StatusCode, header},
};
use futures::future;
use marquee_guest::{
    log,
    rest::{Failure, Whole},
};
use marquee_problem::{OUT_OF_BOUNDS, UNAVAILABLE};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::Caller,
    domain::{self, Act, Change, RECORD_TYPE, RatingEvent},
    upstream::{
        movies,
        ratings::{self, EventState, Outcome},
    },
};

/// What came of a rating.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    #[schema(pattern = "^accepted$", examples("accepted"))]
    status: &'static str,
    /// Names the act of rating; it counts once. `/v1/events/` and this id tell what became of it.
    #[schema(examples("0192f0c1-9999-7abc-8def-0123456789ab"))]
    pub(super) event_id: Uuid,
    /// `applied soon`: it is on its way. `applied`: it counts already.
    #[schema(pattern = "^applied( soon)?$", examples("applied soon"))]
    detail: &'static str,
}

/// What an accepted rating is answered with: where its event is, and what is said of it.
pub(crate) type Accepting =
    Result<(StatusCode, [(HeaderName, String); 1], Json<Accepted>), Failure>;

/// Takes one act in.
pub(crate) async fn one(caller: &Caller, key: Option<&str>, act: Act) -> Accepting {
    let mut taken = many(caller, key, vec![(0, act)]).await?;
    let none = || Failure::internal("nothing came of the one act");
    let accepted = taken.pop().ok_or_else(none)??;
    let location = (
        header::LOCATION,
        format!("/v1/events/{}", accepted.event_id),
    );
    Ok((StatusCode::ACCEPTED, [location], Json(accepted)))
}

/// Takes 1 to 500 acts in, each with its number in the request: a result each, in their order. Fails as a whole where a key
/// was used for something else, and where nothing can be asked.
///
/// Only a movie that metadata has can be rated. The bus first; the rating component itself when the bus does not take
/// them, for whatever reason: a rating is not lost to a setting that is wrong. Only when both fail is the client told to
/// come again.
pub(super) async fn many(
    caller: &Caller,
    key: Option<&str>,
    acts: Vec<(usize, Act)>,
) -> Result<Vec<Result<Accepted, Failure>>, Failure> {
    let id = |(number, act): &(usize, Act)| match key {
        Some(key) => act.event_id(caller.of_keys(), key, *number),
        None => Uuid::now_v7(),
    };
    let ids: Vec<Uuid> = acts.iter().map(id).collect();
    let movies: HashSet<&str> = acts.iter().map(|(_, act)| act.movie.0.as_str()).collect();
    let movies = movies.into_iter().map(str::to_owned).collect();
    let asked = future::join(movies::existing(movies), states(&ids, key.is_some()));
    let (existing, states) = asked.await;
    let (known, now_us) = existing?;
    if states.contains(&EventState::Rival) {
        return Err(movies::key_reused());
    }
    let (mut results, mut events) = (Vec::with_capacity(acts.len()), Vec::new());
    // Of two acts of a user on a movie in one request the later one counts.
    let times = now_us..;
    for ((((_, act), event_id), state), occurred_at_us) in
        acts.into_iter().zip(ids).zip(states).zip(times)
    {
        results.push(match state {
            EventState::Applied => Ok(accepted(event_id, "applied")),
            _ if !known.contains(&act.movie.0) => Err(movies::unknown(&act.movie)),
            _ => Ok(accepted(event_id, "applied soon")),
        });
        if state != EventState::Applied && known.contains(&act.movie.0) {
            events.push(RatingEvent {
                event_id,
                record_id: act.movie,
                record_type: RECORD_TYPE,
                user_id: act.user,
                change: act.change,
                occurred_at_us,
                record_exists: true,
            });
        }
    }
    if let Some(refused) = send(events).await? {
        settle(&mut results, refused);
    }
    Ok(results)
}

/// What came of events under a key; of others nothing can be known. While it cannot be asked, an act is taken: that it
/// counts once does not hang on it.
async fn states(ids: &[Uuid], have_key: bool) -> Vec<EventState> {
    let unseen = vec![EventState::Unseen; ids.len()];
    if !have_key || ids.is_empty() {
        return unseen;
    }
    let ids = ids.iter().map(Uuid::to_string).collect();
    ratings::queries::event_states(ids).await.unwrap_or(unseen)
}

/// Sends events on their way. None: the bus has them. Otherwise what the rating component said of each.
async fn send(events: Vec<RatingEvent>) -> Result<Option<Vec<Outcome>>, Failure> {
    if events.is_empty() {
        return Ok(None);
    }
    let Err(failure) = ratings::publish(&events).await else {
        return Ok(None);
    };
    // That the bus is away is told by whoever provides it, once; under Spin there never is one.
    if failure.problem.kind != UNAVAILABLE.uri {
        let cause = failure.cause.unwrap_or_default();
        log(&format!(
            "{} ratings were not published: {cause}",
            events.len()
        ));
    }
    let outcomes = ratings::submit(events).await.map_err(|mut failure| {
        if failure.cause.is_some() {
            *failure.problem = UNAVAILABLE.with("the rating was not taken; try again in a moment");
        }
        failure
    })?;
    Ok(Some(outcomes))
}

/// Writes what came of the events that were sent where their results are.
fn settle(results: &mut [Result<Accepted, Failure>], outcomes: Vec<Outcome>) {
    let sent = results
        .iter_mut()
        .filter(|result| matches!(result, Ok(accepted) if accepted.detail == "applied soon"));
    for (result, outcome) in sent.zip(outcomes) {
        match (outcome, &mut *result) {
            (Outcome::Refused(text), _) => *result = Err(Failure::refused(&OUT_OF_BOUNDS, text)),
            (_, Ok(accepted)) => accepted.detail = "applied",
            (_, Err(_)) => {}
        }
    }
}

fn accepted(event_id: Uuid, detail: &'static str) -> Accepted {
    Accepted {
        status: "accepted",
        event_id,
        detail,
    }
}

/// What a value means.
pub(in crate::routes) fn change(value: &Whole) -> Result<Change, Failure> {
    let value = domain::value(value.0);
    value
        .map(Change::Put)
        .map_err(|rule| Failure::out_of_bounds("value", rule))
}
