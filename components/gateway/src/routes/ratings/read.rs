//! Ratings that are read: one, those of a movie, those of a user.

use std::collections::{BTreeSet, HashMap};

use axum::Json;
use futures::future;
use marquee_guest::rest::{Answer, Failure, PageQuery, Path, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Rating, Subject};
use crate::{
    caller::Caller,
    domain::{RECORD_TYPE, UserId},
    kinds::NOT_RATED,
    routes::{OfMovie, or_warn},
    upstream::{
        in_url, movies,
        ratings::{self, queries},
    },
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
    responses((status = 200, description = "The rating.", body = Rating), (status = 403, description = ""),
        (status = 404, description = "")))]
pub(in crate::routes) async fn one(
    Path(Subject { id, user }): Path<Subject>,
    caller: Caller,
) -> Answer<Rating> {
    let user = caller.reads_of(user)?;
    let rating = queries::rating_of(RECORD_TYPE.to_owned(), id.0.clone(), user.0);
    let (movie, rating) = future::join(movies::one(&id), rating).await;
    movie?;
    let none = || Failure::from(NOT_RATED.with("there is the movie, and no rating"));
    Ok(Json(rating.map_err(in_url)?.ok_or_else(none)?.try_into()?))
}

/// A movie's ratings
///
/// How they are spread, for everybody; and, for whoever has a role, a page of who gave them.
#[utoipa::path(get, path = "/v1/movies/{id}/ratings", operation_id = "listMovieRatings", tag = "ratings",
    params(OfMovie, PageQuery), security((), ("token" = [])),
    responses((status = 200, description = "The histogram and the page.", body = MovieRatings),
        (status = 404, description = "")))]
pub(in crate::routes) async fn of_movie(
    Path(OfMovie { id }): Path<OfMovie>,
    Query(page): Query<PageQuery>,
    caller: Caller,
) -> Answer<MovieRatings> {
    let of_it = || (RECORD_TYPE.to_owned(), id.0.clone());
    let histogram = async {
        let (kind, id) = of_it();
        queries::histogram_of(kind, id).await
    };
    let list = async {
        let (kind, id) = of_it();
        match caller.reads_of_all() {
            true => {
                let page = queries::ratings_of_record(kind, id, page.after, page.limit.0);
                page.await.map(Some)
            }
            false => Ok(None),
        }
    };
    let (movie, histogram, list) = future::join3(movies::one(&id), histogram, list).await;
    movie?;
    let (mut ratings, mut next) = (None, None);
    if let Some(list) = list.map_err(in_url)? {
        let shown = list.ratings.into_iter().map(Rating::try_from);
        (ratings, next) = (Some(shown.collect::<Result<_, _>>()?), list.next);
    }
    let histogram = histogram?;
    Ok(Json(MovieRatings {
        average: histogram.aggregate.average,
        count: histogram.aggregate.count,
        histogram: histogram.counts,
        ratings,
        next,
    }))
}

/// A page of a user's ratings
///
/// Last what the user rated first; a rating that is replaced keeps its place. A user of whom nothing is known has none. For
/// the user themselves, and for whoever has a role.
#[utoipa::path(get, path = "/v1/users/{user}/ratings", operation_id = "listUserRatings", tag = "ratings",
    params(OfUser, PageQuery), security(("token" = [])),
    responses((status = 200, description = "The page.", body = RatingPage), (status = 403, description = "")))]
pub(in crate::routes) async fn of_user(
    Path(OfUser { user }): Path<OfUser>,
    Query(page): Query<PageQuery>,
    caller: Caller,
) -> Answer<RatingPage> {
    let user = caller.reads_of(user)?;
    let found = queries::ratings_by_user(user.0, page.after, page.limit.0);
    let found = found.await.map_err(in_url)?;
    let titles = titles(&found.ratings).await;
    let mut warnings = Vec::new();
    let without = format_args!("a user's ratings without their titles");
    let titles = or_warn(titles, without, WITHOUT_TITLES, &mut warnings);
    let mut titles = titles.unwrap_or_default();
    let shown = found.ratings.into_iter().map(|rating| {
        Ok::<_, Failure>(UsersRating {
            title: titles.remove(&rating.record_id),
            rating: rating.try_into()?,
        })
    });
    Ok(Json(RatingPage {
        ratings: shown.collect::<Result<_, _>>()?,
        next: found.next,
        warnings,
    }))
}

/// The titles of the movies that ratings are of, by their ids.
async fn titles(ratings: &[ratings::Rating]) -> Result<HashMap<String, String>, Failure> {
    let ids = ratings.iter().map(|rating| rating.record_id.clone());
    let ids: BTreeSet<_> = ids.collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let movies = movies::queries::movies_by_ids(ids.into_iter().collect()).await?;
    let titles = movies.into_iter().map(|movie| (movie.id, movie.title));
    Ok(titles.collect())
}

const WITHOUT_TITLES: &str = "the titles are not known just now; ask again in a moment";
