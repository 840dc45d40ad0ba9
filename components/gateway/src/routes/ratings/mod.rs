//! Ratings: what clients see of them, given and read, and what became of an act.

pub(crate) mod accept;
pub(super) mod events;
pub(super) mod read;
pub(super) mod write;

use marquee_guest::rest::{Failure, moment_us};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{MovieId, UserId},
    upstream::ratings,
};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Subject {
    /// The movie's id.
    id: MovieId,
    /// Who rates, percent-encoded. `me`: whoever's token it is.
    user: UserId,
}

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

impl TryFrom<ratings::Rating> for Rating {
    type Error = Failure;

    fn try_from(rating: ratings::Rating) -> Result<Self, Failure> {
        Ok(Self {
            record_id: rating.record_id,
            record_type: rating.record_type,
            user_id: rating.user_id,
            value: rating.value,
            occurred_at: moment_us(rating.occurred_at_us)?,
        })
    }
}
