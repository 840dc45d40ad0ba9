//! The console: the page at `/console/` for people, and what only it needs of the host.
//!
//! Promise: the page is files of this binary, with nothing from elsewhere; it holds no secret and may run no script that is
//! not one of them. All that it shows and does goes through the admin API, by its rules. Not here: who may ask.

pub(crate) mod samples;
pub(crate) mod sessions;

use axum::{
    Router,
    extract::Path,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use marquee_problem::NO_SUCH_RESOURCE;
use marquee_telemetry::traces::ring::Ring;

use self::samples::Samples;
use crate::{api::Api, problem::Problem};

/// What the host has for it.
#[derive(Clone, Default)]
pub struct Console {
    /// What it did lately.
    pub samples: Samples,
    /// What requests, messages and jobs were made of lately. None: nothing of it is kept.
    pub traces: Option<Ring>,
    /// Where a browser finds it, as `http://HOST:PORT`. None: on a socket, which browsers do not open.
    pub address: Option<String>,
}

/// The page, for whoever asks: it says nothing of the application.
pub(crate) fn page() -> Router<Api> {
    Router::new()
        .route("/", get(async || Redirect::temporary("/console/")))
        .route("/console", get(async || Redirect::permanent("/console/")))
        .route("/console/", get(async || file("index.html")))
        .route(
            "/console/{*file}",
            get(async |Path(name): Path<String>| file(&name)),
        )
}

/// What the admin API has for it.
pub(crate) fn routes() -> Router<Api> {
    samples::routes().merge(sessions::routes())
}

fn file(name: &str) -> Response {
    let Some((_, kind, text)) = FILES.iter().find(|(known, ..)| *known == name) else {
        let detail = "the console has no such file";
        return Problem::from(NO_SUCH_RESOURCE.with(detail)).into_response();
    };
    (
        StatusCode::OK,
        HEADERS,
        [(header::CONTENT_TYPE, *kind)],
        *text,
    )
        .into_response()
}

/// A page may do what this says: run our scripts, use our style, ask this host; and be part of no other page.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types lit-html";

/// They change with the binary, so a browser asks each time.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CSP),
    (header::CACHE_CONTROL, "no-cache"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// Name, kind and text of each file of `console/`.
macro_rules! files {
    ($($kind:ident $name:literal)*) => {
        [$(($name, $kind, include_str!(concat!("../../console/", $name)))),*]
    };
}

static FILES: [(&str, &str, &str); 24] = files![
    HTML "index.html"
    STYLE "style.css"
    PICTURE "icon.svg"
    SCRIPT "app.js"
    SCRIPT "api.js"
    SCRIPT "chart.js"
    SCRIPT "diff.js"
    SCRIPT "dialog.js"
    SCRIPT "samples.js"
    SCRIPT "text.js"
    SCRIPT "pages/release.js"
    SCRIPT "pages/signin.js"
    SCRIPT "pages/overview.js"
    SCRIPT "pages/components.js"
    SCRIPT "pages/component.js"
    SCRIPT "pages/messages.js"
    SCRIPT "pages/message.js"
    SCRIPT "pages/traces.js"
    SCRIPT "pages/trace.js"
    SCRIPT "pages/schedules.js"
    SCRIPT "pages/databases.js"
    SCRIPT "pages/audit.js"
    SCRIPT "vendor/lit-html.js"
    TEXT "vendor/lit-html.LICENSE"
];
