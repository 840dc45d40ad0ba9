//! What names may look like.

pub(crate) fn is_interface(text: &str) -> bool {
    let Some((package, version)) = text.split_once('@') else {
        return false;
    };
    let named = package.split_once(':').is_some_and(|(namespace, rest)| {
        is_kebab(namespace)
            && rest
                .split_once('/')
                .is_some_and(|(package, interface)| is_kebab(package) && is_kebab(interface))
    });
    named && semver::Version::parse(version).is_ok()
}

/// In lower case, as HTTP/2 has them.
pub(crate) fn is_header(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

pub(crate) fn is_kebab(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

pub(crate) fn is_plain(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text.len() <= 48
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Kafka's own rule, which the embedded bus keeps.
pub(crate) fn is_topic(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && text != "."
        && text != ".."
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
