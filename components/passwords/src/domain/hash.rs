//! Hashes of passwords: argon2id with 19 MiB, two passes and one lane, as PHC strings.
//!
//! A hash carries its parameters, so old ones are verified by theirs and replaced when their user logs in. The parameters
//! that a hash asks for are bounded: the table of users is trusted, and a slip in it must not take the machine.

use std::sync::LazyLock;

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash,
};

use super::Password;

/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;

/// What came of a password and a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The hash is not of this password, or there is none.
    Wrong,
    /// It is.
    Right,
    /// It is; this one, by the present parameters, shall stand in its place.
    Outdated(String),
}

/// Why there is no answer. For operators; nothing of the password or of the hash is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no PHC string of Argon2.
    #[error("the hash cannot be read: {0}")]
    Unreadable(password_hash::Error),
    /// It asks for more work than any password is worth.
    #[error("the hash asks for {kib} KiB and {passes} passes on {lanes} lanes, which is too much")]
    TooMuch {
        /// Memory.
        kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// Argon2 itself failed, for want of memory.
    #[error("hashing failed: {0}")]
    Failed(password_hash::Error),
}

/// The hash of a password with a salt that is new.
pub fn hash(password: &Password, salt: &[u8; SALT_BYTES]) -> Result<String, Error> {
    let hash = present().hash_password_with_salt(password.as_bytes(), salt);
    Ok(hash.map_err(Error::Failed)?.to_string())
}

/// Whether a hash is of this password. Without a hash the work is the same, and the answer is wrong. The salt is for a
/// hash in the place of an outdated one.
pub fn verify(
    password: &Password,
    hash: Option<&str>,
    salt: &[u8; SALT_BYTES],
) -> Result<Verdict, Error> {
    let Some(text) = hash else {
        self::hash(password, salt)?;
        return Ok(Verdict::Wrong);
    };
    let hash = PasswordHash::new(text)
        .map_err(|_| Error::Unreadable(password_hash::Error::EncodingInvalid))?;
    let params = Params::try_from(&hash).map_err(Error::Unreadable)?;
    check(&params)?;
    match present().verify_password(password.as_bytes(), &hash) {
        Ok(()) if is_present(&hash, &params) => Ok(Verdict::Right),
        Ok(()) => Ok(Verdict::Outdated(self::hash(password, salt)?)),
        Err(password_hash::Error::PasswordInvalid) => Ok(Verdict::Wrong),
        Err(error) => Err(Error::Failed(error)),
    }
}

fn check(params: &Params) -> Result<(), Error> {
    let (kib, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    if kib > KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
        return Err(Error::TooMuch { kib, passes, lanes });
    }
    Ok(())
}

fn is_present(hash: &PasswordHash, params: &Params) -> bool {
    let wanted = PARAMS;
    hash.algorithm == argon2::ARGON2ID_IDENT
        && hash.version == Some(Version::V0x13.into())
        && (params.m_cost(), params.t_cost(), params.p_cost())
            == (wanted.m_cost(), wanted.t_cost(), wanted.p_cost())
        && hash
            .hash
            .is_some_and(|output| output.len() == Params::DEFAULT_OUTPUT_LEN)
        && hash.salt.is_some_and(|salt| salt.len() >= SALT_BYTES)
}

fn present() -> &'static Argon2<'static> {
    static PRESENT: LazyLock<Argon2<'_>> =
        LazyLock::new(|| Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS));
    &PRESENT
}

/// 19,456 KiB, two passes, one lane, 32 bytes of output: what OWASP asks for at the least. The crate's defaults say so; a
/// test holds them to it.
const PARAMS: Params = Params::DEFAULT;
/// What a hash may ask for: the component has 64 MiB.
const KIB_MAX: u32 = 32 * 1024;
const PASSES_MAX: u32 = 10;
const LANES_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    const SALT: [u8; SALT_BYTES] = *b"0123456789abcdef";

    /// What this thread has computed so far.
    fn cpu_time() -> Duration {
        Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
    }

    fn password(typed: &str) -> Password {
        Password::typed(typed).unwrap()
    }

    #[test]
    fn a_hash_is_argon2id_with_19_mib_two_passes_and_one_lane() {
        let hash = hash(&password("zebra moon 42"), &SALT).unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert_eq!(hash.len(), 97);
        assert!(!hash.contains("zebra"));
    }

    #[test]
    fn a_hash_is_of_its_password_and_of_no_other() {
        let hash = hash(&password("zebra moon é"), &SALT).unwrap();
        let check = |typed: &str, verdict: Verdict| {
            assert_eq!(
                verify(&password(typed), Some(&hash), &SALT),
                Ok(verdict),
                "{typed}"
            );
        };
        check("zebra moon é", Verdict::Right);
        check("zebra moon e\u{301}", Verdict::Right);
        check("zebra moon e", Verdict::Wrong);
        check("Zebra moon é", Verdict::Wrong);
        check("zebra moon é ", Verdict::Wrong);
        check("", Verdict::Wrong);
    }

    #[test]
    fn each_salt_makes_another_hash() {
        let hash = |salt| hash(&password("zebra moon 42"), salt).unwrap();
        assert_ne!(hash(&SALT), hash(b"fedcba9876543210"));
    }

    /// A hash of `zebra moon 42`.
    fn by(algorithm: Algorithm, kib: u32, passes: u32, lanes: u32) -> String {
        let params = Params::new(kib, passes, lanes, None).unwrap();
        let argon2 = Argon2::new(algorithm, Version::V0x13, params);
        argon2
            .hash_password_with_salt(b"zebra moon 42", &SALT)
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_hash_by_other_parameters_is_verified_by_them_and_replaced() {
        for old in [
            by(Algorithm::Argon2id, 64, 1, 1),
            by(Algorithm::Argon2id, 19_456, 1, 1),
            by(Algorithm::Argon2id, 20_000, 2, 2),
            by(Algorithm::Argon2i, 19_456, 2, 1),
        ] {
            let verdict = verify(&password("zebra moon 42"), Some(&old), &SALT).unwrap();
            let Verdict::Outdated(new) = verdict else {
                panic!("{old}: {verdict:?}");
            };
            assert!(new.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{new}");
            assert_eq!(
                verify(&password("zebra moon 42"), Some(&new), &SALT),
                Ok(Verdict::Right)
            );
            assert_eq!(
                verify(&password("zebra moon 43"), Some(&old), &SALT),
                Ok(Verdict::Wrong)
            );
        }
    }

    #[test]
    fn a_hash_that_cannot_be_read_or_asks_for_too_much_is_refused_before_any_work() {
        let check = |hash: &str| {
            let verdict = verify(&password("zebra moon 42"), Some(hash), &SALT);
            assert!(verdict.is_err(), "{hash}: {verdict:?}");
        };
        let good = by(Algorithm::Argon2id, 64, 1, 1);
        check("");
        check("zebra moon 42");
        check(&good.replace("argon2id", "scrypt"));
        check(&good.replace("m=64", "m=32769"));
        check(&good.replace("m=64", "m=4294967295"));
        check(&good.replace("t=1", "t=11"));
        check(&good.replace("p=1", "p=5"));
    }

    #[test]
    fn without_a_hash_the_answer_is_wrong_after_the_same_work() {
        let hash = hash(&password("zebra moon 42"), &SALT).unwrap();
        let typed = password("zebra moon 43");
        // The least of some runs, by the thread's own clock: others share the machine.
        let work = |hash: Option<&str>| -> Duration {
            let begun = cpu_time();
            assert_eq!(verify(&typed, hash, &SALT), Ok(Verdict::Wrong));
            cpu_time() - begun
        };
        let runs: Vec<_> = (0..7).map(|_| (work(Some(&hash)), work(None))).collect();
        let with = runs.iter().map(|run| run.0).min().unwrap();
        let without = runs.iter().map(|run| run.1).min().unwrap();
        let ratio = without.as_secs_f64() / with.as_secs_f64();
        assert!(
            (0.5..2.0).contains(&ratio),
            "{with:?} with, {without:?} without"
        );
    }
}
