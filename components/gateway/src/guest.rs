//! The export `wasi:http/handler@0.3.0`: WASI's requests and responses to ours and back.
//!
//! spin-sdk's `http_service` macro is not used: it turns a request that the `http` crate refuses into an error
//! without an answer, and here every request gets one.

use std::time::{SystemTime, UNIX_EPOCH};

use spin_sdk::wasip3::{
    exports::http::handler::Guest,
    http::types::{self, ErrorCode, Fields, Method, Trailers},
    wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult},
    wit_future, wit_stream,
};
use uuid::Uuid;

use crate::{
    Edge,
    http::{Body, Broken, Headers, Request, Response},
    routes, upstream,
};

/// What the component exports.
pub struct Gateway;

// The names of the exports are nothing that a native linker takes.
#[cfg(target_family = "wasm")]
spin_sdk::wasip3::http::service::export!(Gateway);

impl Guest for Gateway {
    async fn handle(request: types::Request) -> Result<types::Response, ErrorCode> {
        let request = Request {
            method: method(request.get_method()),
            target: request.get_path_with_query().unwrap_or_default(),
            headers: Headers::new(request.get_headers().copy_all()),
            body: Incoming::Unread(request),
        };
        respond(routes::answer(request, &upstream::Components, &EDGE).await)
    }
}

const EDGE: Edge = Edge {
    now_us: || {
        // A clock before 1970 is broken; the oldest time loses against every other rating, which is right.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
            })
    },
    new_id: || Uuid::now_v7().to_string(),
    log,
};

#[expect(clippy::print_stderr, reason = "a guest's stderr is the host's log")]
fn log(line: &str) {
    // Escaped: the line may hold what a client sent.
    eprintln!("{}", line.escape_debug());
}

fn method(method: Method) -> String {
    match method {
        Method::Get => "GET".to_owned(),
        Method::Head => "HEAD".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Put => "PUT".to_owned(),
        Method::Delete => "DELETE".to_owned(),
        Method::Connect => "CONNECT".to_owned(),
        Method::Options => "OPTIONS".to_owned(),
        Method::Trace => "TRACE".to_owned(),
        Method::Patch => "PATCH".to_owned(),
        Method::Other(other) => other,
    }
}

/// A request's body. It is only asked for when a route reads it, so a refusal costs no transfer.
enum Incoming {
    Unread(types::Request),
    Reading(Reading),
    Done,
}

struct Reading {
    pieces: StreamReader<u8>,
    end: FutureReader<Result<Option<Trailers>, ErrorCode>>,
    /// Says that the body was handled, when it is dropped.
    handled: FutureWriter<Result<(), ErrorCode>>,
}

impl Body for Incoming {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let mut reading = match std::mem::replace(self, Self::Done) {
            Self::Unread(request) => {
                let (handled, result) = wit_future::new(|| Ok(()));
                let (pieces, end) = types::Request::consume_body(request, result);
                Reading {
                    pieces,
                    end,
                    handled,
                }
            }
            Self::Reading(reading) => reading,
            Self::Done => return Ok(None),
        };
        let (result, piece) = reading.pieces.read(Vec::with_capacity(PIECE_BYTES)).await;
        match result {
            StreamResult::Complete(_) => {
                *self = Self::Reading(reading);
                Ok(Some(piece))
            }
            StreamResult::Dropped | StreamResult::Cancelled => {
                let end = reading.end.await;
                drop(reading.handled);
                end.map_err(|_| Broken)?;
                Ok((!piece.is_empty()).then_some(piece))
            }
        }
    }
}

fn respond(response: Response) -> Result<types::Response, ErrorCode> {
    let mut fields: Vec<(String, Vec<u8>)> = response
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .collect();
    if let Some(body) = &response.body {
        fields.push((
            "content-length".to_owned(),
            body.len().to_string().into_bytes(),
        ));
    }
    let fields = Fields::from_list(&fields)
        .map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
    // Dropped without a word, the end says: no trailers.
    let (end_writer, end) = wit_future::new(|| Ok(None));
    let contents = response.body.map(|body| {
        let (mut writer, reader) = wit_stream::new();
        spin_sdk::wasip3::spawn(async move {
            // What a client that went away did not take is dropped with the rest.
            writer.write_all(body.into_owned()).await;
            drop(writer);
            drop(end_writer);
        });
        reader
    });
    let (answer, _sent) = types::Response::new(fields, contents, end);
    answer
        .set_status_code(response.status)
        .map_err(|()| ErrorCode::InternalError(Some("status".to_owned())))?;
    Ok(answer)
}

/// How much of a body is asked for at once.
const PIECE_BYTES: usize = 16 * 1024;
