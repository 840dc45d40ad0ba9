//! Who may use the admin API, and under which name its history knows them.
//!
//! On the socket: the user that the host runs as, and root. Over TCP: whoever has the token, if the host has one, or a
//! certificate that the host asks for; if it does neither, there is no API over TCP. Not here: how connections are made.

use anyhow::ensure;
use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderValue, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use marquee_database::Secret;
use marquee_registry::Digest;
use marquee_triggers::server::Peer;
use nix::unistd::{Uid, User};

use crate::problem::Problem;

/// What opens the API to clients over TCP.
#[derive(Debug, Clone)]
pub struct Token(
    /// Of the token. Two digests are compared in whatever time it takes: it tells nothing of the token.
    Digest,
);

impl Token {
    /// One that cannot be guessed, or an error.
    pub fn new(secret: &Secret) -> anyhow::Result<Self> {
        let text = secret.reveal();
        ensure!(
            text.len() >= TOKEN_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic()),
            "the admin token is not {TOKEN_BYTES} or more printable characters without spaces; \
             `openssl rand -hex 32` makes one"
        );
        Ok(Self(Digest::of(text.as_bytes())))
    }

    fn opens(&self, request: &Request) -> bool {
        let given = request.headers().get(header::AUTHORIZATION);
        let given = given.map(HeaderValue::as_bytes).unwrap_or_default();
        let token = match given.split_at_checked(BEARER.len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(BEARER) => token,
            _ => return false,
        };
        Digest::of(token) == self.0
    }
}

/// Who asks. Known only of those who may.
#[derive(Debug, Clone)]
pub(crate) struct Who(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let who = parts.extensions.get::<Self>().cloned();
        who.ok_or_else(|| forbidden("nobody has said who you are"))
    }
}

/// Let those through who may.
pub(crate) async fn admit(
    State(token): State<Option<Token>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let who = match (peer, &token) {
        (Peer::User(Some(uid)), _) if uid == Uid::effective().as_raw() || uid == 0 => {
            name(Uid::from_raw(uid)).await
        }
        (Peer::User(_), _) => {
            return forbidden("this socket is for the user that the host runs as").into_response();
        }
        (Peer::Certified(address, certificate), _) => {
            format!("certificate {certificate} at {}", address.ip())
        }
        (Peer::Address(_), None) => {
            let detail = "over TCP the admin API is for who has the host's token (MARQUEE_ADMIN_TOKEN) or shows a certificate \
                          that it asks for (MARQUEE_ADMIN_TLS_CLIENTS); this host has no token, and was shown no certificate. \
                          It is always on the socket in its data folder";
            return forbidden(detail).into_response();
        }
        (Peer::Address(address), Some(token)) => {
            if !token.opens(&request) {
                tracing::warn!(%address, path = request.uri().path(), "a request of the admin API had not the token");
                return unauthorized();
            }
            format!("token holder at {}", address.ip())
        }
    };
    request.extensions_mut().insert(Who(who));
    next.run(request).await
}

/// The name that people know a user by; its number where it has none.
async fn name(uid: Uid) -> String {
    // Users may be kept on a server.
    let found = tokio::task::spawn_blocking(move || User::from_uid(uid)).await;
    match found {
        Ok(Ok(Some(user))) => user.name,
        _ => format!("user {uid}"),
    }
}

fn forbidden(detail: &str) -> Problem {
    marquee_problem::FORBIDDEN.with(detail.to_owned()).into()
}

fn unauthorized() -> Response {
    let detail = "send the host's token: `authorization: Bearer TOKEN`";
    let problem = Problem::from(marquee_problem::UNAUTHORIZED.with(detail));
    let challenge = [(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer realm=\"marquee\""),
    )];
    (challenge, problem).into_response()
}

const BEARER: &[u8] = b"Bearer ";
/// 128 bits in hexadecimal: nobody guesses that.
const TOKEN_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_that_could_be_guessed_is_refused() {
        for text in ["", "secret", &SECRET[1..], &format!("{SECRET} ")] {
            assert!(Token::new(&Secret::new(text)).is_err(), "{text:?}");
        }
        assert!(Token::new(&Secret::new(SECRET)).is_ok());
    }

    #[test]
    fn only_the_token_opens() {
        let token = Token::new(&Secret::new(SECRET)).expect("a token");
        let opens = |value: &str| {
            let request = Request::builder().header(header::AUTHORIZATION, value);
            token.opens(&request.body(axum::body::Body::empty()).expect("a request"))
        };
        assert!(opens(&format!("Bearer {SECRET}")));
        assert!(opens(&format!("bearer {SECRET}")), "the scheme has no case");
        for value in [
            "",
            "Bearer",
            "Bearer ",
            SECRET,
            &format!("Basic {SECRET}"),
            &format!("Bearer {}", &SECRET[1..]),
            &format!("Bearer {SECRET}0"),
            &format!("Bearer {}", SECRET.to_uppercase()),
        ] {
            assert!(!opens(value), "{value:?}");
        }
        let bare = Request::builder().body(axum::body::Body::empty());
        assert!(!token.opens(&bare.expect("a request")));
    }
}
