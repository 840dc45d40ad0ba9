//! The admin listener: whether the host is alive, and whether it is ready.
//!
//! `/healthz` answers while the process can answer at all. `/readyz` asks every part and names what is not ready;
//! each part has a second to answer.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, join_all};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use marquee_triggers::server;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Something that must work before the host is ready: its name, and a question that errs with what is wrong.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) ask: Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

/// Answer on the admin listener until `stop`.
pub(crate) async fn serve(listener: TcpListener, parts: Vec<Part>, stop: CancellationToken) {
    let parts = Arc::new(parts);
    let handler = move |request| {
        let parts = Arc::clone(&parts);
        async move { answer(&request, &parts).await }
    };
    server::serve(listener, server::Limits::default(), handler, stop).await;
}

async fn answer(request: &Request<Incoming>, parts: &[Part]) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if path != "/healthz" && path != "/readyz" {
        return json(
            StatusCode::NOT_FOUND,
            &serde_json::json!({ "title": "Not found", "status": 404 }),
        );
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = json(
            StatusCode::METHOD_NOT_ALLOWED,
            &serde_json::json!({ "title": "Method not allowed", "status": 405 }),
        );
        response
            .headers_mut()
            .insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if path == "/healthz" {
        return json(StatusCode::OK, &serde_json::json!({ "status": "alive" }));
    }
    let answers = join_all(parts.iter().map(|part| async {
        let answer = tokio::time::timeout(PATIENCE, (part.ask)()).await;
        (
            part.name.as_str(),
            answer.unwrap_or_else(|_| Err("no answer within a second".to_owned())),
        )
    }))
    .await;
    let failing: serde_json::Map<_, _> = answers
        .into_iter()
        .filter_map(|(name, answer)| {
            Some((name.to_owned(), serde_json::Value::from(answer.err()?)))
        })
        .collect();
    if failing.is_empty() {
        json(StatusCode::OK, &serde_json::json!({ "status": "ready" }))
    } else {
        json(
            StatusCode::SERVICE_UNAVAILABLE,
            &serde_json::json!({ "status": "not ready", "failing": failing }),
        )
    }
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

const PATIENCE: Duration = Duration::from_secs(1);
