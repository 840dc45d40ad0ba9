//! Paths of requests, as Spin writes routes: `/v1/sessions`, `/v1/movies/:id/ratings` and `/v1/...`.

use std::{borrow::Cow, fmt, str::FromStr};

use percent_encoding::percent_decode_str;

/// Which paths belong to a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    parts: Vec<Part>,
    /// It ends in `/...`: what is below belongs to it too.
    is_prefix: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Exact(String),
    /// `:name`: one segment, whatever it is.
    Any,
}

/// A segment of a request's path, decoded.
pub(super) type Segment<'a> = Cow<'a, str>;

/// A text that is no path pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a path such as /v1/movies, /v1/movies/:id or /v1/...")]
pub struct InvalidPath(String);

impl PathPattern {
    pub(super) fn matches(&self, segments: &[Segment<'_>]) -> bool {
        let long_enough = match self.is_prefix {
            true => segments.len() >= self.parts.len(),
            false => segments.len() == self.parts.len(),
        };
        long_enough
            && self
                .parts
                .iter()
                .zip(segments)
                .all(|(part, segment)| match part {
                    Part::Exact(exact) => exact == segment,
                    Part::Any => true,
                })
    }
}

impl FromStr for PathPattern {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let invalid = || InvalidPath(text.to_owned());
        let path = text.strip_prefix('/').ok_or_else(invalid)?;
        let (path, is_prefix) = match path {
            "..." => ("", true),
            _ => match path.strip_suffix("/...") {
                Some("") => return Err(invalid()),
                Some(path) => (path, true),
                None => (path, false),
            },
        };
        let parts = match path {
            "" => Vec::new(),
            _ => path
                .split('/')
                .map(part)
                .collect::<Option<_>>()
                .ok_or_else(invalid)?,
        };
        Ok(Self {
            text: text.to_owned(),
            parts,
            is_prefix,
        })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn part(text: &str) -> Option<Part> {
    let name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    match text.strip_prefix(':') {
        Some(rest) => name(rest).then_some(Part::Any),
        None => {
            // Dots alone would never be met, and what has a meaning elsewhere is more likely a mistake than a path.
            let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"%?#*:{}".contains(c);
            let is_dots = text.bytes().all(|b| b == b'.');
            (!is_dots && text.chars().all(plain)).then(|| Part::Exact(text.to_owned()))
        }
    }
}

/// The segments of a request's path, as a component may understand them.
pub(super) fn segments(path: &str) -> Vec<Segment<'_>> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        let decoded = percent_decode_str(segment).decode_utf8_lossy();
        match &*decoded {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(decoded),
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled_text;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_paths_with_names_and_an_open_end() {
        for good in [
            "/",
            "/...",
            "/a",
            "/a/...",
            "/a/:b",
            "/:a/b-c.json/...",
            "/ä",
        ] {
            let pattern: PathPattern = good.parse().unwrap();
            assert_eq!(pattern.to_string(), good);
        }
        for bad in [
            "",
            "a",
            "...",
            "//",
            "/a/",
            "//...",
            "/a//b",
            "/a/.../b",
            "/a...b/../c",
            "/.",
            "/a/*",
            "/a/{b}",
            "/:",
            "/:a b",
            "/a b",
            "/a?b",
            "/%61",
            "/a\u{0}",
        ] {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_root_is_a_path_of_its_own() {
        let is = |pattern: &str, path: &str| {
            let pattern: PathPattern = pattern.parse().unwrap();
            pattern.matches(&segments(path))
        };
        assert!(is("/", "/") && is("/", "") && !is("/", "*"));
        assert!(!is("/", "/a"));
        assert!(is("/...", "/") && is("/...", "/a/b"));
    }

    proptest! {
        /// Or a class of requests could be left by writing a path in another way.
        #[test]
        fn whatever_comes_a_path_has_no_other_segments_when_it_is_written_plainly(path in mangled_text(["/v1/%73essions/../a%2Fb/./x", "//v1//%2e%2E/%", "/%ff%C3%A9"])) {
            let found = segments(&path);
            prop_assert!(found.len() <= path.matches('/').count() + 1);
            for segment in &found {
                prop_assert!(!["", ".", ".."].contains(&&**segment));
            }
            let plain: String = found.iter().map(|segment| {
                let bytes = segment.bytes().map(|byte| format!("%{byte:02x}"));
                format!("/{}", bytes.collect::<String>())
            }).collect();
            prop_assert_eq!(segments(&plain), found);
        }
    }
}
