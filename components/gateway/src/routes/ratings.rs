//! Ratings: given, and taken away.
//!
//! Promise: 202 means that the rating is durable, on the bus or in the rating component's database, and that it
//! counts once. The same event id goes both ways, so a publication that looked failed and was not is harmless.

use serde::Serialize;

use super::{Call, json, movies};
use crate::{
    domain::{
        id::MovieId,
        rating::{Change, RatingEvent, UserId, Value},
    },
    http::{Body, Response},
    problem::{Kind, Problem},
    upstream::{Failure, Upstream},
};

/// `PUT /v1/movies/{id}/ratings/{user}`.
pub(super) async fn put<U: Upstream, B: Body>(
    mut call: Call<'_, U, B>,
) -> Result<Response, Problem> {
    let (movie, user) = subject(&call)?;
    let object = call.object(PUT_FIELDS).await?;
    let value = Value::new(object.integer("value")?).map_err(Problem::in_body)?;
    accept(&call, movie, user, Change::Put(value)).await
}

/// `DELETE /v1/movies/{id}/ratings/{user}`.
pub(super) async fn delete<U: Upstream, B: Body>(
    call: Call<'_, U, B>,
) -> Result<Response, Problem> {
    let (movie, user) = subject(&call)?;
    accept(&call, movie, user, Change::Delete).await
}

fn subject<U: Upstream, B: Body>(call: &Call<'_, U, B>) -> Result<(MovieId, UserId), Problem> {
    let movie = MovieId::parse("id", call.required("id")?).map_err(Problem::in_url)?;
    let user = UserId::parse("user", call.required("user")?).map_err(Problem::in_url)?;
    Ok((movie, user))
}

/// Only a movie that metadata has can be rated. The bus first; the rating component itself when the bus does not take it, for whatever reason: a rating is
/// not lost to a setting that is wrong. Only when both fail is the client told to come again.
pub(super) async fn accept<U: Upstream, B: Body>(
    call: &Call<'_, U, B>,
    movie: MovieId,
    user: UserId,
    change: Change,
) -> Result<Response, Problem> {
    movies::known(call, &movie).await?;
    let event = RatingEvent {
        event_id: (call.edge.new_id)(),
        movie,
        user,
        change,
        occurred_at_us: (call.edge.now_us)(),
    };
    let detail = match call.upstream.publish(&event).await {
        Ok(()) => APPLIED_SOON,
        Err(failure) => {
            if !matches!(failure, Failure::Unavailable(_)) {
                // That the bus is away is told by whoever provides it, once; under Spin there never is one.
                let cause = told(&failure);
                (call.edge.log)(&format!(
                    "event {} was not published: {cause}",
                    event.event_id
                ));
            }
            match call.upstream.submit_rating(&event).await {
                Ok(()) => APPLIED,
                Err(Failure::Invalid(text)) => return Err(Problem::new(Kind::OutOfBounds, text)),
                Err(failure) => {
                    let detail = "the rating was not taken; try again in a moment";
                    return Err(Problem::new(Kind::Unavailable, detail).caused_by(told(&failure)));
                }
            }
        }
    };
    let accepted = Accepted {
        status: "accepted",
        event_id: &event.event_id,
        detail,
    };
    json(202, &accepted)
}

fn told(failure: &Failure) -> String {
    match failure {
        Failure::TitleTaken(text)
        | Failure::Invalid(text)
        | Failure::Unavailable(text)
        | Failure::DeadlinePassed(text)
        | Failure::Other(text) => text.clone(),
    }
}

#[derive(Serialize)]
struct Accepted<'a> {
    status: &'a str,
    event_id: &'a str,
    detail: &'a str,
}

/// It is on the bus.
const APPLIED_SOON: &str = "applied soon";
/// The bus was not there: it counts already.
const APPLIED: &str = "applied";

const PUT_FIELDS: &[&str] = &["value"];
