//! Media types: may the answer be what the client accepts, and is the body what a route reads.

use super::Headers;
use crate::problem::{Kind, Problem};

/// JSON, both ways.
pub(crate) const JSON: &str = "application/json";

/// Checks that `Accept` allows one of the types that a route can answer with. No header, and one that cannot be
/// read, allow everything. Problems are sent whatever it says.
pub(crate) fn check_accept(headers: &Headers, produced: &[&'static str]) -> Result<(), Problem> {
    let mut ranges = Vec::new();
    for value in headers.all("accept") {
        let Ok(value) = std::str::from_utf8(value) else {
            return Ok(());
        };
        ranges.extend(value.split(',').filter_map(Range::parse));
    }
    if ranges.is_empty()
        || produced
            .iter()
            .any(|media_type| allowed(&ranges, media_type))
    {
        return Ok(());
    }
    let detail = format!("this path answers with {}", produced.join(" or "));
    Err(Problem::new(Kind::NotAcceptable, detail))
}

/// Checks that a body is said to be plain JSON in UTF-8.
pub(crate) fn check_body(headers: &Headers) -> Result<(), Problem> {
    for coding in headers.all("content-encoding") {
        if !coding.trim_ascii().eq_ignore_ascii_case(b"identity") {
            return Err(unsupported("a body must not be encoded (Content-Encoding)"));
        }
    }
    if headers.only("content-type").is_some_and(is_json) {
        Ok(())
    } else {
        Err(unsupported(
            "a body must have Content-Type application/json, in UTF-8",
        ))
    }
}

fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    essence.eq_ignore_ascii_case(JSON)
        && parts.filter(|part| !part.is_empty()).all(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.eq_ignore_ascii_case("charset")
                    && value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            })
        })
}

/// One range of an Accept header. Parameters other than the weight are passed over: nothing here has any.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    refused: bool,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let refused = parts
            .filter_map(|parameter| parameter.split_once('='))
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .any(|(_, weight)| weight.trim().parse() == Ok(0.0_f32));
        Some(Self {
            kind,
            subtype,
            refused,
        })
    }

    /// How closely the range names the type; none when it does not.
    fn closeness(&self, media_type: &str) -> Option<u8> {
        let (kind, subtype) = media_type.split_once('/')?;
        let same_kind = self.kind.eq_ignore_ascii_case(kind);
        if same_kind && self.subtype.eq_ignore_ascii_case(subtype) {
            Some(2)
        } else if same_kind && self.subtype == "*" {
            Some(1)
        } else if self.kind == "*" && self.subtype == "*" {
            Some(0)
        } else {
            None
        }
    }
}

/// The closest range decides.
fn allowed(ranges: &[Range<'_>], media_type: &str) -> bool {
    ranges
        .iter()
        .filter_map(|range| Some((range.closeness(media_type)?, range.refused)))
        .max_by_key(|(closeness, _)| *closeness)
        .is_some_and(|(_, refused)| !refused)
}

fn unsupported(detail: &'static str) -> Problem {
    Problem::new(Kind::UnsupportedMediaType, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        Headers::new(
            fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())),
        )
    }

    #[test]
    fn accept_is_read_by_its_closest_range() {
        let check = |accept: &str| check_accept(&headers(&[("Accept", accept)]), &[JSON]).is_ok();
        for accept in [
            "",
            "*/*",
            "application/*",
            "APPLICATION/json",
            "text/html, application/json;q=0.1",
            "text/html,*/*;q=0.8",
            "application/json;charset=utf-8",
            "*/*;q=0, application/json",
            "nonsense",
        ] {
            assert!(check(accept), "{accept:?}");
        }
        for accept in [
            "image/png",
            "text/*",
            "application/json;q=0",
            "*/*, application/json;q=0.0",
            "application/xml, text/html",
            "application/problem+json",
        ] {
            assert!(!check(accept), "{accept:?}");
        }
        assert!(check_accept(&Headers::default(), &[JSON]).is_ok());
    }

    #[test]
    fn a_body_is_json_in_utf_8_and_not_encoded() {
        let check = |fields: &[(&str, &str)]| check_body(&headers(fields)).is_ok();
        for content_type in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json;",
        ] {
            assert!(check(&[("content-type", content_type)]), "{content_type}");
        }
        for content_type in [
            "",
            "text/plain",
            "application/jsonx",
            "application/problem+json",
            "application/json; charset=utf-16",
            "application/json; charset=latin1",
            "application/json; version=1",
            "application/x-www-form-urlencoded",
        ] {
            assert!(!check(&[("content-type", content_type)]), "{content_type}");
        }
        let json = ("content-type", JSON);
        assert!(!check(&[]));
        assert!(!check(&[json, json]));
        assert!(check(&[json, ("content-encoding", "identity")]));
        assert!(!check(&[json, ("content-encoding", "gzip")]));
        assert!(!check(&[json, ("content-encoding", "unknown")]));
        assert!(!check(&[
            json,
            ("content-encoding", "identity"),
            ("content-encoding", "br")
        ]));
    }
}
