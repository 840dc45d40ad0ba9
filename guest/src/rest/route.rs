//! The name of the route that answered, for the host's metrics and access log: its pattern, with no value of the request in it.

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue},
    middleware::{Next, from_fn},
    response::Response,
};

/// These routes, whose answers name them.
pub(super) fn named(routes: Router) -> Router {
    routes.layer(from_fn(answer))
}

async fn answer(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        name(&mut response, route.as_str());
    }
    response
}

/// Tell the host that this route has answered.
pub(crate) fn name(response: &mut Response, route: &str) {
    if let Ok(route) = HeaderValue::from_str(route) {
        response.headers_mut().insert(ROUTE, route);
    }
}

/// The host takes it out. Elsewhere clients see it: it says no more than the API's document.
pub(crate) const ROUTE: HeaderName = HeaderName::from_static("marquee-route");

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::StatusCode, routing::get};
    use futures::executor::block_on;
    use tower_service::Service as _;

    use super::*;

    #[test]
    fn an_answer_names_the_pattern_of_its_route_and_nothing_of_the_request() {
        let routes = Router::new().route("/notes/{id}", get(|| async { "a note" }));
        let mut routes = named(routes);
        let mut check = |method: &str, path: &str, status: StatusCode, route: Option<&str>| {
            let request = Request::builder().method(method).uri(path);
            let request = request.body(Body::empty()).unwrap();
            let response = block_on(routes.call(request)).unwrap();
            assert_eq!(response.status(), status, "{path}");
            let named = response.headers().get(ROUTE);
            let named = named.map(|value| value.to_str().unwrap());
            assert_eq!(named, route, "{method} {path}");
        };
        let pattern = Some("/notes/{id}");
        check("GET", "/notes/7?key=value", StatusCode::OK, pattern);
        check("PUT", "/notes/7", StatusCode::METHOD_NOT_ALLOWED, pattern);
        check("GET", "/7", StatusCode::NOT_FOUND, None);
    }
}
