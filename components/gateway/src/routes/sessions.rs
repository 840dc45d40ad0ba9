//! Sessions: begun with a password, continued with a refresh token, ended.

use axum::{
    Json,
    http::{HeaderMap, StatusCode},
};
use marquee_guest::rest::{Answer, Body, Client, Failure, Text};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    caller::{Caller, bearer, forget},
    upstream::users,
};

/// A user's name or e-mail address, and the password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogIn {
    /// What has `@` is an e-mail address.
    #[schema(value_type = String, examples("ada"))]
    login: Text,
    #[schema(value_type = String, format = Password, examples("a quiet harbour"))]
    password: Text,
}

/// The refresh token of a session.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefreshSession {
    #[schema(value_type = String, format = Password)]
    refresh_token: Text,
}

/// The tokens of a session. They are secrets, and seen this once. Names are those of OAuth 2.0 (RFC 6749).
#[derive(Serialize, ToSchema)]
pub(super) struct Session {
    /// Names the session; no secret.
    #[schema(examples("0192f0c1-8888-7abc-8def-0123456789ab"))]
    session_id: String,
    /// For `Authorization: Bearer`.
    #[schema(examples("mqa_..."))]
    access_token: String,
    #[schema(examples("Bearer"))]
    token_type: &'static str,
    /// Seconds for which the access token is good.
    #[schema(examples(900))]
    expires_in: u32,
    /// Good once, for the next tokens.
    #[schema(examples("mqr_..."))]
    refresh_token: String,
    /// Seconds for which the refresh token is good.
    #[schema(examples(2_592_000))]
    refresh_expires_in: u32,
}

/// Log in
///
/// Ten attempts of a user at once, then one each 90 seconds; thirty of a client, then one each 30 seconds. A user has at
/// most 20 sessions: another one ends the oldest.
#[utoipa::path(post, path = "/v1/sessions", operation_id = "logIn", tag = "users", request_body = LogIn,
    responses((status = 201, description = "A session.", body = Session), (status = 401, description = ""),
        (status = 409, description = "")))]
pub(super) async fn log_in(
    Client(client): Client,
    Body(user): Body<LogIn>,
) -> Result<(StatusCode, Json<Session>), Failure> {
    let tokens = users::log_in(&user.login.0, &user.password.0, client.as_deref()).await?;
    Ok((StatusCode::CREATED, Json(tokens.into())))
}

/// Continue a session
///
/// The session's tokens so far are no good any more. A refresh token that is used a second time ends the session: either
/// the first or the second user of it is a thief. So refresh one at a time.
#[utoipa::path(post, path = "/v1/sessions/refresh", operation_id = "refreshSession", tag = "users",
    request_body = RefreshSession,
    responses((status = 200, description = "The next tokens.", body = Session), (status = 401, description = "")))]
pub(super) async fn refresh(Body(shown): Body<RefreshSession>) -> Answer<Session> {
    let tokens = users::sessions::refresh(shown.refresh_token.0).await?;
    forget(&tokens.session_id);
    Ok(Json(tokens.into()))
}

/// Log out
///
/// Ends the session of the token. Other hosts may take it for as good for five seconds more.
#[utoipa::path(delete, path = "/v1/sessions/current", operation_id = "logOut", tag = "users", security(("token" = [])),
    responses((status = 204, description = "Ended.")))]
pub(super) async fn log_out(caller: Caller, headers: HeaderMap) -> Result<StatusCode, Failure> {
    let session_id = &caller.user()?.session_id;
    if let Some(token) = bearer(&headers) {
        users::sessions::end(token.to_owned()).await?;
    }
    forget(session_id);
    Ok(StatusCode::NO_CONTENT)
}

impl From<users::Tokens> for Session {
    fn from(tokens: users::Tokens) -> Self {
        Self {
            session_id: tokens.session_id,
            access_token: tokens.access,
            token_type: "Bearer",
            expires_in: tokens.access_expires_in_s,
            refresh_token: tokens.refresh,
            refresh_expires_in: tokens.refresh_expires_in_s,
        }
    }
}
