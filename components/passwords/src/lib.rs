//! Passwords: hashes them and verifies them, and keeps nothing.
//!
//! Promise: a password is never logged, and is wiped once it is hashed. Hashing is dear by intent (19 MiB and some tens
//! of milliseconds), so it is a component of its own: the manifest bounds how many run at once and how many wait, and
//! verifying a token, which every request does, never waits behind it. A call that computes gives way to others after
//! some milliseconds, by the host.
//!
//! To read first: `domain`. This file gives the domain its salts and translates to and from WIT.

pub mod domain;

use bindings::exports::movie::passwords::hashing;
use zeroize::Zeroizing;

use domain::{Error, Invalid, Password, SALT_BYTES, Verdict};

marquee_guest::component!(Passwords, {
    path: "../../wit/movie-passwords",
    world: "movie:passwords/passwords",
});

struct Passwords;

impl hashing::Guest for Passwords {
    async fn hash(password: String, unlike: Vec<String>) -> Result<String, hashing::Error> {
        let typed = Zeroizing::new(password);
        if unlike.len() > UNLIKE_MAX {
            return Err(hashing::Error::Other(format!(
                "more than {UNLIKE_MAX} names"
            )));
        }
        let password = Password::new(&typed, &unlike)?;
        Ok(domain::hash(&password, &salt()?)?)
    }

    async fn verify(
        password: String,
        hash: Option<String>,
    ) -> Result<hashing::Verdict, hashing::Error> {
        let typed = Zeroizing::new(password);
        let Some(password) = Password::typed(&typed) else {
            return Ok(hashing::Verdict::Wrong);
        };
        Ok(
            match domain::verify(&password, hash.as_deref(), &salt()?)? {
                Verdict::Wrong => hashing::Verdict::Wrong,
                Verdict::Right => hashing::Verdict::Right,
                Verdict::Outdated(new) => hashing::Verdict::Outdated(new),
            },
        )
    }
}

fn salt() -> Result<[u8; SALT_BYTES], hashing::Error> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| hashing::Error::Other(error.to_string()))?;
    Ok(salt)
}

impl From<Invalid> for hashing::Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid.to_string())
    }
}

impl From<Error> for hashing::Error {
    fn from(error: Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// Most names that a password is compared with: a user has two.
const UNLIKE_MAX: usize = 8;
