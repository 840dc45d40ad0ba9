//! Who may use the admin API, and under which name its history knows them.
//!
//! On the socket: the user that the host runs as, and root. Over TCP: whoever has the token, if the host has one, a
//! certificate that the host asks for, or a session of the console. A page of another site that a browser shows may ask
//! nothing, whatever that browser has. Not here: how connections are made.

use std::time::SystemTime;

use anyhow::ensure;
use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use marquee_database::Secret;
use marquee_registry::Digest;
use marquee_triggers::server::Peer;
use nix::unistd::{Uid, User};

use crate::{
    console::sessions::{self, Current, May, Sessions},
    problem::Problem,
};

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

    fn opens(&self, shown: &[u8]) -> bool {
        Digest::of(shown) == self.0
    }
}

/// What lets clients over TCP in.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    /// If the host has one.
    pub(crate) token: Option<Token>,
    pub(crate) sessions: Sessions,
}

/// What a request shows of that; nothing is none of it.
fn shown(headers: &HeaderMap) -> &[u8] {
    let given = headers.get(header::AUTHORIZATION);
    let given = given.map(HeaderValue::as_bytes).unwrap_or_default();
    match given.split_at_checked(BEARER.len()) {
        Some((scheme, shown)) if scheme.eq_ignore_ascii_case(BEARER) => shown,
        _ => &[],
    }
}

/// Whether a browser asks for a page of another site. It says so itself over TLS and on loopback; elsewhere it names the page's
/// origin with what changes something.
fn is_foreign(request: &Request) -> bool {
    let headers = request.headers();
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let authority = request.uri().authority().map(|it| it.as_str().as_bytes());
    let host = authority.or_else(|| headers.get(header::HOST).map(HeaderValue::as_bytes));
    let mut parts = origin.as_bytes().splitn(3, |byte| *byte == b'/');
    let origin = parts.nth(2);
    !origin
        .zip(host)
        .is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
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
    State(gate): State<Gate>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    if !matches!(peer, Peer::User(_)) && is_foreign(&request) {
        tracing::warn!(
            ?peer,
            path = request.uri().path(),
            "a page of another site asked the admin API"
        );
        return forbidden("a page of another site may not ask").into_response();
    }
    let mut current: Current = None;
    let shown = shown(request.headers());
    let who = match (peer, &gate.token) {
        (Peer::User(Some(uid)), _) if uid == Uid::effective().as_raw() || uid == 0 => {
            name(Uid::from_raw(uid)).await
        }
        (Peer::User(_), _) => {
            return forbidden("this socket is for the user that the host runs as").into_response();
        }
        (Peer::Certified(address, certificate), _) => {
            format!("certificate {certificate} at {}", address.ip())
        }
        (Peer::Address(address), _)
            if let Some(session) = gate.sessions.of(shown, SystemTime::now()) =>
        {
            let looks = [Method::GET, Method::HEAD].contains(request.method());
            // Of this router, so nothing is before it.
            let leaves = (request.method(), request.uri().path()) == (&Method::DELETE, "/session");
            if session.may == May::Look && !looks && !leaves {
                return forbidden("this session is for looking only").into_response();
            }
            let who = format!("{} by the console at {}", session.who, address.ip());
            current = Some((Digest::of(shown), session));
            who
        }
        (Peer::Address(_), None) if !sessions::is_one(shown) => {
            let detail = "over TCP the admin API is for who has the host's token (MARQUEE_ADMIN_TOKEN) or shows a certificate \
                          that it asks for (MARQUEE_ADMIN_TLS_CLIENTS); this host has no token, and was shown no certificate. \
                          It is always on the socket in its data folder";
            return forbidden(detail).into_response();
        }
        (Peer::Address(address), token) => {
            if !token.as_ref().is_some_and(|token| token.opens(shown)) {
                tracing::warn!(%address, path = request.uri().path(), "a request of the admin API had not the token");
                return unauthorized();
            }
            format!("token holder at {}", address.ip())
        }
    };
    request.extensions_mut().insert(Who(who));
    request.extensions_mut().insert(current);
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
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
            token.opens(shown(&headers))
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
        assert!(!token.opens(shown(&HeaderMap::new())));
    }

    #[test]
    fn a_page_of_another_site_is_told_by_what_its_browser_says() {
        for (headers, foreign) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("origin", "http://10.0.0.1:3001")], false),
            (&[("origin", "https://10.0.0.1:3001")], false),
            (&[("origin", "http://10.0.0.1:3000")], true),
            (&[("origin", "https://evil.example")], true),
            (&[("origin", "null")], true),
            (
                &[
                    ("origin", "https://evil.example"),
                    ("sec-fetch-site", "same-origin"),
                ],
                false,
            ),
            (
                &[
                    ("origin", "http://10.0.0.1:3001"),
                    ("sec-fetch-site", "cross-site"),
                ],
                true,
            ),
        ] {
            let mut request = Request::post("/").header(header::HOST, "10.0.0.1:3001");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(axum::body::Body::empty()).expect("a request");
            assert_eq!(is_foreign(&request), foreign, "{headers:?}");
        }
    }
}
