//! Users: the bounded context that owns users and their sessions.
//!
//! Promises: no password ever comes here, only its hash; of a token only its SHA-256 is kept; erasing a user and its
//! event `user.deleted` on topic `users` happen together or not at all. Limits of log-ins and registrations are in the
//! database, so they hold across hosts; without it nobody logs in. Bounds are those of `wit/movie-users-0.2/types.wit`.
//!
//! To read first: `domain`, then `store`. This file gives the domain its ids and random bytes and translates to and from
//! WIT; `v0_1` does so for the version before.

pub mod domain;
pub mod store;
mod v0_1;

use uuid::Uuid;

use bindings::exports::movie::users0_2_0::{commands, queries, sessions, types};

use domain::{
    Access, Client, Invalid, Issued, Login, Name, NewUser, PasswordHash, RANDOM_BYTES, Refresh,
    Role, User,
};
use store::{Changed, Found, Refreshed, Registered};

marquee_guest::component!(Users, {
    path: ["../../wit/movie-users", "../../wit/movie-users-0.2"],
    world: "movie:users/users@0.2.0",
});

struct Users;

impl commands::Guest for Users {
    async fn register(user: commands::NewUser) -> Result<types::User, types::Error> {
        let new = NewUser::parse(
            user.name.as_deref(),
            user.email.as_deref(),
            &user.password_hash,
        )?;
        let client = client(user.client)?;
        match store::register(Uuid::now_v7(), &new, client.as_ref()).await? {
            Registered::New(user) => Ok(user.into()),
            Registered::Taken => Err(types::Error::NameTaken),
            Registered::TooMany(seconds) => Err(types::Error::TooMany(seconds)),
        }
    }

    async fn rename(user_id: String, name: String) -> Result<types::User, types::Error> {
        let (id, name) = (domain::parse_id(&user_id)?, Name::parse(&name)?);
        match store::rename(id, &name).await {
            Ok(user) => known(user),
            Err(error) if error.constraint() == Some("users_name_key_key") => {
                Err(types::Error::NameTaken)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn change_password(
        user_id: String,
        seen: String,
        new: String,
        keep: Option<String>,
    ) -> Result<(), types::Error> {
        let (seen, new) = (PasswordHash::parse(&seen)?, PasswordHash::parse(&new)?);
        let keep = keep.as_deref().map(domain::parse_id).transpose()?;
        done(store::change_password(domain::parse_id(&user_id)?, &seen, &new, keep).await?)
    }

    async fn rehash(user_id: String, seen: String, new: String) -> Result<(), types::Error> {
        let (seen, new) = (PasswordHash::parse(&seen)?, PasswordHash::parse(&new)?);
        done(store::rehash(domain::parse_id(&user_id)?, &seen, &new).await?)
    }

    async fn set_role(user_id: String, role: types::Role) -> Result<types::User, types::Error> {
        known(store::set_role(domain::parse_id(&user_id)?, role.into()).await?)
    }

    async fn delete(user_id: String) -> Result<(), types::Error> {
        let deleted = store::delete(domain::parse_id(&user_id)?).await?;
        deleted.then_some(()).ok_or(types::Error::UnknownUser)
    }
}

impl queries::Guest for Users {
    async fn user_by_id(id: String) -> Result<Option<types::User>, types::Error> {
        Ok(store::by_id(domain::parse_id(&id)?).await?.map(Into::into))
    }
}

impl sessions::Guest for Users {
    async fn credentials_of(
        login: String,
        client: Option<String>,
    ) -> Result<Option<sessions::Credentials>, types::Error> {
        let client = self::client(client)?;
        match store::credentials(&Login::parse(&login), client.as_ref()).await? {
            Found::User(id, password_hash) => Ok(Some(sessions::Credentials {
                user_id: id.to_string(),
                password_hash,
            })),
            Found::Nobody => Ok(None),
            Found::TooMany(seconds) => Err(types::Error::TooMany(seconds)),
        }
    }

    async fn create(user_id: String, seen: String) -> Result<types::Tokens, types::Error> {
        let (user, seen) = (domain::parse_id(&user_id)?, PasswordHash::parse(&seen)?);
        let (id, access) = (Uuid::now_v7(), Access::issue(&random()?));
        let refresh = Refresh::issue(&random()?, &random()?);
        let begun = store::create(id, user, &seen, &access.kept, &refresh.kept).await?;
        begun
            .then(|| tokens(id, access, refresh))
            .ok_or(types::Error::Changed)
    }

    async fn verify(access: String) -> Result<types::Principal, types::Error> {
        let access = Access::parse(&access).ok_or(types::Error::Unauthorized)?;
        let principal = store::verify(&access)
            .await?
            .ok_or(types::Error::Unauthorized)?;
        Ok(types::Principal {
            user_id: principal.user.to_string(),
            role: principal.role.into(),
            session_id: principal.session.to_string(),
        })
    }

    async fn refresh(refresh: String) -> Result<types::Tokens, types::Error> {
        let shown = Refresh::parse(&refresh).ok_or(types::Error::Unauthorized)?;
        let (access, next) = (Access::issue(&random()?), shown.next(&random()?));
        match store::refresh(&shown, &access.kept, &next.kept).await? {
            Refreshed::Session(id) => Ok(tokens(id, access, next)),
            Refreshed::Reused => Err(types::Error::Reused),
            Refreshed::Unknown => Err(types::Error::Unauthorized),
        }
    }

    async fn end(access: String) -> Result<(), types::Error> {
        // What cannot be a token has no session.
        if let Some(access) = Access::parse(&access) {
            store::end(&access).await?;
        }
        Ok(())
    }
}

fn client(text: Option<String>) -> Result<Option<Client>, Invalid> {
    text.as_deref().map(Client::parse).transpose()
}

fn random() -> Result<[u8; RANDOM_BYTES], types::Error> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| types::Error::Other(error.to_string()))?;
    Ok(bytes)
}

fn tokens(session: Uuid, access: Issued<Access>, refresh: Issued<Refresh>) -> types::Tokens {
    types::Tokens {
        session_id: session.to_string(),
        access: access.text,
        access_expires_in_s: ACCESS_S,
        refresh: refresh.text,
        refresh_expires_in_s: REFRESH_S,
    }
}

fn known(user: Option<User>) -> Result<types::User, types::Error> {
    user.map(Into::into).ok_or(types::Error::UnknownUser)
}

fn done(changed: Changed) -> Result<(), types::Error> {
    match changed {
        Changed::Done => Ok(()),
        Changed::Meanwhile => Err(types::Error::Changed),
        Changed::Unknown => Err(types::Error::UnknownUser),
    }
}

impl From<User> for types::User {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            name: user.name,
            email: user.email,
            role: user.role.into(),
            created_at_ms: user.created_at_ms,
        }
    }
}

impl From<Role> for types::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::User => Self::User,
            Role::Moderator => Self::Moderator,
            Role::Importer => Self::Importer,
            Role::Admin => Self::Admin,
        }
    }
}

impl From<types::Role> for Role {
    fn from(role: types::Role) -> Self {
        match role {
            types::Role::User => Self::User,
            types::Role::Moderator => Self::Moderator,
            types::Role::Importer => Self::Importer,
            types::Role::Admin => Self::Admin,
        }
    }
}

impl From<Invalid> for types::Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid.0)
    }
}

marquee_guest::sql_errors!(types::Error);

/// For how many seconds an access token is good: what the store's statements say.
const ACCESS_S: u32 = 15 * 60;
/// For how many seconds a refresh token is good: likewise.
const REFRESH_S: u32 = 30 * 24 * 60 * 60;
