//! What makes a password, and what is kept of it, without a host, a clock or randomness.

mod common;
mod hash;
mod password;

pub use hash::{Error, SALT_BYTES, Verdict, hash, verify};
pub use password::{BYTES_MAX, CHARS_MAX, CHARS_MIN, Password};

/// A password breaks a rule. The text names the rule, never the password, and may be shown to a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("password {0}")]
pub struct Invalid(pub String);
