//! Whose credentials come with a request, as far as can be known before a component has looked at them.
//!
//! Credentials are their own subject until an answer of the component's names another; then all credentials with that name
//! share one. Neither tokens nor names are kept: only hashes, under a key that is made anew with each process. Bound: pairs
//! that are remembered; what is forgotten is its own subject again.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use http::{HeaderMap, header};
use marquee_manifest::ComponentId;
use quick_cache::sync::Cache;

/// What stands for credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Credentials(u64);

/// Who asks, for counting.
pub(super) type Subject = u64;

/// The subjects that components have named.
pub(super) struct Subjects {
    named: Cache<u64, Subject>,
    secret: RandomState,
}

impl Subjects {
    /// Room for this many credentials.
    pub(super) fn new(credentials: usize) -> Self {
        Self {
            named: Cache::new(credentials),
            secret: RandomState::new(),
        }
    }

    /// The credentials of a request. The scheme is the same whatever its case (RFC 9110). Requests with several
    /// `Authorization` headers have all the same, since nobody knows which of them a component reads.
    pub(super) fn credentials(
        &self,
        component: &ComponentId,
        headers: &HeaderMap,
    ) -> Option<Credentials> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = match (values.next()?, values.next()) {
            (value, None) => value.as_bytes().trim_ascii(),
            _ => b"",
        };
        let end = value.iter().position(|&byte| byte == b' ');
        let (scheme, token) = value.split_at(end.unwrap_or(value.len()));
        let scheme = scheme.to_ascii_lowercase();
        let parts: [&[u8]; 3] = [b"credentials", &scheme, token.trim_ascii()];
        Some(Credentials(self.hash(component, &parts)))
    }

    /// Who they count for.
    pub(super) fn of(&self, credentials: Credentials) -> Subject {
        self.named.get(&credentials.0).unwrap_or(credentials.0)
    }

    /// The component says whose they are.
    pub(super) fn name(&self, component: &ComponentId, credentials: Credentials, name: &[u8]) {
        let subject = self.hash(component, &[b"subject", name]);
        // Seldom news, and reading does not stop others.
        if self.of(credentials) != subject {
            self.named.insert(credentials.0, subject);
        }
    }

    fn hash(&self, component: &ComponentId, parts: &[&[u8]]) -> u64 {
        let mut hasher = self.secret.build_hasher();
        hasher.write(component.as_str().as_bytes());
        for part in parts {
            // No part has a byte of this value: it is in no name and in no header.
            hasher.write_u8(0);
            hasher.write(part);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> ComponentId {
        "web".parse().unwrap()
    }

    fn credentials(subjects: &Subjects, values: &[&str]) -> Option<Credentials> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        subjects.credentials(&web(), &headers)
    }

    #[test]
    fn credentials_are_the_same_however_their_scheme_is_written() {
        let subjects = Subjects::new(100);
        let one = credentials(&subjects, &["Bearer abc"]);
        assert!(one.is_some());
        for same in ["bearer abc", "BEARER   abc", " Bearer abc "] {
            assert_eq!(credentials(&subjects, &[same]), one, "{same:?}");
        }
        for other in ["Bearer abd", "Bearer ABC", "Basic abc", "Bearer", ""] {
            assert_ne!(credentials(&subjects, &[other]), one, "{other:?}");
        }
        assert_eq!(credentials(&subjects, &[]), None);
    }

    #[test]
    fn a_second_authorization_header_makes_no_new_credentials() {
        let subjects = Subjects::new(100);
        let one = credentials(&subjects, &["Bearer a", "Bearer b"]);
        assert_eq!(credentials(&subjects, &["Bearer c", "Bearer b"]), one);
    }

    #[test]
    fn what_a_component_names_alike_is_one_subject() {
        let subjects = Subjects::new(100);
        let [one, two] =
            ["Bearer 1", "Bearer 2"].map(|token| credentials(&subjects, &[token]).unwrap());
        assert_ne!(subjects.of(one), subjects.of(two));
        subjects.name(&web(), one, b"ann");
        subjects.name(&web(), two, b"ann");
        assert_eq!(subjects.of(one), subjects.of(two));
        subjects.name(&web(), two, b"bob");
        assert_ne!(subjects.of(one), subjects.of(two));
    }

    #[test]
    fn nobody_can_make_up_credentials_that_count_for_another() {
        let subjects = Subjects::new(100);
        let ann = credentials(&subjects, &["Bearer 1"]).unwrap();
        subjects.name(&web(), ann, b"ann");
        for made_up in ["subject ann", "credentials ann", "ann"] {
            let made_up = credentials(&subjects, &[made_up]).unwrap();
            assert_ne!(subjects.of(made_up), subjects.of(ann));
        }
        // A secret of its own each: what is learned of one process is worth nothing in another.
        let other = credentials(&Subjects::new(100), &["Bearer 1"]).unwrap();
        assert_ne!(other, ann);
    }
}
