//! References: `oci://registry:5000/movies/rating:2.0`, by a tag, a digest or both, of which the digest counts.
//!
//! As the distribution specification has them, with two differences: the registry stands there always, and so does the version.
//! What is left out would be looked up at one company's, and be whatever came last.

use std::{fmt, str::FromStr};

use marquee_registry::Digest;
use url::{Host, Url};

/// Where a component lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no reference such as oci://registry.example/movies/rating:2.0: {reason}")]
pub struct NotAReference {
    text: String,
    reason: &'static str,
}

impl Reference {
    /// Host and port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path of its versions there.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest, if it has one.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What the registry is asked for: the digest, or else the tag.
    pub(crate) fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => written(digest),
            (None, tag) => tag.clone().unwrap_or_default(),
        }
    }

    /// The same by its digest, which no tag can move.
    #[must_use]
    pub fn at(self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self
        }
    }

    /// Whether the registry is on this machine.
    pub fn is_local(&self) -> bool {
        url(&self.registry).as_ref().is_some_and(is_local)
    }
}

impl FromStr for Reference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let wrong = |reason| NotAReference {
            text: text.to_owned(),
            reason,
        };
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| wrong("it begins with oci://"))?;
        if rest.len() > MOST {
            return Err(wrong("it is too long"));
        }
        let (registry, path) = rest
            .split_once('/')
            .ok_or_else(|| wrong("after the registry comes a path"))?;
        if url(registry).is_none() {
            return Err(wrong("its registry is no host, or host and port"));
        }
        let (path, digest) = match path.split_once('@') {
            Some((path, digest)) => {
                let digest = digest
                    .strip_prefix("sha256:")
                    .filter(|digits| !digits.bytes().any(|byte| byte.is_ascii_uppercase()));
                let digest = digest.and_then(|digits| digits.parse().ok());
                let digest = digest.ok_or_else(|| wrong("a digest is sha256: and 64 digits"))?;
                (path, Some(digest))
            }
            None => (path, None),
        };
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !repository.split('/').all(is_part) {
            return Err(wrong(
                "its path is small letters and digits, with . _ or - between them",
            ));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong(
                "a tag is up to 128 letters, digits, dots, dashes and underscores",
            ));
        }
        if tag.is_none() && digest.is_none() {
            return Err(wrong(
                "it names no version: add :TAG, or @sha256: and the digest",
            ));
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{}", written(digest)),
            None => Ok(()),
        }
    }
}

/// Whether it leads to this machine.
pub(crate) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// As registries write it.
pub(crate) fn written(digest: &Digest) -> String {
    format!("sha256:{digest:#}")
}

/// Of a host, or host and port, as it stands there: neither in capitals nor in any other of the ways in which a URL may
/// have it.
fn url(authority: &str) -> Option<Url> {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
    let url: Url = format!("https://{authority}/").parse().ok()?;
    let same = url
        .host_str()
        .is_some_and(|host| match authority.strip_prefix(host) {
            Some("") => true,
            Some(port) => port.strip_prefix(':').is_some_and(|port| {
                port.parse() == Ok(url.port_or_known_default().unwrap_or_default())
            }),
            None => false,
        });
    (authority.bytes().all(plain) && same).then_some(url)
}

/// Of a path: letters and digits, with one dot, one or two underscores, or dashes between them.
fn is_part(part: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends =
        part.bytes().next().is_some_and(is_plain) && part.bytes().last().is_some_and(is_plain);
    let between = part.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    let known = |between: &str| {
        ["", ".", "_", "__"].contains(&between) || between.bytes().all(|byte| byte == b'-')
    };
    ends && between.into_iter().all(known)
}

fn is_tag(tag: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(is_plain)
        && tag
            .bytes()
            .all(|byte| is_plain(byte) || b".-".contains(&byte))
}

/// How a reference begins.
pub const SCHEME: &str = "oci://";
/// Longer names do not fit into what registries keep them in.
const MOST: usize = 480;

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled_text;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reference_names_registry_repository_and_version() {
        let digest = Digest::of(b"manifest");
        for (text, version, local) in [
            (
                "oci://localhost:5000/rating:2.0".to_owned(),
                "2.0".to_owned(),
                true,
            ),
            (
                "oci://127.0.0.1/movies/rating:v_1-a".to_owned(),
                "v_1-a".to_owned(),
                true,
            ),
            ("oci://[::1]:5000/a/b/c:x".to_owned(), "x".to_owned(), true),
            (
                "oci://ghcr.io/my-org/a__b.c:1".to_owned(),
                "1".to_owned(),
                false,
            ),
            (
                format!("oci://r.example:443/a@{}", written(&digest)),
                written(&digest),
                false,
            ),
            (
                format!("oci://r.example/a:1@{}", written(&digest)),
                written(&digest),
                false,
            ),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
            assert_eq!(
                (reference.version(), reference.is_local()),
                (version, local),
                "{text}"
            );
        }
        let tagged: Reference = "oci://r.example/a:1".parse().unwrap();
        let found = tagged.at(digest).to_string();
        assert_eq!(found, format!("oci://r.example/a:1@{}", written(&digest)));
    }

    #[test]
    fn what_is_no_reference_is_told_why() {
        for (text, why) in [
            ("rating.wasm", "begins with oci://"),
            ("OCI://r.example/a:1", "begins with oci://"),
            ("oci://r.example", "a path"),
            ("oci://r.example/a", "names no version"),
            ("oci://r.example/a:", "a tag"),
            ("oci://r.example/a:.1", "a tag"),
            ("oci://r.example/A:1", "its path"),
            ("oci://r.example/a//b:1", "its path"),
            ("oci://r.example/../b:1", "its path"),
            ("oci://r.example/a...b:1", "its path"),
            ("oci://r.example/a-:1", "its path"),
            ("oci:///a:1", "its registry"),
            ("oci://R.example/a:1", "its registry"),
            ("oci://ann:secret@r.example/a:1", "its registry"),
            ("oci://r.example:0x50/a:1", "its registry"),
            ("oci://0x7f.1/a:1", "its registry"),
            ("oci://r.example/a@sha512:00", "a digest"),
            ("oci://r.example/a@sha256:00", "a digest"),
        ] {
            let said = text.parse::<Reference>().unwrap_err().to_string();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_a_reference_is_shown_as_it_is_written(text in mangled_text([
            "oci://127.0.0.1:5000/movies/rating:2.0".to_owned(),
            format!("oci://[::1]:443/a__b/c:1@{}", written(&Digest::of(b"x"))),
            "oci://localhost/a-b:latest".to_owned(),
        ])) {
            let Ok(reference) = text.parse::<Reference>() else { return Ok(()) };
            prop_assert_eq!(reference.to_string(), &*text);
            // It cannot lead anywhere else than where it says.
            let repository = reference.repository();
            let asked = format!("https://{}/v2/{repository}/manifests/{}", reference.registry(), reference.version());
            let url: Url = asked.parse().unwrap();
            prop_assert!(url.path().starts_with(&format!("/v2/{repository}/manifests/")), "{}", url);
            prop_assert_eq!((url.query(), url.fragment(), url.username()), (None, None, ""));
            prop_assert_eq!(url.path_segments().unwrap().count(), 3 + repository.split('/').count());
        }
    }
}
