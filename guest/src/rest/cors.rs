//! Which sites may use the API from a browser (CORS), as a variable of the component says.
//!
//! It decides what browsers let pages do, and protects nothing by itself: tokens do. They travel in `Authorization`, which
//! a page has to set, so no request has a user's credentials unasked.

use std::time::Duration;

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, Method, header},
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::variables;

/// Whether a site asks: then the answer says what it may do. OPTIONS without such a question asks for the methods of a path.
pub(super) fn is_asked(request: &Request) -> bool {
    let headers = request.headers();
    headers.contains_key(header::ORIGIN)
        && (request.method() != Method::OPTIONS
            || headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD))
}

/// The sites that the variable names; none where it is empty.
pub(super) async fn read(variable: &str) -> Result<Option<AllowOrigin>, String> {
    let setting = variables::get(variable).await?;
    parse(&setting).map_err(|wrong| {
        format!(
            "variable {variable} has {wrong:?}; it must be \"\", \"*\", or origins like https://films.example with commas between them"
        )
    })
}

fn parse(setting: &str) -> Result<Option<AllowOrigin>, String> {
    match setting.trim() {
        "" => Ok(None),
        "*" => Ok(Some(AllowOrigin::any())),
        list => {
            let origins = list.split(',').map(|origin| self::origin(origin.trim()));
            let origins: Result<Vec<_>, _> = origins.collect();
            origins.map(|origins| Some(AllowOrigin::list(origins)))
        }
    }
}

/// As a browser sends it: a scheme and an authority, and nothing else. Otherwise, what is wrong.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let authority = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let plain = |authority: &str| {
        let mut bytes = authority.bytes();
        !authority.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    };
    let value = HeaderValue::from_str(text).ok();
    value
        .filter(|_| authority.is_some_and(plain))
        .ok_or_else(|| text.to_owned())
}

pub(super) fn layer(origins: AllowOrigin, exposed: &[&'static str]) -> CorsLayer {
    let exposed = exposed.iter().copied().map(HeaderName::from_static);
    let own = [
        header::ETAG,
        header::LOCATION,
        header::RETRY_AFTER,
        super::REQUEST_ID,
    ];
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            super::IDEMPOTENCY_KEY,
            super::REQUEST_ID,
        ])
        .expose_headers(own.into_iter().chain(exposed).collect::<Vec<_>>())
        .max_age(MAX_AGE)
}

/// How long a browser remembers what it may do.
const MAX_AGE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_setting_that_no_browser_could_match_is_refused() {
        let check = |setting: &str, good: bool| {
            assert_eq!(parse(setting).is_ok(), good, "{setting}");
        };
        check("", true);
        check(" ", true);
        check("*", true);
        check("https://films.example", true);
        check("https://films.example, http://localhost:8080", true);
        check("http://[::1]:80", true);
        check("films.example", false);
        check("https://", false);
        check("https://films.example/", false);
        check("https://*.example", false);
        check("https://a.example,", false);
        check("null", false);
        check("ftp://a.example", false);
    }
}
