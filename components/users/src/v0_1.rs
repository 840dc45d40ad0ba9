//! Version 0.1 of the interfaces, which has one case for what is not there and for what did not answer. It does what the version
//! after it does, and goes when nobody imports it any more.

use super::Users;
use crate::bindings::exports::movie::{
    users0_1_0::{commands, queries, sessions, types},
    users0_2_0 as new,
};

impl commands::Guest for Users {
    async fn register(user: commands::NewUser) -> Result<types::User, types::Error> {
        let user = new::commands::NewUser {
            name: user.name,
            email: user.email,
            password_hash: user.password_hash,
            client: user.client,
        };
        Ok(<Self as new::commands::Guest>::register(user).await?.into())
    }

    async fn rename(user_id: String, name: String) -> Result<types::User, types::Error> {
        let user = <Self as new::commands::Guest>::rename(user_id, name).await?;
        Ok(user.into())
    }

    async fn change_password(
        user_id: String,
        seen: String,
        new: String,
        keep: Option<String>,
    ) -> Result<(), types::Error> {
        let done = <Self as new::commands::Guest>::change_password(user_id, seen, new, keep).await;
        Ok(done?)
    }

    async fn rehash(user_id: String, seen: String, new: String) -> Result<(), types::Error> {
        Ok(<Self as new::commands::Guest>::rehash(user_id, seen, new).await?)
    }

    async fn set_role(user_id: String, role: types::Role) -> Result<types::User, types::Error> {
        let role = match role {
            types::Role::User => new::types::Role::User,
            types::Role::Moderator => new::types::Role::Moderator,
            types::Role::Importer => new::types::Role::Importer,
            types::Role::Admin => new::types::Role::Admin,
        };
        let user = <Self as new::commands::Guest>::set_role(user_id, role).await?;
        Ok(user.into())
    }

    async fn delete(user_id: String) -> Result<(), types::Error> {
        Ok(<Self as new::commands::Guest>::delete(user_id).await?)
    }
}

impl queries::Guest for Users {
    async fn user_by_id(id: String) -> Result<Option<types::User>, types::Error> {
        let user = <Self as new::queries::Guest>::user_by_id(id).await?;
        Ok(user.map(Into::into))
    }
}

impl sessions::Guest for Users {
    async fn credentials_of(
        login: String,
        client: Option<String>,
    ) -> Result<Option<sessions::Credentials>, types::Error> {
        let found = <Self as new::sessions::Guest>::credentials_of(login, client).await?;
        Ok(found.map(|found| sessions::Credentials {
            user_id: found.user_id,
            password_hash: found.password_hash,
        }))
    }

    async fn create(user_id: String, seen: String) -> Result<types::Tokens, types::Error> {
        let tokens = <Self as new::sessions::Guest>::create(user_id, seen).await?;
        Ok(tokens.into())
    }

    async fn verify(access: String) -> Result<types::Principal, types::Error> {
        let principal = <Self as new::sessions::Guest>::verify(access).await?;
        Ok(types::Principal {
            user_id: principal.user_id,
            role: principal.role.into(),
            session_id: principal.session_id,
        })
    }

    async fn refresh(refresh: String) -> Result<types::Tokens, types::Error> {
        let tokens = <Self as new::sessions::Guest>::refresh(refresh).await?;
        Ok(tokens.into())
    }

    async fn end(access: String) -> Result<(), types::Error> {
        Ok(<Self as new::sessions::Guest>::end(access).await?)
    }
}

impl From<new::types::Role> for types::Role {
    fn from(role: new::types::Role) -> Self {
        match role {
            new::types::Role::User => Self::User,
            new::types::Role::Moderator => Self::Moderator,
            new::types::Role::Importer => Self::Importer,
            new::types::Role::Admin => Self::Admin,
        }
    }
}

impl From<new::types::User> for types::User {
    fn from(user: new::types::User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            email: user.email,
            role: user.role.into(),
            created_at_ms: user.created_at_ms,
        }
    }
}

impl From<new::types::Tokens> for types::Tokens {
    fn from(tokens: new::types::Tokens) -> Self {
        Self {
            session_id: tokens.session_id,
            access: tokens.access,
            access_expires_in_s: tokens.access_expires_in_s,
            refresh: tokens.refresh,
            refresh_expires_in_s: tokens.refresh_expires_in_s,
        }
    }
}

impl From<new::types::Error> for types::Error {
    fn from(error: new::types::Error) -> Self {
        match error {
            new::types::Error::NameTaken => Self::NameTaken,
            new::types::Error::UnknownUser => Self::UnknownUser,
            new::types::Error::Unauthorized => Self::Unauthorized,
            new::types::Error::Reused => Self::Reused,
            new::types::Error::TooMany(seconds) => Self::TooMany(seconds),
            new::types::Error::Changed => Self::Changed,
            new::types::Error::Invalid(text) => Self::Invalid(text),
            new::types::Error::Unavailable(text) | new::types::Error::Timeout(text) => {
                Self::Unavailable(text)
            }
            new::types::Error::Other(text) => Self::Other(text),
        }
    }
}
