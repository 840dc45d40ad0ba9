//! What a user rated.

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use super::{Call, json};
use crate::{
    domain::{
        page::PageQuery,
        rating::{Rating, UserId},
    },
    http::{Body, Response},
    problem::{Kind, Problem},
    upstream::Upstream,
};

/// `GET /v1/users/{user}/ratings`.
pub(super) async fn ratings<U: Upstream, B: Body>(
    call: Call<'_, U, B>,
) -> Result<Response, Problem> {
    let user = UserId::parse("user", call.required("user")?).map_err(Problem::in_url)?;
    let page =
        PageQuery::parse(call.value("after"), call.value("limit")).map_err(Problem::in_url)?;
    let page = call
        .upstream
        .ratings_by_user(&user, &page)
        .await
        .map_err(|failure| Problem::of_failure(failure, Kind::InvalidParameter))?;
    let ratings = page
        .ratings
        .iter()
        .map(Shown::of)
        .collect::<Result<_, _>>()?;
    json(
        200,
        &Page {
            ratings,
            next: page.next.as_deref(),
        },
    )
}

#[derive(Serialize)]
struct Page<'a> {
    ratings: Vec<Shown<'a>>,
    next: Option<&'a str>,
}

#[derive(Serialize)]
struct Shown<'a> {
    record_id: &'a str,
    record_type: &'a str,
    user_id: &'a str,
    value: u8,
    occurred_at: String,
}

impl<'a> Shown<'a> {
    fn of(rating: &'a Rating) -> Result<Self, Problem> {
        Ok(Self {
            record_id: &rating.record_id,
            record_type: &rating.record_type,
            user_id: &rating.user_id,
            value: rating.value,
            occurred_at: rfc_3339(rating.occurred_at_us)?,
        })
    }
}

/// A moment as clients read it, to the microsecond.
fn rfc_3339(us: u64) -> Result<String, Problem> {
    i64::try_from(us)
        .ok()
        .and_then(DateTime::from_timestamp_micros)
        .map(|moment| moment.to_rfc3339_opts(SecondsFormat::Micros, true))
        .ok_or_else(|| {
            let cause = format!("a rating's time, {us} us, is out of range");
            Problem::new(Kind::Internal, "the request id finds it in the log").caused_by(cause)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_to_the_microsecond_in_utc() {
        assert_eq!(rfc_3339(0).unwrap(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            rfc_3339(1_709_164_799_000_001).unwrap(),
            "2024-02-28T23:59:59.000001Z"
        );
        assert!(rfc_3339(u64::MAX).is_err());
    }
}
