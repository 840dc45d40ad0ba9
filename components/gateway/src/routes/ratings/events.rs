//! What became of an act of rating.

use axum::Json;
use marquee_guest::rest::{Answer, Path};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    domain::EventId,
    upstream::ratings::{EventState, queries},
};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::routes) struct OfEvent {
    /// The event's id, as it was given when the act was accepted.
    #[param(inline)]
    event_id: EventId,
}

/// An act of rating.
#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct Event {
    event_id: Uuid,
    status: Status,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::routes) enum Status {
    /// Not applied yet, as far as is known here.
    Accepted,
    /// It counts, or something newer of the same user on the same movie does.
    Applied,
    /// It could not be applied, and does not count unless an operator brings it again.
    Rejected,
}

/// What became of an act of rating
///
/// For whoever has the event's id. `accepted`: it is on its way, as far as is known here; also of an id that nobody was
/// given, and of one that was applied more than 7 days ago. `applied`: it counts, or something newer does. `rejected`: it
/// does not count, and operators see it.
#[utoipa::path(get, path = "/v1/events/{event_id}", operation_id = "getEvent", tag = "ratings", params(OfEvent),
    responses((status = 200, description = "What became of it.", body = Event)))]
pub(in crate::routes) async fn one(Path(OfEvent { event_id }): Path<OfEvent>) -> Answer<Event> {
    let event_id = event_id.0;
    let states = queries::event_states(vec![event_id.to_string()]).await?;
    let status = match states.first() {
        Some(EventState::Applied) => Status::Applied,
        Some(EventState::Rejected) => Status::Rejected,
        Some(EventState::Unseen | EventState::Waiting | EventState::Rival) | None => {
            Status::Accepted
        }
    };
    Ok(Json(Event { event_id, status }))
}
