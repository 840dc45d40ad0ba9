//! The real upstream: calls through the component's imports, and the translation of their errors.

use super::{Failure, Upstream};
use crate::{
    bindings::{
        marquee::messaging::{producer, types as messaging},
        movie::{
            metadata::{
                commands as metadata_commands, queries as metadata_queries, types as metadata,
            },
            rating::{commands as rating_commands, queries as rating_queries, types as rating},
        },
    },
    domain::{
        id::MovieId,
        movie::{Movie, MoviePage, NewMovie},
        page::{PageQuery, Prefix},
        rating::{
            Aggregate, Change, RECORD_TYPE_MOVIE, Rating, RatingEvent, RatingPage, TOPIC, UserId,
        },
    },
};

/// The components that the host linked.
pub(crate) struct Components;

impl Upstream for Components {
    async fn movie(&self, id: &MovieId) -> Result<Option<Movie>, Failure> {
        let movie = metadata_queries::movie_by_id(id.as_str().to_owned()).await?;
        Ok(movie.map(Movie::from))
    }

    async fn movies(
        &self,
        prefix: Option<&Prefix>,
        page: &PageQuery,
    ) -> Result<MoviePage, Failure> {
        let prefix = prefix.map(|prefix| prefix.as_str().to_owned());
        let after = page.after().map(str::to_owned);
        let page = metadata_queries::movies(prefix, after, page.limit()).await?;
        Ok(MoviePage {
            movies: page.movies.into_iter().map(Movie::from).collect(),
            next: page.next,
        })
    }

    async fn submit_movie(&self, movie: &NewMovie) -> Result<Movie, Failure> {
        let movie = metadata_commands::submit(metadata_commands::NewMovie {
            title: movie.title().to_owned(),
            description: movie.description().to_owned(),
            director: movie.director().to_owned(),
        })
        .await?;
        Ok(movie.into())
    }

    async fn aggregate(&self, id: &MovieId) -> Result<Aggregate, Failure> {
        let aggregate =
            rating_queries::aggregate_of(RECORD_TYPE_MOVIE.to_owned(), id.as_str().to_owned())
                .await?;
        Ok(Aggregate {
            average: aggregate.average,
            count: aggregate.count,
        })
    }

    async fn ratings_by_user(
        &self,
        user: &UserId,
        page: &PageQuery,
    ) -> Result<RatingPage, Failure> {
        let after = page.after().map(str::to_owned);
        let page =
            rating_queries::ratings_by_user(user.as_str().to_owned(), after, page.limit()).await?;
        Ok(RatingPage {
            ratings: page.ratings.into_iter().map(Rating::from).collect(),
            next: page.next,
        })
    }

    async fn publish(&self, event: &RatingEvent) -> Result<(), Failure> {
        let value = event
            .to_json()
            .map_err(|error| Failure::Other(error.to_string()))?;
        producer::publish(vec![messaging::Outgoing {
            event_id: event.event_id.clone(),
            topic: TOPIC.to_owned(),
            key: event.key().to_owned(),
            value,
            headers: Vec::new(),
        }])
        .await?;
        Ok(())
    }

    async fn submit_rating(&self, event: &RatingEvent) -> Result<(), Failure> {
        // A duplicate means that the bus had it after all, and that it was counted.
        rating_commands::submit(rating::RatingEvent {
            event_id: event.event_id.clone(),
            record_id: event.movie.as_str().to_owned(),
            record_type: RECORD_TYPE_MOVIE.to_owned(),
            user_id: event.user.as_str().to_owned(),
            change: match event.change {
                Change::Put(value) => rating::Change::Put(value.get()),
                Change::Delete => rating::Change::Delete,
            },
            occurred_at_us: event.occurred_at_us,
        })
        .await?;
        Ok(())
    }
}

impl From<metadata::Movie> for Movie {
    fn from(movie: metadata::Movie) -> Self {
        Self {
            id: movie.id,
            title: movie.title,
            description: movie.description,
            director: movie.director,
        }
    }
}

impl From<rating::Rating> for Rating {
    fn from(rating: rating::Rating) -> Self {
        Self {
            record_id: rating.record_id,
            record_type: rating.record_type,
            user_id: rating.user_id,
            value: rating.value,
            occurred_at_us: rating.occurred_at_us,
        }
    }
}

impl From<metadata::Error> for Failure {
    fn from(error: metadata::Error) -> Self {
        match error {
            metadata::Error::TitleTaken(id) => Self::TitleTaken(id),
            metadata::Error::Invalid(text) => Self::Invalid(text),
            metadata::Error::Unavailable(text) => Self::unavailable(text),
            metadata::Error::Other(text) => Self::Other(text),
        }
    }
}

impl From<rating::Error> for Failure {
    fn from(error: rating::Error) -> Self {
        match error {
            rating::Error::Invalid(text) => Self::Invalid(text),
            rating::Error::Unavailable(text) => Self::unavailable(text),
            rating::Error::Other(text) => Self::Other(text),
        }
    }
}

impl From<messaging::PublishError> for Failure {
    fn from(error: messaging::PublishError) -> Self {
        match error {
            messaging::PublishError::Unavailable(text) => Self::unavailable(text),
            messaging::PublishError::Refused(text) => Self::Other(format!("refused: {text}")),
            messaging::PublishError::Other(text) => Self::Other(text),
        }
    }
}
