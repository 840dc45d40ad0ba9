//! May the answer be what the client accepts?

use axum::http::{HeaderMap, header};
use marquee_problem::NOT_ACCEPTABLE;
use mime::{Mime, STAR};

use super::Failure;

/// What most routes answer with.
pub(super) const JSON: &[&str] = &["application/json"];

/// For a route that answers with one of these media types: a client that accepts none of them gets 406. Whatever reads a part
/// of a request for a route that answers with JSON has checked that.
pub fn check_accept(headers: &HeaderMap, types: &[&str]) -> Result<(), Failure> {
    if accepted(headers, types) {
        return Ok(());
    }
    let detail = format!("this path answers with {}", types.join(" or "));
    Err(NOT_ACCEPTABLE.with(detail).into())
}

/// The same for a route that answers with JSON.
pub fn check_json(headers: &HeaderMap) -> Result<(), Failure> {
    check_accept(headers, JSON)
}

/// No header, and one that cannot be read, allow everything. Problems are sent whatever it says.
fn accepted(headers: &HeaderMap, types: &[&str]) -> bool {
    let mut ranges: Vec<Mime> = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        let Ok(value) = value.to_str() else {
            return true;
        };
        ranges.extend(
            value
                .split(',')
                .filter_map(|range| range.trim().parse().ok()),
        );
    }
    ranges.is_empty()
        || types
            .iter()
            .any(|own| own.parse().is_ok_and(|own| allowed(&ranges, &own)))
}

/// The closest range decides.
fn allowed(ranges: &[Mime], own: &Mime) -> bool {
    let closeness = |range: &Mime| match (range.type_(), range.subtype()) {
        (kind, subtype) if kind == own.type_() && subtype == own.subtype() => Some(2),
        (kind, STAR) if kind == own.type_() => Some(1),
        (STAR, STAR) => Some(0),
        _ => None,
    };
    let refused = |range: &Mime| {
        range
            .get_param("q")
            .is_some_and(|weight| weight.as_str().parse() == Ok(0.0_f32))
    };
    let closest = ranges
        .iter()
        .filter_map(|range| Some((closeness(range)?, range)))
        .max_by_key(|(close, _)| *close);
    closest.is_some_and(|(_, range)| !refused(range))
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
