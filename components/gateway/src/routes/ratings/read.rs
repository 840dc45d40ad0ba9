//! Ratings that are read: one, those of a movie, those of a user.

use std::collections::HashMap;

use axum::Json;
use futures::future;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Rating, Subject};
use crate::{
    caller::Caller,
    domain::UserId,
    failure::{Failure, NOT_RATED},
    http::{Path, Query, log},
    routes::{Answer, OfMovie, PageQuery},
    upstream::{Page, movies, ratings},
};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::routes) struct OfUser {
    /// Who rated, percent-encoded. `me`: whoever's token it is.
    user: UserId,
}

/// What a movie's ratings come to, and who gave them.
#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct MovieRatings {
    /// The mean; null while there is no rating.
    #[schema(required, examples(8.5))]
    average: Option<f64>,
    /// How many users' ratings count.
    #[schema(examples(2))]
    count: u64,
    /// How many of them have the value 1, 2, and so on to 10.
    #[schema(min_items = 10, max_items = 10, examples(json!([0, 0, 0, 0, 0, 0, 0, 1, 1, 0])))]
    histogram: Vec<u64>,
    /// Of users in the order of their ids; null for whoever may not see who rated.
    #[schema(required, max_items = 100)]
    ratings: Option<Vec<Rating>>,
    /// Where the next page begins, for `after`; null on the last one. Opaque.
    #[schema(required)]
    next: Option<String>,
}

/// A rating among its user's.
#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct UsersRating {
    #[serde(flatten)]
    rating: Rating,
    /// The movie's; null where it is not known just now.
    #[schema(required, examples("Playtime"))]
    title: Option<String>,
}

/// A part of a user's ratings.
#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct RatingPage {
    #[schema(max_items = 100)]
    ratings: Vec<UsersRating>,
    /// Where the next page begins, for `after`; null on the last one. Opaque.
    #[schema(required)]
    next: Option<String>,
    /// What is missing of the answer, for people. Only there where something is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<&'static str>,
}

/// A user's rating of a movie
///
/// For the user themselves, and for whoever has a role.
#[utoipa::path(get, path = "/v1/movies/{id}/ratings/{user}", operation_id = "getRating", tag = "ratings",
    params(Subject), security(("token" = [])),
    responses((status = 200, description = "The rating.", body = Rating), (status = 401, description = ""), (status = 403, description = ""),
        (status = 404, description = "")))]
pub(in crate::routes) async fn one(
    Path(Subject { id, user }): Path<Subject>,
    caller: Caller,
) -> Answer<Rating> {
    let user = caller.reads_of(user)?;
    let (movie, rating) = future::join(movies::one(&id), ratings::one(&id, user)).await;
    movie?;
    let none = || Failure::from(NOT_RATED.with("there is the movie, and no rating"));
    Ok(Json(rating?.ok_or_else(none)?.try_into()?))
}

/// A movie's ratings
///
/// How they are spread, for everybody; and, for whoever has a role, a page of who gave them.
#[utoipa::path(get, path = "/v1/movies/{id}/ratings", operation_id = "listMovieRatings", tag = "ratings",
    params(OfMovie, PageQuery), security((), ("token" = [])),
    responses((status = 200, description = "The histogram and the page.", body = MovieRatings), (status = 401, description = ""),
        (status = 404, description = "")))]
pub(in crate::routes) async fn of_movie(
    Path(OfMovie { id }): Path<OfMovie>,
    Query(page): Query<PageQuery>,
    caller: Caller,
) -> Answer<MovieRatings> {
    let sees_users = caller.reads_of_all();
    let list = async {
        match sees_users {
            true => ratings::of_movie(&id, page.after, page.limit.0).await,
            false => Ok((Vec::new(), None)),
        }
    };
    let all = future::join3(movies::one(&id), ratings::histogram(&id), list);
    let (movie, histogram, list): (_, _, Result<Page<ratings::Rating>, Failure>) = all.await;
    movie?;
    let ((list, next), histogram) = (list?, histogram?);
    let list = list.into_iter().map(Rating::try_from);
    let list: Vec<Rating> = list.collect::<Result<_, _>>()?;
    Ok(Json(MovieRatings {
        average: histogram.aggregate.average,
        count: histogram.aggregate.count,
        histogram: histogram.counts,
        ratings: sees_users.then_some(list),
        next,
    }))
}

/// A page of a user's ratings
///
/// Last what the user rated first; a rating that is replaced keeps its place. A user of whom nothing is known has none. For
/// the user themselves, and for whoever has a role.
#[utoipa::path(get, path = "/v1/users/{user}/ratings", operation_id = "listUserRatings", tag = "ratings",
    params(OfUser, PageQuery), security(("token" = [])),
    responses((status = 200, description = "The page.", body = RatingPage), (status = 401, description = ""), (status = 403, description = "")))]
pub(in crate::routes) async fn of_user(
    Path(OfUser { user }): Path<OfUser>,
    Query(page): Query<PageQuery>,
    caller: Caller,
) -> Answer<RatingPage> {
    let user = caller.reads_of(user)?;
    let (found, next) = ratings::by_user(user, page.after, page.limit.0).await?;
    let mut warnings = Vec::new();
    let mut titles = titles(&found).await.unwrap_or_else(|failure| {
        let cause = failure.cause.unwrap_or_default();
        log(&format!("a user's ratings without their titles: {cause}"));
        warnings.push(WITHOUT_TITLES);
        HashMap::new()
    });
    let shown = found.into_iter().map(|rating| {
        Ok::<_, Failure>(UsersRating {
            title: titles.remove(&rating.record_id),
            rating: rating.try_into()?,
        })
    });
    Ok(Json(RatingPage {
        ratings: shown.collect::<Result<_, _>>()?,
        next,
        warnings,
    }))
}

/// The titles of the movies that ratings are of, by their ids.
async fn titles(ratings: &[ratings::Rating]) -> Result<HashMap<String, String>, Failure> {
    let ids = ratings::movies_of(ratings);
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let movies = movies::by_ids(ids).await?;
    Ok(movies
        .into_iter()
        .map(|movie| (movie.id, movie.title))
        .collect())
}

const WITHOUT_TITLES: &str = "the titles are not known just now; ask again in a moment";
