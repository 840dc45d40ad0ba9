//! What the gateway asks of the users and passwords components.
//!
//! Promise: a password goes to the passwords component and nowhere else, and what is said of a log-in that fails does
//! not tell whether there is such a user.

use marquee_guest::rest::Failure;
use marquee_problem::{CONFLICT, FORBIDDEN, OUT_OF_BOUNDS, TOO_MANY_REQUESTS, UNAUTHORIZED};
use uuid::Uuid;

use crate::{
    bindings::movie::{passwords::hashing, users0_2_0::types},
    kinds::{NAME_TAKEN, UNKNOWN_USER},
};

pub(crate) use crate::bindings::movie::users0_2_0::{commands, queries, sessions};
pub(crate) use types::{Principal, Role, Tokens, User};

/// Keeps a new user. `client` is whoever sends it.
pub(crate) async fn register(
    name: Option<String>,
    email: Option<String>,
    password: String,
    client: Option<String>,
) -> Result<User, Failure> {
    let unlike = [&name, &email].into_iter().flatten().cloned().collect();
    let password_hash = hashing::hash(password, unlike).await?;
    let user = commands::NewUser {
        name,
        email,
        password_hash,
        client,
    };
    Ok(commands::register(user).await?)
}

/// Begins a session.
pub(crate) async fn log_in(
    login: &str,
    password: &str,
    client: Option<&str>,
) -> Result<Tokens, Failure> {
    for _ in 0..TRIES {
        let found = verify_password(login, password, client).await?;
        let Some(found) = found else {
            return Err(UNAUTHORIZED
                .with("the login or the password is wrong")
                .into());
        };
        match sessions::create(found.user_id, found.password_hash).await {
            Err(types::Error::Changed) => {}
            begun => return Ok(begun?),
        }
    }
    Err(in_a_hurry())
}

/// Gives a user another password; other sessions than this one end.
pub(crate) async fn change_password(
    user: &User,
    session_id: &str,
    current: &str,
    new: &str,
) -> Result<(), Failure> {
    let names = [&user.name, &user.email];
    let names: Vec<String> = names.into_iter().flatten().cloned().collect();
    let login = names.first().cloned().unwrap_or_default();
    for _ in 0..TRIES {
        let Some(found) = verify_password(&login, current, None).await? else {
            return Err(FORBIDDEN.with("`current_password` is wrong").into());
        };
        let hash = hashing::hash(new.to_owned(), names.clone()).await?;
        let keep = Some(session_id.to_owned());
        match commands::change_password(found.user_id, found.password_hash, hash, keep).await {
            Err(types::Error::Changed) => {}
            changed => return Ok(changed?),
        }
    }
    Err(in_a_hurry())
}

/// The user, if there is one and the password is theirs. A hash of old parameters becomes one of present ones on the way.
async fn verify_password(
    login: &str,
    password: &str,
    client: Option<&str>,
) -> Result<Option<sessions::Credentials>, Failure> {
    let found = sessions::credentials_of(login.to_owned(), client.map(str::to_owned)).await?;
    let hash = found.as_ref().map(|found| found.password_hash.clone());
    let verdict = hashing::verify(password.to_owned(), hash).await?;
    let Some(mut found) = found else {
        return Ok(None);
    };
    match verdict {
        hashing::Verdict::Wrong => return Ok(None),
        hashing::Verdict::Right => {}
        hashing::Verdict::Outdated(new) => {
            let seen = std::mem::replace(&mut found.password_hash, new.clone());
            match commands::rehash(found.user_id.clone(), seen, new).await {
                // Whoever was faster is met again where the hash is used.
                Ok(()) | Err(types::Error::Changed) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(Some(found))
}

/// The user whom a token spoke for. One who was erased since has no token any more.
pub(crate) async fn me(principal: &Principal) -> Result<User, Failure> {
    let user = queries::user_by_id(principal.user_id.clone()).await?;
    user.ok_or_else(gone)
}

/// Gives a user another role.
pub(crate) async fn set_role(user_id: String, role: Role) -> Result<User, Failure> {
    let given = commands::set_role(user_id, role).await;
    given.map_err(|error| match error {
        types::Error::UnknownUser => UNKNOWN_USER.with("there is no such user").into(),
        other => other.into(),
    })
}

fn gone() -> Failure {
    UNAUTHORIZED
        .with("the token is not good (any more): refresh it, or log in again")
        .into()
}

fn in_a_hurry() -> Failure {
    CONFLICT
        .with("the password was changed at the same time; try again")
        .into()
}

fn too_many(seconds: u32) -> Failure {
    let detail = format!("too many attempts; try again in {seconds} s");
    Failure::later(TOO_MANY_REQUESTS.with(detail), seconds)
}

marquee_guest::failures!(types::Error {
    types::Error::NameTaken => NAME_TAKEN.with("choose another one, or log in").into(),
    types::Error::UnknownUser | types::Error::Unauthorized => gone(),
    types::Error::Reused => UNAUTHORIZED
        .with("the refresh token was used before, so its session has ended: log in again")
        .into(),
    types::Error::TooMany(seconds) => too_many(seconds),
    types::Error::Changed => in_a_hurry(),
});

impl From<hashing::Error> for Failure {
    fn from(error: hashing::Error) -> Self {
        match error {
            hashing::Error::Invalid(text) => Self::refused(&OUT_OF_BOUNDS, text),
            // Two at a time, and a short queue.
            hashing::Error::Unavailable(_) => too_many(moment()),
            hashing::Error::Other(text) => Self::internal(text),
        }
    }
}

/// After how many seconds the queue of passwords may have a place: not the same for all that were refused together, or they
/// would come back together.
fn moment() -> u32 {
    // Its last bits are random.
    let more = Uuid::now_v7().as_u128() % u128::from(MOMENT_S);
    u32::try_from(more).unwrap_or(0) + 1
}

/// Where others need the machine two passwords are hashed a second, and ten are under way or wait.
const MOMENT_S: u32 = 5;
/// A password that changes under a log-in once may be met; one that always does is no accident.
const TRIES: usize = 2;
