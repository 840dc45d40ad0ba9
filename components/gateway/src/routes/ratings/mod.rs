//! Ratings: what clients see of them, given and read, and what became of an act.

pub(crate) mod accept;
pub(super) mod events;
pub(super) mod read;
pub(super) mod write;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{MovieId, UserId},
    failure::Failure,
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
            occurred_at: rfc_3339(rating.occurred_at_us)?,
        })
    }
}

/// A moment as clients read it, to the microsecond.
fn rfc_3339(us: u64) -> Result<String, Failure> {
    let moment = i64::try_from(us)
        .ok()
        .and_then(DateTime::from_timestamp_micros);
    let far = || Failure::internal(format!("a rating's time, {us} us, is out of range"));
    Ok(moment
        .ok_or_else(far)?
        .to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[cfg(test)]
#[path = "moment_tests.rs"]
mod tests;
