//! Movies that are read: one, a page, one with its rating.

use axum::{Json, response::IntoResponse};
use futures::future;
use marquee_guest::rest::{Answer, Failure, PageQuery, Path, Query, version_tag};
use marquee_problem::INVALID_PARAMETER;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Movie, Year, example};
use crate::{
    domain::{MovieId, RECORD_TYPE},
    routes::{OfMovie, or_warn},
    upstream::{Aggregate, in_url, movies, ratings},
};

/// A part of the movies.
#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct MoviePage {
    #[schema(max_items = 100)]
    movies: Vec<RatedMovie>,
    /// Where the next page begins, for `after`; null on the last one. Opaque.
    #[schema(required)]
    next: Option<String>,
    /// What is missing of the answer, for people. Only there where something is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<&'static str>,
}

/// A movie of a list.
#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct RatedMovie {
    #[serde(flatten)]
    movie: Movie,
    /// What its ratings come to; null where that is not known just now.
    #[schema(required)]
    rating: Option<Aggregate>,
}

/// A movie and its rating.
#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct Details {
    metadata: Movie,
    /// Null where it is not known just now; then `warnings` says so.
    #[schema(required)]
    rating: Option<Aggregate>,
    /// What is missing of the answer, for people. Only there where something is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<&'static str>,
}

/// The order of a list. `-` is descending.
#[derive(Clone, Copy, Deserialize, ToSchema)]
pub(in crate::routes) enum Order {
    #[serde(rename = "title")]
    Title,
    #[serde(rename = "year")]
    Year,
    #[serde(rename = "-created")]
    Newest,
    #[serde(rename = "-average")]
    Best,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::routes) struct Search {
    /// Words of the title; the last one may be the beginning of one. Letter case, accents and punctuation do not count.
    /// Words with a typing error are found where others do not fill the page.
    #[param(max_length = 200, example = "play")]
    q: Option<String>,
    /// How the title begins, in any letter case; every character means itself. Empty: no matter.
    #[param(max_length = 200, example = "play")]
    prefix: Option<String>,
    /// The year.
    #[param(value_type = Option<u16>, minimum = 1870, maximum = 2200, example = 1967)]
    year: Option<Year>,
    /// By title, by year (the oldest first, those without one last), the newest first, or the best first. Without it: what
    /// fits `q` best comes first; without `q`, by title. The best are those that have ratings, by the Bayesian mean
    /// `(10 * 6 + sum) / (10 + count)`, so that a single 10 does not come before a hundred 9s; this order does not go with
    /// `q`, `prefix` and `year`, and a page of it may be shorter than `limit`.
    #[param(inline, example = "title")]
    sort: Option<Order>,
}

/// A page of movies
///
/// Movies that have all that is asked for. Titles are in the order in which people look for them: letter case and accents
/// decide last; with `prefix`, by the characters of the folded title.
#[utoipa::path(get, path = "/v1/movies", operation_id = "listMovies", tag = "movies", params(Search, PageQuery),
    responses((status = 200, description = "The page.", body = MoviePage, example = json!({"movies": [], "next": null}))))]
pub(in crate::routes) async fn list(
    Query(search): Query<Search>,
    Query(page): Query<PageQuery>,
) -> Answer<MoviePage> {
    if let Some(Order::Best) = search.sort {
        return best(search, page).await;
    }
    let has_words = search.q.as_ref().is_some_and(|q| !q.trim().is_empty());
    let selection = movies::Selection {
        sort: match search.sort {
            Some(Order::Title) => movies::Sort::Title,
            Some(Order::Year) => movies::Sort::Year,
            Some(Order::Newest) => movies::Sort::Newest,
            Some(Order::Best) | None if has_words => movies::Sort::Relevance,
            Some(Order::Best) | None => movies::Sort::Title,
        },
        query: search.q,
        prefix: search.prefix,
        year: search.year.map(|year| year.0),
        after: page.after,
        limit: page.limit.0,
    };
    let page = movies::queries::movies(selection).await.map_err(in_url)?;
    let ids: Vec<_> = page.movies.iter().map(|movie| movie.id.clone()).collect();
    let aggregates = match ids.is_empty() {
        true => Ok(Vec::new()),
        false => ratings::aggregates(ids).await,
    };
    let mut warnings = Vec::new();
    let without = format_args!("a page of movies without their ratings");
    let aggregates = or_warn(aggregates, without, WITHOUT_RATINGS, &mut warnings);
    let mut aggregates = aggregates.unwrap_or_default().into_iter();
    let movies = page.movies.into_iter();
    let movies = movies.map(|movie| rated(movie, aggregates.next()));
    Ok(Json(MoviePage {
        movies: movies.collect::<Result<_, _>>()?,
        next: page.next,
        warnings,
    }))
}

/// The best movies are ratings' to say; what they are is metadata's.
async fn best(search: Search, page: PageQuery) -> Answer<MoviePage> {
    let is_narrowed = search.year.is_some()
        || [search.q, search.prefix]
            .iter()
            .flatten()
            .any(|text| !text.trim().is_empty());
    if is_narrowed {
        let rule = "-average does not go with q, prefix and year";
        return Err(Failure::of(&INVALID_PARAMETER, "sort", rule));
    }
    let ranking = ratings::queries::ranked(RECORD_TYPE.to_owned(), page.after, page.limit.0);
    let ranking = ranking.await.map_err(in_url)?;
    let mut ranked = ranking.records.into_iter();
    let ids: Vec<_> = ranked
        .as_slice()
        .iter()
        .map(|one| one.record_id.clone())
        .collect();
    let found = match ids.is_empty() {
        true => Vec::new(),
        false => movies::queries::movies_by_ids(ids).await?,
    };
    // A movie that is deleted just now may be ranked still.
    let movies = found.into_iter().map(|movie| {
        let of_it = ranked.find(|one| one.record_id == movie.id);
        rated(movie, of_it.map(|one| one.aggregate))
    });
    Ok(Json(MoviePage {
        movies: movies.collect::<Result<_, _>>()?,
        next: ranking.next,
        warnings: Vec::new(),
    }))
}

fn rated(movie: movies::Movie, rating: Option<Aggregate>) -> Result<RatedMovie, Failure> {
    let movie = movie.try_into()?;
    Ok(RatedMovie { movie, rating })
}

/// One movie
#[utoipa::path(get, path = "/v1/movies/{id}", operation_id = "getMovie", tag = "movies", params(OfMovie),
    responses((status = 200, description = "The movie.", body = Movie, example = json!(example())), (status = 404, description = "")))]
pub(in crate::routes) async fn one(
    Path(OfMovie { id }): Path<OfMovie>,
) -> Result<impl IntoResponse, Failure> {
    let movie = movies::one(&id).await?;
    let tag = version_tag(movie.version);
    Ok(([tag], Json(Movie::try_from(movie)?)))
}

/// One movie with its rating
///
/// The movie, and what its ratings come to at this moment. While ratings are away it is the movie alone, with a warning.
#[utoipa::path(get, path = "/v1/movies/{id}/details", operation_id = "getMovieDetails", tag = "movies", params(OfMovie),
    responses((status = 200, description = "The movie and its rating.", body = Details,
        example = json!({"metadata": example(), "rating": {"average": 8.5, "count": 2}})), (status = 404, description = "")))]
pub(in crate::routes) async fn details(Path(OfMovie { id }): Path<OfMovie>) -> Answer<Details> {
    let (movie, rating) = of(&id).await;
    let metadata = movie?.try_into()?;
    let mut warnings = Vec::new();
    let without = format_args!("details of {} without its rating", id.0);
    let rating = or_warn(rating, without, WITHOUT_RATING, &mut warnings);
    Ok(Json(Details {
        metadata,
        rating,
        warnings,
    }))
}

/// Both components are asked at once.
pub(crate) async fn of(
    id: &MovieId,
) -> (Result<movies::Movie, Failure>, Result<Aggregate, Failure>) {
    // Joined, not raced: a call that is under way is never dropped.
    future::join(movies::one(id), ratings::aggregate(id)).await
}

const WITHOUT_RATINGS: &str = "the ratings are not known just now; ask again in a moment";
const WITHOUT_RATING: &str = "the rating is not known just now; ask again in a moment";
