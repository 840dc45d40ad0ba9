//! Ratings: given, deleted, and those of a user.
//!
//! Promise: 202 means that the rating is durable, on the bus or in the rating component's database, and that it counts
//! once. The same event id goes both ways, so a publication that looked failed and was not is harmless.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{Json, http::StatusCode};
use chrono::{DateTime, SecondsFormat};
use marquee_problem::{OUT_OF_BOUNDS, UNAVAILABLE};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Answer, PageQuery};
use crate::{
    caller::Caller,
    domain::{self, Change, MovieId, RECORD_TYPE, RatingEvent, UserId},
    failure::Failure,
    http::{Body, Path, Query, Whole, log},
    upstream,
};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Subject {
    /// The movie's id.
    id: MovieId,
    /// Who rates, percent-encoded. `me`: whoever's token it is.
    user: UserId,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfUser {
    /// Who rated, percent-encoded. `me`: whoever's token it is.
    user: UserId,
}

/// A rating: 1 is the lowest, 10 the highest.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutRating {
    #[schema(value_type = u8, minimum = 1, maximum = 10, examples(9))]
    value: Whole,
}

/// What came of a rating.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    #[schema(pattern = "^accepted$", examples("accepted"))]
    status: &'static str,
    /// Names the act of rating; it counts once.
    #[schema(examples("0192f0c1-9999-7abc-8def-0123456789ab"))]
    event_id: Uuid,
    /// `applied soon`: it is on its way. `applied`: it counts already.
    #[schema(pattern = "^applied( soon)?$", examples("applied soon"))]
    detail: &'static str,
}

/// What an accepted rating is answered with.
pub(crate) type Accepting = Result<(StatusCode, Json<Accepted>), Failure>;

/// A user's rating as it stands.
#[derive(Serialize, ToSchema)]
pub(super) struct Rating {
    #[schema(value_type = MovieId)]
    record_id: String,
    #[schema(examples("movie"))]
    record_type: String,
    #[schema(value_type = UserId)]
    user_id: String,
    #[schema(minimum = 1, maximum = 10, examples(9))]
    value: u8,
    #[schema(format = DateTime, examples("2026-11-24T02:54:36.000000Z"))]
    occurred_at: String,
}

/// A part of a user's ratings.
#[derive(Serialize, ToSchema)]
pub(super) struct RatingPage {
    #[schema(max_items = 100)]
    ratings: Vec<Rating>,
    /// Where the next page begins, for `after`; null on the last one. Opaque.
    #[schema(required)]
    next: Option<String>,
}

/// Rate a movie
///
/// Replaces the user's earlier rating of the movie. For the user themselves, and for importers.
#[utoipa::path(put, path = "/v1/movies/{id}/ratings/{user}", operation_id = "putRating", tag = "ratings",
    params(Subject), request_body = PutRating, security(("token" = [])),
    responses((status = 202, description = "Accepted: it is durable.", body = Accepted), (status = 401, description = ""), (status = 403, description = ""),
        (status = 404, description = "")))]
pub(super) async fn put(
    Path(Subject { id, user }): Path<Subject>,
    caller: Caller,
    Body(rating): Body<PutRating>,
) -> Accepting {
    let user = caller.rates_for(user)?;
    accept(id, user, change(rating.value)?).await
}

/// Delete a rating
///
/// Without a rating there is nothing to delete, which is no error. For the user themselves, and for importers.
#[utoipa::path(delete, path = "/v1/movies/{id}/ratings/{user}", operation_id = "deleteRating", tag = "ratings",
    params(Subject), security(("token" = [])),
    responses((status = 202, description = "Accepted: it is durable.", body = Accepted), (status = 401, description = ""), (status = 403, description = ""),
        (status = 404, description = "")))]
pub(super) async fn delete(Path(Subject { id, user }): Path<Subject>, caller: Caller) -> Accepting {
    accept(id, caller.rates_for(user)?, Change::Delete).await
}

/// A page of a user's ratings
///
/// Newest first. A user of whom nothing is known has none. For the user themselves, and for whoever has a role.
#[utoipa::path(get, path = "/v1/users/{user}/ratings", operation_id = "listUserRatings", tag = "ratings",
    params(OfUser, PageQuery), security(("token" = [])),
    responses((status = 200, description = "The page.", body = RatingPage), (status = 401, description = ""), (status = 403, description = "")))]
pub(super) async fn of_user(
    Path(OfUser { user }): Path<OfUser>,
    Query(page): Query<PageQuery>,
    caller: Caller,
) -> Answer<RatingPage> {
    let user = caller.reads_of(user)?;
    let (ratings, next) = upstream::ratings(user, page.after, page.limit.0).await?;
    let ratings = ratings.into_iter().map(shown).collect::<Result<_, _>>()?;
    Ok(Json(RatingPage { ratings, next }))
}

fn shown(rating: upstream::Rating) -> Result<Rating, Failure> {
    Ok(Rating {
        record_id: rating.record_id,
        record_type: rating.record_type,
        user_id: rating.user_id,
        value: rating.value,
        occurred_at: rfc_3339(rating.occurred_at_us)?,
    })
}

pub(super) fn change(value: Whole) -> Result<Change, Failure> {
    let value = domain::value(value.0);
    value
        .map(Change::Put)
        .map_err(|rule| Failure::of(&OUT_OF_BOUNDS, "value", rule))
}

/// Only a movie that metadata has can be rated. The bus first; the rating component itself when the bus does not take
/// it, for whatever reason: a rating is not lost to a setting that is wrong. Only when both fail is the client told to
/// come again.
pub(crate) async fn accept(record_id: MovieId, user_id: UserId, change: Change) -> Accepting {
    upstream::movies::one(&record_id).await?;
    // A clock before 1970 is broken; the oldest time loses against every other rating, which is right.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let occurred_at_us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    let (event_id, record_type) = (Uuid::now_v7(), RECORD_TYPE);
    let event = RatingEvent {
        event_id,
        record_id,
        record_type,
        user_id,
        change,
        occurred_at_us,
        record_exists: true,
    };
    let detail = match upstream::publish(&event).await {
        Ok(()) => "applied soon",
        Err(failure) => {
            // That the bus is away is told by whoever provides it, once; under Spin there never is one.
            if failure.problem.kind != UNAVAILABLE.uri {
                let cause = failure.cause.unwrap_or_default();
                log(&format!("event {event_id} was not published: {cause}"));
            }
            upstream::submit(event).await.map_err(|mut failure| {
                if failure.cause.is_some() {
                    *failure.problem =
                        UNAVAILABLE.with("the rating was not taken; try again in a moment");
                }
                failure
            })?;
            "applied"
        }
    };
    let status = "accepted";
    let accepted = Accepted {
        status,
        event_id,
        detail,
    };
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

/// A moment as clients read it, to the microsecond.
fn rfc_3339(us: u64) -> Result<String, Failure> {
    let moment = i64::try_from(us)
        .ok()
        .and_then(DateTime::from_timestamp_micros);
    let far = || Failure::internal(format!("a rating's time, {us} us, is out of range"));
    Ok(moment
        .ok_or_else(far)?
        .to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[cfg(test)]
#[path = "ratings_tests.rs"]
mod tests;
