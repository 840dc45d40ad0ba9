//! The routes: which paths there are, with which methods and parameters. `openapi.json` is checked against this
//! table by a test.

use crate::http::negotiate::JSON;

/// One method of one path.
#[derive(Debug)]
pub struct Route {
    /// GET (which stands for HEAD too), POST, PUT or DELETE.
    pub method: &'static str,
    /// The path; `{name}` stands for one segment that is not empty.
    pub path: &'static str,
    /// The query parameters that it takes.
    pub query: &'static [&'static str],
    /// The media types that it can answer with.
    pub produces: &'static [&'static str],
    pub(super) endpoint: Endpoint,
}

/// What answers a route.
#[derive(Debug, Clone, Copy)]
pub(super) enum Endpoint {
    Movie,
    Movies,
    SubmitMovie,
    Details,
    PutRating,
    DeleteRating,
    UserRatings,
    OriginalMetadata,
    OriginalDetails,
    OriginalSubmitMetadata,
    OriginalSubmitRating,
    OpenApi,
    Docs,
    Problem,
}

/// Every route. First the paths of the original system, then the resources, then the documents.
pub static ROUTES: &[Route] = &[
    route(
        "GET",
        "/v1/get-metadata",
        &["id"],
        Endpoint::OriginalMetadata,
    ),
    route(
        "GET",
        "/v1/get-movie-details",
        &["id"],
        Endpoint::OriginalDetails,
    ),
    route(
        "POST",
        "/v1/submit-metadata",
        &[],
        Endpoint::OriginalSubmitMetadata,
    ),
    route(
        "POST",
        "/v1/submit-rating",
        &[],
        Endpoint::OriginalSubmitRating,
    ),
    route(
        "GET",
        "/v1/movies",
        &["prefix", "after", "limit"],
        Endpoint::Movies,
    ),
    route("POST", "/v1/movies", &[], Endpoint::SubmitMovie),
    route("GET", "/v1/movies/{id}", &[], Endpoint::Movie),
    route("GET", "/v1/movies/{id}/details", &[], Endpoint::Details),
    route(
        "PUT",
        "/v1/movies/{id}/ratings/{user}",
        &[],
        Endpoint::PutRating,
    ),
    route(
        "DELETE",
        "/v1/movies/{id}/ratings/{user}",
        &[],
        Endpoint::DeleteRating,
    ),
    route(
        "GET",
        "/v1/users/{user}/ratings",
        &["after", "limit"],
        Endpoint::UserRatings,
    ),
    Route {
        produces: &[JSON, "application/vnd.oai.openapi+json"],
        ..route("GET", "/openapi.json", &[], Endpoint::OpenApi)
    },
    Route {
        produces: &["text/html"],
        ..route("GET", "/docs", &[], Endpoint::Docs)
    },
    route("GET", "/problems/{name}", &[], Endpoint::Problem),
];

const fn route(
    method: &'static str,
    path: &'static str,
    query: &'static [&'static str],
    endpoint: Endpoint,
) -> Route {
    Route {
        method,
        path,
        query,
        produces: &[JSON],
        endpoint,
    }
}

/// What the table says of a request.
pub(super) enum Found {
    /// A route, and the path's values.
    Route(&'static Route, Vec<(&'static str, String)>),
    /// The path is there and the method asks what it has: these.
    Options(String),
    /// The path is there and has only these methods.
    WrongMethod(String),
    /// The path is not there.
    Nothing,
}

/// Looks a request up. Methods are compared as they stand: `get` is not GET.
pub(super) fn find(method: &str, segments: &[String]) -> Found {
    let at_path = || {
        ROUTES
            .iter()
            .filter_map(|route| Some((route, captured(route.path, segments)?)))
    };
    let wanted = if method == "HEAD" { "GET" } else { method };
    if let Some((route, values)) = at_path().find(|(route, _)| route.method == wanted) {
        return Found::Route(route, values);
    }
    let mut allow: Vec<&str> = at_path().map(|(route, _)| route.method).collect();
    if allow.is_empty() {
        return Found::Nothing;
    }
    if allow.contains(&"GET") {
        allow.push("HEAD");
    }
    allow.push("OPTIONS");
    let allow = allow.join(", ");
    if method == "OPTIONS" {
        Found::Options(allow)
    } else {
        Found::WrongMethod(allow)
    }
}

/// The values of a path's names, if the segments are the path's.
fn captured(path: &'static str, segments: &[String]) -> Option<Vec<(&'static str, String)>> {
    let mut values = Vec::new();
    let mut rest = segments.iter();
    for part in path.trim_start_matches('/').split('/') {
        let segment = rest.next()?;
        match part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
        {
            Some(name) if !segment.is_empty() => values.push((name, segment.clone())),
            Some(_) => return None,
            None if part == segment => {}
            None => return None,
        }
    }
    rest.next().is_none().then_some(values)
}
