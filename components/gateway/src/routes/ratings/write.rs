//! Ratings that are given and deleted.

use axum::{Extension, Json, http::StatusCode};
use marquee_guest::rest::{Body, Failure, IdempotencyKey, List, Path, RequestId, Whole};
use marquee_problem::{OUT_OF_BOUNDS, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Subject,
    accept::{self, Accepted, Accepting, change},
};
use crate::{
    caller::Caller,
    domain::{Act, Change, MovieId, UserId},
};

/// A rating: 1 is the lowest, 10 the highest.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct PutRating {
    #[schema(value_type = u8, minimum = 1, maximum = 10, examples(9))]
    value: Whole,
}

/// One rating of many.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct NewRating {
    movie_id: MovieId,
    /// Who rates. `me`: whoever's token it is.
    user: UserId,
    #[schema(value_type = u8, minimum = 1, maximum = 10, examples(9))]
    value: Whole,
}

/// What came of one rating of many.
#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct RatingEntry {
    /// As if it had been sent alone: 202, 403, 404 or 422.
    #[schema(minimum = 202, maximum = 599, examples(202))]
    status: u16,
    /// With 202: names the act. `/v1/events/` and this id tell what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Uuid, required = false)]
    event_id: Option<Uuid>,
    /// With any other status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Problem, required = false)]
    problem: Option<Problem>,
}

/// Rate a movie
///
/// Replaces the user's earlier rating of the movie. For the user themselves, and for importers. With an `Idempotency-Key`
/// it counts once however often it is sent within 7 days; with the key of another rating that has been applied it is 422.
#[utoipa::path(put, path = "/v1/movies/{id}/ratings/{user}", operation_id = "putRating", tag = "ratings",
    params(Subject, IdempotencyKey),
    request_body = PutRating, security(("token" = [])),
    responses((status = 202, description = "Accepted: it is durable.", body = Accepted,
        headers(("Location" = String, description = "Where to ask what became of it."))), (status = 403, description = ""), (status = 404, description = "")))]
pub(in crate::routes) async fn put(
    Path(Subject { id, user }): Path<Subject>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Body(rating): Body<PutRating>,
) -> Accepting {
    let act = Act {
        movie: id,
        user: caller.rates_for(user)?,
        change: change(&rating.value)?,
    };
    accept::one(&caller, key.as_deref(), act).await
}

/// Delete a rating
///
/// Without a rating there is nothing to delete, which is no error. For the user themselves, and for importers. With an
/// `Idempotency-Key` as where one is given.
#[utoipa::path(delete, path = "/v1/movies/{id}/ratings/{user}", operation_id = "deleteRating", tag = "ratings",
    params(Subject, IdempotencyKey),
    security(("token" = [])),
    responses((status = 202, description = "Accepted: it is durable.", body = Accepted,
        headers(("Location" = String, description = "Where to ask what became of it."))), (status = 403, description = ""), (status = 404, description = ""), (status = 422, description = "")))]
pub(in crate::routes) async fn delete(
    Path(Subject { id, user }): Path<Subject>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
) -> Accepting {
    let act = Act {
        movie: id,
        user: caller.rates_for(user)?,
        change: Change::Delete,
    };
    accept::one(&caller, key.as_deref(), act).await
}

/// Rate movies
///
/// 1 to 500 ratings at once, within the size of a body. Each is taken or not by itself: the answer has an entry for each,
/// in their order. Of two ratings of a movie by one user the later one counts. With an `Idempotency-Key` the same list
/// counts once however often it is sent within 7 days; a list with another rating in some place is 422 and does nothing.
#[utoipa::path(post, path = "/v1/ratings/batch", operation_id = "putRatings", tag = "ratings", security(("token" = [])),
    params(IdempotencyKey),
    request_body = Vec<NewRating>,
    responses((status = 202, description = "What came of each. Those with 202 are durable.", body = Vec<RatingEntry>)))]
pub(in crate::routes) async fn put_many(
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Extension(RequestId(request_id)): Extension<RequestId>,
    List(new): List<NewRating>,
) -> Result<(StatusCode, Json<Vec<RatingEntry>>), Failure> {
    caller.may_write()?;
    if !(1..=BATCH_MAX).contains(&new.len()) {
        let detail = "the list must have 1 to 500 ratings";
        return Err(OUT_OF_BOUNDS.with(detail).into());
    }
    let act = |new: NewRating| {
        Ok::<_, Failure>(Act {
            user: caller.rates_for(new.user)?,
            change: change(&new.value)?,
            movie: new.movie_id,
        })
    };
    let (mut acts, mut refused) = (Vec::new(), Vec::new());
    for (number, new) in new.into_iter().enumerate() {
        match act(new) {
            Ok(act) => {
                acts.push((number, act));
                refused.push(None);
            }
            Err(failure) => refused.push(Some(failure)),
        }
    }
    let mut taken = match acts.is_empty() {
        true => Vec::new(),
        false => accept::many(&caller, key.as_deref(), acts).await?,
    }
    .into_iter();
    let result = |refused: Option<Failure>| match refused {
        Some(failure) => Err(failure),
        None => taken
            .next()
            .unwrap_or_else(|| Err(Failure::internal("nothing came of one act of many"))),
    };
    let results = refused.into_iter().map(result);
    let entries = results.map(|result| entry(result, &request_id)).collect();
    Ok((StatusCode::ACCEPTED, Json(entries)))
}

fn entry(result: Result<Accepted, Failure>, request_id: &str) -> RatingEntry {
    let problem = result.as_ref().err();
    let problem = problem.map(|failure| failure.told(request_id));
    RatingEntry {
        status: problem.as_ref().map_or(202, |problem| problem.status),
        event_id: result.ok().map(|accepted| accepted.event_id),
        problem,
    }
}

const BATCH_MAX: usize = 500;
