//! Who tries, and whom: the subjects whose attempts are counted.
//!
//! A subject that is a text from outside is kept as its SHA-256: what nobody is called may be a password in the wrong
//! field, and a client's address is a person's. It hides little (there are few addresses), but it shows nothing to whoever
//! looks at the table.

use sha2::{Digest as _, Sha256};

use super::Invalid;

/// Whoever sends a request, as the caller knows them: an address or its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client(String);

impl Client {
    /// Check its bounds.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if !(1..=CLIENT_MAX_BYTES).contains(&text.len()) {
            return Err(Invalid::new(
                "client",
                format_args!("must have 1 to {CLIENT_MAX_BYTES} bytes"),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The subject of its attempts to log in.
    pub fn log_in(&self) -> String {
        subject("client", &self.0)
    }

    /// The subject of its registrations.
    pub fn registration(&self) -> String {
        subject("registration", &self.0)
    }
}

/// A text from outside as a subject.
pub(super) fn subject(kind: &str, text: &str) -> String {
    format!("{kind}:{}", hex::encode(Sha256::digest(text)))
}

/// Most bytes of a client.
const CLIENT_MAX_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_shows_nothing_of_its_text_and_each_kind_is_another() {
        let client = Client::parse("192.0.2.7").unwrap();
        let login = super::super::Login::parse("192.0.2.7");
        let all = [
            client.log_in(),
            client.registration(),
            login.nobody().to_owned(),
        ];
        for subject in &all {
            assert!(!subject.contains("192"), "{subject}");
            assert!(subject.len() <= 128, "{subject}");
            assert_eq!(all.iter().filter(|other| *other == subject).count(), 1);
        }
    }

    #[test]
    fn a_client_has_1_to_128_bytes() {
        let check =
            |text: &str, good: bool| assert_eq!(Client::parse(text).is_ok(), good, "{text}");
        check("192.0.2.7", true);
        check("", false);
        check(&"a".repeat(128), true);
        check(&"a".repeat(129), false);
    }
}
