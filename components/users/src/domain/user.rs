//! A user, and what it takes to be one.

use uuid::Uuid;

use super::{Email, Invalid, Name};

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Rates for themselves.
    User,
    /// Also edits and deletes movies.
    Moderator,
    /// Also rates for others.
    Importer,
    /// All of these, and gives roles.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::User, Self::Moderator, Self::Importer, Self::Admin];

    /// The word that is kept.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Moderator => "moderator",
            Self::Importer => "importer",
            Self::Admin => "admin",
        }
    }

    /// The role of a word that was kept.
    pub fn from_kept(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// A user as they are kept. They have a name, an address, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// A UUIDv7.
    pub id: Uuid,
    /// See [`Name`].
    pub name: Option<String>,
    /// See [`Email`].
    pub email: Option<String>,
    /// What they may do.
    pub role: Role,
    /// When they registered, in milliseconds since 1970.
    pub created_at_ms: u64,
}

/// A user before there is one; every bound holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    name: Option<Name>,
    email: Option<Email>,
    hash: PasswordHash,
}

impl NewUser {
    /// Check every bound.
    pub fn parse(name: Option<&str>, email: Option<&str>, hash: &str) -> Result<Self, Invalid> {
        let name = name.map(Name::parse).transpose()?;
        let email = email.map(Email::parse).transpose()?;
        if name.is_none() && email.is_none() {
            return Err(Invalid::new("name", "or email must be there"));
        }
        Ok(Self {
            name,
            email,
            hash: PasswordHash::parse(hash)?,
        })
    }

    /// The name, if they gave one.
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// The address, if they gave one.
    pub fn email(&self) -> Option<&Email> {
        self.email.as_ref()
    }

    /// Of the password.
    pub fn hash(&self) -> &PasswordHash {
        &self.hash
    }
}

/// A PHC string of argon2id. It is not computed with here, but no password can pass for one.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Check its bounds.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "$=,+/-.".contains(c);
        if text.len() > HASH_MAX_BYTES || !text.starts_with("$argon2") || !text.chars().all(plain) {
            return Err(Invalid::new(
                "password_hash",
                "must be a PHC string of argon2",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// As it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PasswordHash")
    }
}

/// The event `user.deleted` as it travels on topic `users`: the id and nothing else of the user.
pub fn deleted_event(id: Uuid) -> Vec<u8> {
    serde_json::json!({ "type": "user.deleted", "id": id })
        .to_string()
        .into_bytes()
}

/// Most bytes of a PHC string.
const HASH_MAX_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$c29tZWhhc2g";

    #[test]
    fn a_user_has_a_name_or_an_address() {
        let check = |name, email, good: bool| {
            assert_eq!(
                NewUser::parse(name, email, HASH).is_ok(),
                good,
                "{name:?} {email:?}"
            );
        };
        check(Some("ann"), Some("ann@example.org"), true);
        check(Some("ann"), None, true);
        check(None, Some("ann@example.org"), true);
        check(None, None, false);
        check(Some(""), Some("ann@example.org"), false);
        check(Some("ann"), Some(""), false);
        check(Some("ann@example.org"), None, false);
    }

    #[test]
    fn a_password_is_no_hash_and_a_hash_prints_nothing() {
        assert!(PasswordHash::parse(HASH).is_ok());
        for text in [
            "",
            "zebra moon 42",
            "$argon2id$ two words",
            &format!("{HASH}{}", "a".repeat(255)),
        ] {
            assert!(PasswordHash::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            format!("{:?}", PasswordHash::parse(HASH).unwrap()),
            "PasswordHash"
        );
    }

    #[test]
    fn a_role_comes_back_by_its_word() {
        for role in Role::ALL {
            assert_eq!(Role::from_kept(role.as_str()), Some(role));
        }
        assert_eq!(Role::from_kept("Admin"), None);
    }

    #[test]
    fn the_event_has_the_id_alone() {
        let id = Uuid::from_u128(7);
        assert_eq!(
            deleted_event(id),
            br#"{"id":"00000000-0000-0000-0000-000000000007","type":"user.deleted"}"#
        );
    }
}
