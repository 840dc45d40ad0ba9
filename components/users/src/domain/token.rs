//! Tokens: what a client holds, and the digests that are kept of it.
//!
//! An access token is 256 random bits. A refresh token has twice as many: the first half stays the same through the
//! session (its *family*), the second is new with each refresh. So a token that was used before is known for what it is,
//! from the one row of its session, without a list of used tokens. Both are base64url with a prefix by which scanners for
//! leaked secrets find them. Kept is the SHA-256 of each half: tokens are random, so neither salt nor a slow hash would
//! add anything, and a lookup by digest tells nothing by its time.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// Random bytes of one half, and of an access token.
pub const RANDOM_BYTES: usize = 32;

/// The SHA-256 of a token or of half of one.
pub type Digest = [u8; 32];

/// A text that is as long as an access token, and what is kept of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// Of the whole.
    pub digest: Digest,
}

/// What is kept of a refresh token.
#[derive(Clone, PartialEq, Eq)]
pub struct Refresh {
    /// The half that stays.
    family: [u8; RANDOM_BYTES],
    /// Of the half that stays.
    pub family_digest: Digest,
    /// Of the half that changes.
    pub digest: Digest,
}

/// A token that was just made: its text, which nobody keeps but the client, and what is kept.
#[derive(Clone)]
pub struct Issued<T> {
    /// For the client.
    pub text: String,
    /// For the store.
    pub kept: T,
}

impl Access {
    /// A new token of these random bytes.
    pub fn issue(random: &[u8; RANDOM_BYTES]) -> Issued<Self> {
        Issued {
            text: text(ACCESS, random),
            kept: Self {
                digest: digest(random),
            },
        }
    }

    /// What a client sent; none where it cannot be a token.
    pub fn parse(text: &str) -> Option<Self> {
        let random: [u8; RANDOM_BYTES] = bytes(ACCESS, text)?.try_into().ok()?;
        Some(Self {
            digest: digest(&random),
        })
    }
}

impl Refresh {
    /// The first token of a session, or the next one of `family`.
    pub fn issue(family: &[u8; RANDOM_BYTES], random: &[u8; RANDOM_BYTES]) -> Issued<Self> {
        Issued {
            text: text(REFRESH, &[family.as_slice(), random].concat()),
            kept: Self {
                family: *family,
                family_digest: digest(family),
                digest: digest(random),
            },
        }
    }

    /// What a client sent; none where it cannot be a token.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = bytes(REFRESH, text)?;
        let (family, random) = bytes.split_first_chunk::<RANDOM_BYTES>()?;
        let random: &[u8; RANDOM_BYTES] = random.try_into().ok()?;
        Some(Self::issue(family, random).kept)
    }

    /// The token after this one.
    pub fn next(&self, random: &[u8; RANDOM_BYTES]) -> Issued<Self> {
        Self::issue(&self.family, random)
    }
}

fn text(prefix: &str, bytes: &[u8]) -> String {
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn bytes(prefix: &str, text: &str) -> Option<Vec<u8>> {
    let encoded = text.strip_prefix(prefix)?;
    (encoded.len() <= ENCODED_MAX_BYTES)
        .then(|| URL_SAFE_NO_PAD.decode(encoded).ok())
        .flatten()
}

fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

const ACCESS: &str = "mqa_";
const REFRESH: &str = "mqr_";
/// 64 bytes in base64.
const ENCODED_MAX_BYTES: usize = 86;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_have_their_prefix_and_256_random_bits_that_change() {
        let access = Access::issue(&[7; 32]);
        assert_eq!(
            access.text,
            "mqa_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
        );
        let refresh = Refresh::issue(&[7; 32], &[8; 32]);
        assert!(refresh.text.starts_with("mqr_BwcHBwc"), "{}", refresh.text);
        assert_eq!(refresh.text.len(), 90);
    }

    #[test]
    fn what_is_no_token_is_none() {
        let access = Access::issue(&[7; 32]).text;
        let refresh = Refresh::issue(&[7; 32], &[8; 32]).text;
        for text in [
            "",
            "mqa_",
            "mqr_",
            "mqa_!!",
            &refresh,
            &access.replace("mqa_", "mqr_"),
            &access.replace("mqa_", ""),
            &format!("{access}="),
            &format!("{access}A"),
            &format!(" {access}"),
            &format!("mqa_{}", "A".repeat(100_000)),
        ] {
            assert!(Access::parse(text).is_none(), "{text:.100}");
            assert!(
                Refresh::parse(text).is_none() || *text == refresh,
                "{text:.100}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_token_comes_back_as_what_is_kept_of_it(family in any::<[u8; 32]>(), random in any::<[u8; 32]>(), next in any::<[u8; 32]>()) {
            let access = Access::issue(&random);
            prop_assert!(Access::parse(&access.text) == Some(access.kept));
            let refresh = Refresh::issue(&family, &random);
            let parsed = Refresh::parse(&refresh.text).unwrap();
            prop_assert!(parsed == refresh.kept);
            let after = parsed.next(&next);
            prop_assert!(after.kept.family_digest == refresh.kept.family_digest);
            prop_assert_eq!(after.kept.digest == refresh.kept.digest, next == random);
            prop_assert!(Refresh::parse(&after.text) == Some(after.kept));
        }

        #[test]
        fn no_text_is_too_odd(text in any::<String>()) {
            let _ = (Access::parse(&text), Refresh::parse(&format!("mqr_{text}")));
        }
    }
}
