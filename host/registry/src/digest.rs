//! The name of a version: the SHA-256 of its bytes.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A SHA-256. `Display` gives its first twelve digits, which is what people compare; `{:#}` gives all of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if f.alternate() { self.0.len() } else { 6 };
        self.0
            .iter()
            .take(shown)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_shown_short_and_whole() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), "e3b0c44298fc");
        assert_eq!(
            format!("{digest:#}"),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
