//! The table of routes, and the way of a request through it.
//!
//! Checks come in this order, and the first that fails decides the status: escapes of the URL (400), path (404),
//! method (405), Accept (406), query (400), then what the route takes: the body's headers (415), size (413),
//! JSON (400), shape (400), bounds (422). Only then is another component asked.

mod details;
mod documents;
mod movies;
mod original;
mod ratings;
mod table;
mod users;

use crate::{
    Edge,
    domain::Invalid,
    http::{
        Body, Headers, Request, Response, body,
        json::Object,
        negotiate,
        target::{self, Target},
    },
    problem::{Kind, Problem},
    upstream::Upstream,
};

pub use documents::{DOCS_PAGE, OPENAPI};
pub use table::{ROUTES, Route};

use table::{Endpoint, Found};

/// Answers a request: never with an error of its own, and never without the request's id.
pub async fn answer<U: Upstream, B: Body>(
    request: Request<B>,
    upstream: &U,
    edge: &Edge,
) -> Response {
    let id = request_id(&request.headers).unwrap_or_else(edge.new_id);
    let head = request.method == "HEAD";
    let response = match dispatch(request, upstream, edge).await {
        Ok(response) => response,
        Err(problem) => {
            if let Some(cause) = problem.cause() {
                (edge.log)(&format!("{}: {cause}", problem.kind().name()));
            }
            problem.into_response(&id)
        }
    };
    finish(response, id, head)
}

/// One request on its way: what a route may look at.
struct Call<'a, U, B> {
    /// The path's and the query's values by the names that the table gives them.
    values: Vec<(&'static str, String)>,
    headers: Headers,
    body: B,
    upstream: &'a U,
    edge: &'a Edge,
}

impl<U: Upstream, B: Body> Call<'_, U, B> {
    /// A value of the URL that may be left out.
    fn value(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value.as_str())
    }

    /// A value of the URL that must be there.
    fn required(&self, name: &'static str) -> Result<&str, Problem> {
        self.value(name)
            .ok_or_else(|| Problem::in_url(Invalid::malformed(name, "is missing")))
    }

    /// The body, read and counted, as an object that has only these fields.
    async fn object(&mut self, fields: &'static [&'static str]) -> Result<Object, Problem> {
        let bytes = body::read(&self.headers, &mut self.body).await?;
        Object::parse(&bytes, fields)
    }
}

async fn dispatch<U: Upstream, B: Body>(
    request: Request<B>,
    upstream: &U,
    edge: &Edge,
) -> Result<Response, Problem> {
    let target = Target::parse(&request.target)?;
    let (route, captured) = match table::find(&request.method, &target.segments) {
        Found::Route(route, captured) => (route, captured),
        Found::Options(allow) => return Ok(Response::empty(204).with("allow", allow)),
        Found::WrongMethod(allow) => {
            let detail = format!("this path has {allow}");
            return Err(Problem::new(Kind::MethodNotAllowed, detail).allowing(allow));
        }
        Found::Nothing => {
            return Err(Problem::new(
                Kind::NoSuchResource,
                "see /docs for what there is",
            ));
        }
    };
    negotiate::check_accept(&request.headers, route.produces)?;
    target::check_parameters(&target.parameters, route.query)?;
    let mut values = captured;
    for (name, value) in target.parameters {
        if let Some(known) = route.query.iter().find(|known| **known == name) {
            values.push((known, value));
        }
    }
    let call = Call {
        values,
        headers: request.headers,
        body: request.body,
        upstream,
        edge,
    };
    match route.endpoint {
        Endpoint::Movie => movies::one(call).await,
        Endpoint::Movies => movies::page(call).await,
        Endpoint::SubmitMovie => movies::submit(call).await,
        Endpoint::Details => details::one(call).await,
        Endpoint::PutRating => ratings::put(call).await,
        Endpoint::DeleteRating => ratings::delete(call).await,
        Endpoint::UserRatings => users::ratings(call).await,
        Endpoint::OriginalMetadata => original::metadata(call).await,
        Endpoint::OriginalDetails => original::details(call).await,
        Endpoint::OriginalSubmitMetadata => original::submit_metadata(call).await,
        Endpoint::OriginalSubmitRating => original::submit_rating(call).await,
        Endpoint::OpenApi => Ok(documents::openapi()),
        Endpoint::Docs => Ok(documents::docs()),
        Endpoint::Problem => documents::problem(call.required("name")?),
    }
}

/// The id that the host (or a proxy before it) gave the request, if it is one that may be repeated in a header
/// and in logs.
fn request_id(headers: &Headers) -> Option<String> {
    let id = headers.only("x-request-id")?;
    let well_formed = (1..=REQUEST_ID_MAX_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    well_formed.then(|| id.to_owned())
}

/// Adds what every answer has. What depends on the data is never stored: it changes with the next rating.
fn finish(response: Response, id: String, head: bool) -> Response {
    let mut response = response
        .with("x-request-id", id)
        .with("x-content-type-options", "nosniff")
        .or_with("cache-control", "no-store")
        .or_with(
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        );
    if head {
        response.body = None;
    }
    response
}

fn json(status: u16, value: &impl serde::Serialize) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Problem::new(Kind::Internal, "").caused_by(error.to_string()))?;
    Ok(Response::new(status, negotiate::JSON, bytes))
}

/// Longest request id that is taken over.
pub const REQUEST_ID_MAX_BYTES: usize = 64;
