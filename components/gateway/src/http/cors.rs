//! Which sites may use the API from a browser (CORS), by the application's variable `cors_origins`.
//!
//! It decides what browsers let pages do, and protects nothing by itself: tokens do. They travel in `Authorization`, which
//! a page has to set, so no request has a user's credentials unasked.

use std::{sync::OnceLock, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, Method, header},
};
use marquee_guest::variables;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::log;

/// The router as the sites that may use it see it; none where there is no such site, or where no site asks.
pub(super) async fn around(request: &Request, router: &Router) -> Option<Router> {
    let headers = request.headers();
    let is_preflight = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    // OPTIONS without a question asks for the methods of a path.
    if !headers.contains_key(header::ORIGIN)
        || (request.method() == Method::OPTIONS && !is_preflight)
    {
        return None;
    }
    if let Some(known) = AROUND.get() {
        return known.clone();
    }
    let origins = read().await.unwrap_or_else(|error| {
        log(&format!("{error}; no site may ask"));
        None
    });
    let made = origins.map(|origins| router.clone().layer(layer(origins)));
    AROUND.get_or_init(|| made).clone()
}

/// Fails where the setting cannot be understood.
pub(super) async fn check() -> Result<(), String> {
    read().await.map(drop)
}

/// A variable does not change while a component runs.
static AROUND: OnceLock<Option<Router>> = OnceLock::new();

async fn read() -> Result<Option<AllowOrigin>, String> {
    parse(&variables::get("cors_origins").await?)
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

/// As a browser sends it: a scheme and an authority, and nothing else.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let authority = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let plain = |authority: &str| {
        let mut bytes = authority.bytes();
        !authority.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    };
    let value = HeaderValue::from_str(text).ok();
    value.filter(|_| authority.is_some_and(plain)).ok_or_else(|| {
        format!(
            "variable cors_origins has {text:?}; it must be \"\", \"*\", or origins like https://films.example with commas between them"
        )
    })
}

fn layer(origins: AllowOrigin) -> CorsLayer {
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
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            super::AUTH,
            super::REQUEST_ID,
        ])
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
