//! Users: registered, read and changed by themselves, erased; and who may do more.

use axum::{
    Json,
    http::{StatusCode, header},
    response::IntoResponse,
};
use marquee_guest::rest::{Answer, Body, Client, Failure, Path, Text, moment_ms};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    caller::{Caller, forget},
    upstream::{
        Role, ratings,
        users::{self, commands},
    },
};

/// Somebody who registers: with a name, an e-mail address, or both.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    /// Without `@`. Unique without regard to case.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, examples("ada"))]
    name: Option<Text>,
    /// Unique without regard to case. Nobody sends mail there.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 3, max_length = 254, examples("ada@example.org"))]
    email: Option<Text>,
    /// Not one that everybody tries first, and not the name or the address. Canonically composed (NFC), at most 512 bytes.
    #[schema(value_type = String, min_length = 8, max_length = 128, format = Password, examples("a quiet harbour"))]
    password: Text,
}

/// What a user changes of themselves. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeUser {
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, examples("ada"))]
    name: Option<Text>,
    /// As with registration. All other sessions end.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 8, max_length = 128, format = Password)]
    password: Option<Text>,
    /// Needed with `password`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    current_password: Option<Text>,
}

/// A user as they see themselves.
#[derive(Serialize, ToSchema)]
pub(super) struct User {
    #[schema(examples("0192f0c1-7777-7abc-8def-0123456789ab"))]
    id: String,
    #[schema(required, examples("ada"))]
    name: Option<String>,
    #[schema(required, examples("ada@example.org"))]
    email: Option<String>,
    #[serde(with = "RoleName")]
    #[schema(value_type = RoleName)]
    role: Role,
    #[schema(format = DateTime, examples("2026-11-25T02:54:36.000Z"))]
    created_at: String,
}

/// What a user may do. `user`: rate for themselves, and create movies. `moderator`: also change and delete movies.
/// `importer`: also rate for others. `admin`: all of these, and give roles.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(remote = "Role", rename_all = "lowercase")]
pub(super) enum RoleName {
    User,
    Moderator,
    Importer,
    Admin,
}

/// The role that a user is to have.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GiveRole {
    #[serde(with = "RoleName")]
    #[schema(value_type = RoleName)]
    role: Role,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfId {
    /// The user's id.
    user: String,
}

/// Register
///
/// Keeps a new user, with the role `user`. Then log in.
#[utoipa::path(post, path = "/v1/users", operation_id = "register", tag = "users", request_body = NewUser,
    responses((status = 201, description = "Registered.", body = User,
        headers(("Location" = String, description = "`/v1/users/me`"))), (status = 409, description = "")))]
pub(super) async fn register(
    Client(client): Client,
    Body(new): Body<NewUser>,
) -> Result<impl IntoResponse, Failure> {
    let (name, email) = (new.name.map(|text| text.0), new.email.map(|text| text.0));
    let user = users::register(name, email, new.password.0, client).await?;
    let location = (header::LOCATION, "/v1/users/me");
    Ok((StatusCode::CREATED, [location], Json(User::try_from(user)?)))
}

/// Whoever asks
#[utoipa::path(get, path = "/v1/users/me", operation_id = "getMe", tag = "users", security(("token" = [])),
    responses((status = 200, description = "The user.", body = User)))]
pub(super) async fn me(caller: Caller) -> Answer<User> {
    Ok(Json(users::me(caller.user()?).await?.try_into()?))
}

/// Change one's name or password
///
/// With both, the password first; where it is refused, nothing changes.
#[utoipa::path(patch, path = "/v1/users/me", operation_id = "changeMe", tag = "users", security(("token" = [])),
    request_body = ChangeUser,
    responses((status = 200, description = "The user as they are now.", body = User),
        (status = 403, description = ""), (status = 409, description = "")))]
pub(super) async fn change(caller: Caller, Body(change): Body<ChangeUser>) -> Answer<User> {
    let principal = caller.user()?;
    let mut user = users::me(principal).await?;
    if let Some(new) = change.password {
        let rule = "is needed with `password`";
        let current = change.current_password;
        let missing = || Failure::out_of_bounds("current_password", rule);
        let current = current.ok_or_else(missing)?;
        users::change_password(&user, &principal.session_id, &current.0, &new.0).await?;
    }
    if let Some(name) = change.name {
        user = commands::rename(principal.user_id.clone(), name.0).await?;
    }
    Ok(Json(User::try_from(user)?))
}

/// Be erased
///
/// Everything that is kept of the user goes, at once but for the ratings: those go soon, and the averages follow. The id is
/// not given again.
#[utoipa::path(delete, path = "/v1/users/me", operation_id = "deleteMe", tag = "users", security(("token" = [])),
    responses((status = 204, description = "Erased.")))]
pub(super) async fn delete(caller: Caller) -> Result<StatusCode, Failure> {
    let principal = caller.user()?;
    commands::delete(principal.user_id.clone()).await?;
    forget(&principal.session_id);
    ratings::erase(&principal.user_id).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a user a role
///
/// For admins. It holds for tokens that were given before, within five seconds.
#[utoipa::path(put, path = "/v1/users/{user}/role", operation_id = "giveRole", tag = "users", security(("token" = [])),
    params(OfId), request_body = GiveRole,
    responses((status = 200, description = "The user as they are now.", body = User),
        (status = 403, description = ""), (status = 404, description = "")))]
pub(super) async fn give_role(
    Path(OfId { user }): Path<OfId>,
    caller: Caller,
    Body(given): Body<GiveRole>,
) -> Answer<User> {
    caller.may_give_roles()?;
    let user = users::set_role(user, given.role).await?;
    Ok(Json(User::try_from(user)?))
}

impl TryFrom<users::User> for User {
    type Error = Failure;

    fn try_from(user: users::User) -> Result<Self, Failure> {
        Ok(Self {
            created_at: moment_ms(user.created_at_ms)?,
            id: user.id,
            name: user.name,
            email: user.email,
            role: user.role,
        })
    }
}
