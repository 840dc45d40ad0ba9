//! Reading a request's body, within its limit.

use std::future::Future;

use super::{Headers, negotiate};
use crate::problem::{Kind, Problem};

/// Most bytes of a request's body. A movie with every field at its bound, each character escaped, needs less.
pub const BODY_MAX_BYTES: usize = 64 * 1024;

/// A body that arrives in pieces.
pub trait Body {
    /// The next piece; none at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, Broken>>;
}

/// The body ended before its end: the client went away, or broke the framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// The bytes of a JSON body. What its headers already rule out is refused before anything is read; the rest is
/// counted while it is read.
pub(crate) async fn read(headers: &Headers, body: &mut impl Body) -> Result<Vec<u8>, Problem> {
    negotiate::check_body(headers)?;
    if let Some(length) = headers.only("content-length") {
        match length.parse::<u64>() {
            Ok(length) if length > BODY_MAX_BYTES as u64 => return Err(too_large()),
            Ok(_) => {}
            Err(_) => {
                return Err(Problem::new(
                    Kind::MalformedBody,
                    "Content-Length is not a number",
                ));
            }
        }
    }
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await.map_err(|Broken| incomplete())? {
        if bytes.len() + piece.len() > BODY_MAX_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn too_large() -> Problem {
    let detail = format!("a body has at most {BODY_MAX_BYTES} bytes");
    Problem::new(Kind::BodyTooLarge, detail)
}

fn incomplete() -> Problem {
    Problem::new(Kind::MalformedBody, "the body ended too early")
}
