//! Why a call has no answer.

use reqwest::StatusCode;
use serde::Deserialize;

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be used.
    #[error(
        "{url:?} is not an address of a server: {reason}; give one such as http://127.0.0.1:3000"
    )]
    Address {
        /// As given.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The server does not take the request; repeating it is of no use.
    #[error("refused with {status}: {detail}")]
    Refused {
        /// Its status.
        status: u16,
        /// Its reason.
        detail: String,
    },
    /// The answer is not what the API promises.
    #[error(
        "the answer to {what} is not understood: {reason}; is this a Marquee server of the same version?"
    )]
    Answer {
        /// The request.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// It was tried for as long as the patience lasts.
    #[error(
        "{what} had no good answer for {patience_s} s (last: {last}); see that the server runs, then run the same command again: it goes on where it stopped"
    )]
    GaveUp {
        /// The request.
        what: String,
        /// How long, in seconds.
        patience_s: u64,
        /// The last failure.
        last: String,
        /// Nothing else succeeded either, so that there is no use in going on.
        everything: bool,
    },
}

impl Error {
    /// Whether other requests would fail too.
    #[must_use]
    pub fn ends_the_run(&self) -> bool {
        matches!(
            self,
            Error::Address { .. }
                | Error::GaveUp {
                    everything: true,
                    ..
                }
        )
    }
}

/// What an answer that is no success says of itself, as far as it matters here (RFC 9457).
#[derive(Debug, Default, Deserialize)]
pub(super) struct Problem {
    title: Option<String>,
    detail: Option<String>,
    /// With a conflict: what is there already.
    pub(super) existing_id: Option<String>,
}

impl Problem {
    /// The refusal with this status.
    pub(super) fn into_error(self, status: StatusCode) -> Error {
        let said = self.detail.filter(|detail| !detail.is_empty());
        let kind = status.canonical_reason().unwrap_or("no reason given");
        Error::Refused {
            status: status.as_u16(),
            detail: said.or(self.title).unwrap_or_else(|| kind.to_owned()),
        }
    }
}
