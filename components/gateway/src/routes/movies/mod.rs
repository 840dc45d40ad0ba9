//! Movies: what clients see of them, read and written.

pub(crate) mod read;
pub(crate) mod write;

use marquee_guest::rest::{Failure, moment_ms};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{domain::MovieId, upstream::movies};

/// A movie.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!(example())))]
pub(super) struct Movie {
    #[schema(value_type = MovieId)]
    id: String,
    title: String,
    /// Of its release; null where it is not known.
    #[schema(required, minimum = 1870, maximum = 2200)]
    year: Option<u16>,
    description: String,
    director: String,
    /// 1 when it was created; every change makes it one more. Its `ETag` is the same in quotation marks.
    #[schema(minimum = 1)]
    version: u64,
    #[schema(format = DateTime)]
    created_at: String,
}

impl TryFrom<movies::Movie> for Movie {
    type Error = Failure;

    fn try_from(movie: movies::Movie) -> Result<Self, Failure> {
        Ok(Self {
            id: movie.id,
            title: movie.title,
            year: movie.year,
            description: movie.description,
            director: movie.director,
            version: movie.version,
            created_at: moment_ms(movie.created_at_ms)?,
        })
    }
}

/// A year in a query: digits only; its bounds are their owner's.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Year(u16);

impl TryFrom<String> for Year {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // `parse` alone would take "+1967".
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let year = text.parse().ok().filter(|_| digits);
        year.map(Self).ok_or("must be a year from 1870 to 2200")
    }
}

/// A movie, for the document.
fn example() -> Value {
    json!({"id": "0192f0c1-2345-7abc-8def-0123456789ab", "title": "Playtime", "year": 1967,
        "description": "A day in a city of glass.", "director": "Jacques Tati", "version": 1,
        "created_at": "2026-11-25T02:54:36.000Z"})
}
