//! The three services of the original system. Each call does what a route does; only its messages are others.

use axum::{extract::Request, response::Response as HttpResponse};
use futures::future;
use marquee_problem::OUT_OF_BOUNDS;
use tonic::{Response, Status, async_trait};

use super::{
    MAX_BYTES,
    proto::{
        GetAggregatedRatingRequest, GetAggregatedRatingResponse, GetMetadataRequest,
        GetMetadataResponse, GetMovieDetailsRequest, GetMovieDetailsResponse, Metadata,
        MovieDetails, ResponseStatus, SubmitMetadataRequest, SubmitMetadataResponse,
        SubmitRatingRequest, SubmitRatingResponse,
        metadata_service_server::{MetadataService, MetadataServiceServer},
        movie_service_server::{MovieService, MovieServiceServer},
        rating_service_server::{RatingService, RatingServiceServer},
    },
};
use crate::{
    caller::Caller,
    domain::{self, Act, Change, MovieId, RECORD_TYPE, UserId},
    failure::Failure,
    http::{IdempotencyKey, Text},
    routes::ratings::accept,
    upstream::{
        Aggregate,
        movies::{self, Movie, NewMovie},
        ratings,
    },
};

/// A request and its message.
type Call<T> = tonic::Request<T>;
type Answer<T> = Result<Response<T>, Status>;

struct Movies;

pub(super) async fn metadata(request: Request) -> HttpResponse {
    let server = MetadataServiceServer::new(Movies).max_decoding_message_size(MAX_BYTES);
    super::call(server, request).await
}

pub(super) async fn rating(request: Request) -> HttpResponse {
    let server = RatingServiceServer::new(Movies).max_decoding_message_size(MAX_BYTES);
    super::call(server, request).await
}

pub(super) async fn movie(request: Request) -> HttpResponse {
    let server = MovieServiceServer::new(Movies).max_decoding_message_size(MAX_BYTES);
    super::call(server, request).await
}

#[async_trait]
impl MetadataService for Movies {
    async fn get_metadata(&self, call: Call<GetMetadataRequest>) -> Answer<GetMetadataResponse> {
        let id = movie_id("movie_id", call.into_inner().movie_id)?;
        let movie = movies::one(&id).await?;
        Ok(Response::new(GetMetadataResponse {
            metadata: Some(shown(movie)),
            response_status: status(200),
        }))
    }

    async fn submit_metadata(
        &self,
        call: Call<SubmitMetadataRequest>,
    ) -> Answer<SubmitMetadataResponse> {
        let caller = Caller::of(call.metadata().as_ref(), call.extensions()).await?;
        caller.may_write()?;
        let IdempotencyKey(key) = IdempotencyKey::of(call.metadata().as_ref())?;
        let new = call.into_inner().metadata;
        let new = new.ok_or_else(|| Failure::of(&OUT_OF_BOUNDS, "metadata", "is missing"))?;
        check_record_type("metadata.record_type", &new.record_type)?;
        if !new.id.is_empty() {
            let rule = "must be empty: the server gives it";
            return Err(Failure::of(&OUT_OF_BOUNDS, "metadata.id", rule).into());
        }
        let new = NewMovie {
            title: text("metadata.title", new.title)?,
            year: None,
            description: text("metadata.description", new.description)?,
            director: text("metadata.director", new.director)?,
        };
        let movie = movies::create(&caller, key.as_deref(), new).await;
        let movie = movie.map_err(|mut failure| {
            let field = failure.problem.field.take();
            failure.problem.field = field.map(|field| format!("metadata.{field}"));
            failure
        })?;
        Ok(Response::new(SubmitMetadataResponse {
            metadata: Some(shown(movie)),
            response_status: status(201),
        }))
    }
}

#[async_trait]
impl RatingService for Movies {
    async fn get_aggregated_rating(
        &self,
        call: Call<GetAggregatedRatingRequest>,
    ) -> Answer<GetAggregatedRatingResponse> {
        let asked = call.into_inner();
        check_record_type("record_type", &asked.record_type)?;
        let id = movie_id("record_id", asked.record_id)?;
        let (_, rating) = of(&id).await?;
        Ok(Response::new(GetAggregatedRatingResponse {
            rating_value: rating.average.unwrap_or_default(),
            amount_rating: i32::try_from(rating.count).unwrap_or(i32::MAX),
            response_status: status(200),
        }))
    }

    async fn submit_rating(&self, call: Call<SubmitRatingRequest>) -> Answer<SubmitRatingResponse> {
        let caller = Caller::of(call.metadata().as_ref(), call.extensions()).await?;
        let IdempotencyKey(key) = IdempotencyKey::of(call.metadata().as_ref())?;
        let rating = call.into_inner();
        check_record_type("record_type", &rating.record_type)?;
        let movie = movie_id("record_id", rating.record_id)?;
        let user = UserId::try_from(rating.user_id);
        let user = user.map_err(|rule| Failure::of(&OUT_OF_BOUNDS, "user_id", rule))?;
        let user = caller.rates_for(user)?;
        let value = domain::value(rating.rating_value.into());
        let value = value.map_err(|rule| Failure::of(&OUT_OF_BOUNDS, "rating_value", rule))?;
        let act = Act {
            movie,
            user,
            change: Change::Put(value),
        };
        let _accepted = accept::one(&caller, key.as_deref(), act).await?;
        Ok(Response::new(SubmitRatingResponse {
            response_status: status(202),
        }))
    }
}

#[async_trait]
impl MovieService for Movies {
    async fn get_movie_details(
        &self,
        call: Call<GetMovieDetailsRequest>,
    ) -> Answer<GetMovieDetailsResponse> {
        let id = movie_id("movie_id", call.into_inner().movie_id)?;
        let (movie, rating) = of(&id).await?;
        Ok(Response::new(GetMovieDetailsResponse {
            movie_details: Some(MovieDetails {
                rating: narrow(rating.average.unwrap_or_default()),
                metadata: Some(shown(movie)),
            }),
            response_status: status(200),
        }))
    }
}

/// Both components are asked at once.
async fn of(id: &MovieId) -> Result<(Movie, Aggregate), Failure> {
    // Joined, not raced: a call that is under way is never dropped.
    let (movie, rating) = future::join(movies::one(id), ratings::aggregate(id)).await;
    Ok((movie?, rating?))
}

fn movie_id(field: &str, text: String) -> Result<MovieId, Failure> {
    MovieId::try_from(text).map_err(|rule| Failure::of(&OUT_OF_BOUNDS, field, rule))
}

fn text(field: &str, text: String) -> Result<String, Failure> {
    let text = Text::try_from(text).map(|text| text.0);
    text.map_err(|rule| Failure::of(&OUT_OF_BOUNDS, field, rule))
}

/// Empty is what a client sends that does not name it.
fn check_record_type(field: &str, text: &str) -> Result<(), Failure> {
    let wrong = || Failure::of(&OUT_OF_BOUNDS, field, "must be \"movie\"");
    ["", RECORD_TYPE]
        .contains(&text)
        .then_some(())
        .ok_or_else(wrong)
}

fn shown(movie: Movie) -> Metadata {
    Metadata {
        id: movie.id,
        title: movie.title,
        description: movie.description,
        director: movie.director,
        record_type: RECORD_TYPE.to_owned(),
    }
}

#[expect(
    clippy::as_conversions,
    reason = "there is no other way; the nearest number is meant"
)]
fn narrow(average: f64) -> f32 {
    average as f32
}

fn status(status_code: i32) -> Option<ResponseStatus> {
    Some(ResponseStatus {
        status_code,
        message: String::new(),
    })
}
