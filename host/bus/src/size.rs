//! How large a record may be, the same on both buses: a message that one of them takes, the other takes too.

use crate::{Error, Record};

/// Bytes of a value.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// Bytes of a key.
pub const MAX_KEY_BYTES: usize = 256;
/// Bytes of all names and values of headers together.
pub const MAX_HEADERS_BYTES: usize = 64 * 1024;
/// Headers of one record that are its publisher's.
pub const MAX_OWN_HEADERS: usize = 64;
/// Headers of one record: the publisher's, and what the host says of it (event, number, source, trace).
pub const MAX_HEADERS: usize = MAX_OWN_HEADERS + 4;
/// Bytes of a topic's name.
pub const MAX_TOPIC_BYTES: usize = 249;

/// Whether a topic may be called so: Kafka's own rule.
pub fn is_topic(name: &str) -> bool {
    (1..=MAX_TOPIC_BYTES).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Bytes of a record: key, value and headers.
pub(crate) fn bytes_of(record: &Record) -> usize {
    record.key.len() + record.value.len() + header_bytes(record)
}

/// Refuse what can never be published. Zero bytes cannot be kept in a text of PostgreSQL nor in a header's name of
/// Kafka.
pub(crate) fn check(record: &Record) -> Result<(), Error> {
    let refuse = |what: String| Err(Error::Refused(what));
    if record.value.len() > MAX_VALUE_BYTES {
        return refuse(format!(
            "a value of {} bytes, and {MAX_VALUE_BYTES} are allowed",
            record.value.len()
        ));
    }
    if record.key.len() > MAX_KEY_BYTES {
        return refuse(format!(
            "a key of {} bytes, and {MAX_KEY_BYTES} are allowed",
            record.key.len()
        ));
    }
    if record.headers.len() > MAX_HEADERS || header_bytes(record) > MAX_HEADERS_BYTES {
        return refuse(format!(
            "more headers than the {MAX_HEADERS} or {MAX_HEADERS_BYTES} bytes that are allowed"
        ));
    }
    if record.key.contains('\0') || record.headers.iter().any(|(name, _)| name.contains('\0')) {
        return refuse("a zero byte in a key or in a header's name".to_owned());
    }
    Ok(())
}

fn header_bytes(record: &Record) -> usize {
    record
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum()
}
