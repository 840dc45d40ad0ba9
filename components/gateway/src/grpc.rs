//! gRPC: the three services of the original system, of `proto/movie.proto`. Each call does what a route does; only its
//! messages are others.

use marquee_guest::{
    grpc::{MAX_BYTES, Service, Services, call},
    rest::{Failure, IdempotencyKey, Text},
};
use tonic::{Response, Status, async_trait};

use crate::{
    caller::Caller,
    domain::{self, Act, Change, MovieId, RECORD_TYPE, UserId},
    routes::{movies, ratings::accept},
    upstream::movies::{Movie, NewMovie, one},
};
use proto::{
    GetAggregatedRatingRequest, GetAggregatedRatingResponse, GetMetadataRequest,
    GetMetadataResponse, GetMovieDetailsRequest, GetMovieDetailsResponse, Metadata, MovieDetails,
    ResponseStatus, SubmitMetadataRequest, SubmitMetadataResponse, SubmitRatingRequest,
    SubmitRatingResponse,
    metadata_service_server::{MetadataService, MetadataServiceServer},
    movie_service_server::{MovieService, MovieServiceServer},
    rating_service_server::{RatingService, RatingServiceServer},
};

/// What is made of `proto/movie.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "made by tonic-prost-build"
)]
mod proto {
    tonic::include_proto!("_");
}

/// What is served.
pub(crate) static SERVICES: Services = Services {
    own: &[
        Service::new("MetadataService", |request| {
            let server = MetadataServiceServer::new(Movies);
            call(server.max_decoding_message_size(MAX_BYTES), request)
        }),
        Service::new("RatingService", |request| {
            let server = RatingServiceServer::new(Movies);
            call(server.max_decoding_message_size(MAX_BYTES), request)
        }),
        Service::new("MovieService", |request| {
            let server = MovieServiceServer::new(Movies);
            call(server.max_decoding_message_size(MAX_BYTES), request)
        }),
    ],
    descriptors: include_bytes!(concat!(env!("OUT_DIR"), "/movie.descriptors")),
    resource: "Metadata",
};

/// A request and its message.
type Call<T> = tonic::Request<T>;
type Answer<T> = Result<Response<T>, Status>;

struct Movies;

#[async_trait]
impl MetadataService for Movies {
    async fn get_metadata(&self, call: Call<GetMetadataRequest>) -> Answer<GetMetadataResponse> {
        let id = movie_id("movie_id", call.into_inner().movie_id)?;
        let movie = one(&id).await?;
        Ok(Response::new(GetMetadataResponse {
            metadata: Some(movie.into()),
            response_status: status(200),
        }))
    }

    async fn submit_metadata(
        &self,
        call: Call<SubmitMetadataRequest>,
    ) -> Answer<SubmitMetadataResponse> {
        let (caller, key) = caller(&call).await?;
        caller.may_write()?;
        let new = call.into_inner().metadata;
        let new = new.ok_or_else(|| Failure::out_of_bounds("metadata", "is missing"))?;
        check_record_type("metadata.record_type", &new.record_type)?;
        if !new.id.is_empty() {
            let rule = "must be empty: the server gives it";
            return Err(Failure::out_of_bounds("metadata.id", rule).into());
        }
        let new = NewMovie {
            title: text("metadata.title", new.title)?,
            year: None,
            description: text("metadata.description", new.description)?,
            director: text("metadata.director", new.director)?,
        };
        let movie = movies::write::made(&caller, key, new).await;
        let movie = movie.map_err(|mut failure| {
            let field = failure.problem.field.take();
            failure.problem.field = field.map(|field| format!("metadata.{field}"));
            failure
        })?;
        Ok(Response::new(SubmitMetadataResponse {
            metadata: Some(movie.into()),
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
        let (movie, rating) = movies::read::of(&id).await;
        movie?;
        let rating = rating?;
        Ok(Response::new(GetAggregatedRatingResponse {
            rating_value: rating.average.unwrap_or_default(),
            amount_rating: i32::try_from(rating.count).unwrap_or(i32::MAX),
            response_status: status(200),
        }))
    }

    async fn submit_rating(&self, call: Call<SubmitRatingRequest>) -> Answer<SubmitRatingResponse> {
        let (caller, key) = caller(&call).await?;
        let rating = call.into_inner();
        check_record_type("record_type", &rating.record_type)?;
        let movie = movie_id("record_id", rating.record_id)?;
        let user = UserId::try_from(rating.user_id);
        let user = user.map_err(|rule| Failure::out_of_bounds("user_id", rule))?;
        let user = caller.rates_for(user)?;
        let value = domain::value(rating.rating_value.into());
        let value = value.map_err(|rule| Failure::out_of_bounds("rating_value", rule))?;
        let change = Change::Put(value);
        let act = Act {
            movie,
            user,
            change,
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
        let (movie, rating) = movies::read::of(&id).await;
        let (movie, rating) = (movie?, rating?);
        Ok(Response::new(GetMovieDetailsResponse {
            movie_details: Some(MovieDetails {
                rating: narrow(rating.average.unwrap_or_default()),
                metadata: Some(movie.into()),
            }),
            response_status: status(200),
        }))
    }
}

/// Who calls, and under which idempotency key.
async fn caller<T>(call: &Call<T>) -> Result<(Caller, Option<String>), Failure> {
    let headers = call.metadata().as_ref();
    let caller = Caller::of(headers, call.extensions()).await?;
    Ok((caller, IdempotencyKey::of(headers)?.0))
}

fn movie_id(field: &str, text: String) -> Result<MovieId, Failure> {
    MovieId::try_from(text).map_err(|rule| Failure::out_of_bounds(field, rule))
}

fn text(field: &str, text: String) -> Result<String, Failure> {
    let text = Text::try_from(text).map(|text| text.0);
    text.map_err(|rule| Failure::out_of_bounds(field, rule))
}

/// Empty is what a client sends that does not name it.
fn check_record_type(field: &str, text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    domain::check_record_type(text).map_err(|rule| Failure::out_of_bounds(field, rule))
}

impl From<Movie> for Metadata {
    fn from(movie: Movie) -> Self {
        Self {
            id: movie.id,
            title: movie.title,
            description: movie.description,
            director: movie.director,
            record_type: RECORD_TYPE.to_owned(),
        }
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
