//! Idempotency keys.

use super::Invalid;

/// Names one act of creation. Opaque: compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// 1 to 256 bytes without NUL.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.contains('\0') || !(1..=MAX_BYTES).contains(&text.len()) {
            return Err(Invalid::new(
                "idempotency-key",
                format_args!("must have 1 to {MAX_BYTES} bytes, and not the character U+0000"),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The key of a place in a list that has this one; the first place has the key itself. Invalid where it is too long
    /// for that.
    pub fn of_place(&self, place: usize) -> Result<Self, Invalid> {
        match place {
            0 => Ok(self.clone()),
            _ => Self::parse(&format!("{} {place}", self.0)),
        }
    }

    /// The key as it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const MAX_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_key_has_1_to_256_bytes() {
        let check = |text: &str, good: bool| assert_eq!(Key::parse(text).is_ok(), good, "{text}");
        check("", false);
        check("k", true);
        check(&"é".repeat(128), true);
        check(&"é".repeat(129), false);
        check("a\0", false);
    }
}
