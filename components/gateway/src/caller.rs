//! Who asks, and what they may do.
//!
//! Promises: a token is verified by the users component, and then taken for as good for [`CACHED_FOR`] by this instance:
//! so long at most a session that has ended is still let in. Without the users component nobody is let in, and whatever
//! is for everybody goes on. Not here: how a session begins (`routes::sessions`).
//!
//! `auth = "open"` is for the first minutes on one's own machine: whoever shows no token may do what everybody together
//! may. A token that is shown is verified then too.

use std::{num::NonZeroUsize, sync::OnceLock, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{Extensions, HeaderMap, header, request::Parts},
};
use marquee_guest::{
    log,
    rest::{Failure, Recent, Subject, check_json, only},
    variables,
};
use marquee_problem::{FORBIDDEN, UNAUTHORIZED};

use crate::{
    domain::UserId,
    upstream::{
        Role,
        users::{Principal, sessions},
    },
};

/// Whoever sent the request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// A user, by a token.
    User(Principal),
    /// Somebody without a token where none is needed.
    Anyone,
    /// Somebody without a token.
    Nobody,
}

impl Caller {
    /// The user; for what only a user has.
    pub(crate) fn user(&self) -> Result<&Principal, Failure> {
        match self {
            Self::User(principal) => Ok(principal),
            Self::Anyone | Self::Nobody => Err(nobody()),
        }
    }

    /// Whether they may do what every user may.
    pub(crate) fn may_write(&self) -> Result<(), Failure> {
        match self {
            Self::User(_) | Self::Anyone => Ok(()),
            Self::Nobody => Err(nobody()),
        }
    }

    /// Whether they may change and delete movies.
    pub(crate) fn may_edit(&self) -> Result<(), Failure> {
        self.needs(&[Role::Moderator, Role::Admin], "moderators edit movies")
    }

    /// Whether they may give roles. Nobody may without a token, not even where none is needed.
    pub(crate) fn may_give_roles(&self) -> Result<(), Failure> {
        self.user()?;
        self.needs(&[Role::Admin], "admins give roles")
    }

    /// Who rates, if they may rate for them: themselves, or anybody as an importer. `me` is whoever asks.
    pub(crate) fn rates_for(&self, user: UserId) -> Result<UserId, Failure> {
        self.on_behalf_of(user, &[Role::Importer, Role::Admin], "rates")
    }

    /// Whose ratings are read, if they may see them: their own, or anybody's as whoever is more than a user.
    pub(crate) fn reads_of(&self, user: UserId) -> Result<UserId, Failure> {
        self.on_behalf_of(user, &READERS, "sees the ratings of")
    }

    /// Whether they see who rated what: whoever is more than a user.
    pub(crate) fn reads_of_all(&self) -> bool {
        match self {
            Self::User(principal) => READERS.contains(&principal.role),
            Self::Anyone => true,
            Self::Nobody => false,
        }
    }

    /// Whose an idempotency key is: the user's; all who need no token share theirs.
    pub(crate) fn of_keys(&self) -> &str {
        match self {
            Self::User(principal) => &principal.user_id,
            Self::Anyone | Self::Nobody => "",
        }
    }

    fn on_behalf_of(&self, user: UserId, others: &[Role], does: &str) -> Result<UserId, Failure> {
        let is_me = user.0 == ME;
        match self {
            Self::User(principal) if is_me || user.0 == principal.user_id => {
                Ok(UserId(principal.user_id.clone()))
            }
            Self::User(principal) if others.contains(&principal.role) => Ok(user),
            Self::User(_) => {
                let detail = format!("a user {does} nobody else; `{ME}` stands for the own id");
                Err(FORBIDDEN.with(detail).into())
            }
            Self::Anyone if !is_me => Ok(user),
            Self::Anyone | Self::Nobody => Err(nobody()),
        }
    }

    fn needs(&self, roles: &[Role], rule: &'static str) -> Result<(), Failure> {
        match self {
            Self::User(principal) if roles.contains(&principal.role) => Ok(()),
            Self::User(_) => Err(FORBIDDEN.with(rule).into()),
            Self::Anyone => Ok(()),
            Self::Nobody => Err(nobody()),
        }
    }

    /// Who sent a request with these headers, by whatever protocol. Its [`Subject`] among the extensions is told.
    pub(crate) async fn of(headers: &HeaderMap, extensions: &Extensions) -> Result<Self, Failure> {
        if !headers.contains_key(header::AUTHORIZATION) {
            return Ok(match is_open().await {
                true => Self::Anyone,
                false => Self::Nobody,
            });
        }
        let token = bearer(headers).ok_or_else(|| {
            Failure::from(UNAUTHORIZED.with("`Authorization` must be `Bearer` and an access token"))
        })?;
        let verify = async { Ok::<_, Failure>(sessions::verify(token.to_owned()).await?) };
        let principal = VERIFIED.get(token, verify).await?;
        Subject::tell(extensions, &principal.user_id);
        Ok(Self::User(principal))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        check_json(&parts.headers)?;
        Self::of(&parts.headers, &parts.extensions).await
    }
}

/// Forgets whose a token is: its session has ended.
pub(crate) fn forget(session_id: &str) {
    VERIFIED.forget(|principal| principal.session_id == session_id);
}

/// The access token that a request shows.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(headers, &header::AUTHORIZATION)?.split_once(' ')?;
    Some(token.trim()).filter(|token| {
        scheme.eq_ignore_ascii_case("bearer") && (1..=TOKEN_MAX_BYTES).contains(&token.len())
    })
}

fn nobody() -> Failure {
    UNAUTHORIZED
        .with("log in (`POST /v1/sessions`) and send `Authorization: Bearer ACCESS_TOKEN`")
        .into()
}

/// Whether nobody needs a token, as the application's variable `auth` says. Whatever cannot be understood opens nothing.
pub(crate) async fn is_open() -> bool {
    if let Some(is_open) = OPEN.get() {
        return *is_open;
    }
    let is_open = setting().await.unwrap_or_else(|error| {
        log(&format!("{error}; every write needs a token"));
        false
    });
    *OPEN.get_or_init(|| is_open)
}

/// Says aloud, once a version, that nobody is asked who they are.
pub(crate) async fn announce() -> Result<(), String> {
    if setting().await? {
        log(
            "AUTH IS OPEN: whoever reaches this server may write, rate as anybody and delete movies, without a token. \
             Every answer says so (marquee-auth: open). Set SPIN_VARIABLE_AUTH=required for everything but a first try.",
        );
    }
    Ok(())
}

async fn setting() -> Result<bool, String> {
    match variables::get("auth").await?.as_str() {
        "required" => Ok(false),
        "open" => Ok(true),
        other => Err(format!(
            "variable auth is {other:?}; it must be \"required\" or \"open\""
        )),
    }
}

/// A variable does not change while a component runs.
static OPEN: OnceLock<bool> = OnceLock::new();
/// Whose tokens are, of the callers of late.
static VERIFIED: Recent<Principal> = Recent::new(TOKENS, CACHED_FOR);

/// Who sees the ratings of others.
const READERS: [Role; 3] = [Role::Moderator, Role::Importer, Role::Admin];
/// Stands for the caller's own id in paths.
const ME: &str = "me";
/// For how long a token that was verified is taken for as good.
const CACHED_FOR: Duration = Duration::from_secs(5);
/// Tokens that are remembered.
const TOKENS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
/// More than any token has.
const TOKEN_MAX_BYTES: usize = 256;

#[cfg(test)]
#[path = "caller_tests.rs"]
mod tests;
