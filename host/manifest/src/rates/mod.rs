//! How often clients may ask: classes of requests, each with its rates.
//!
//! The first class that a request belongs to counts, and no other; a request of no class is not limited. Not here: who
//! counts, and where the counts are kept.

mod path;
pub(crate) mod read;

use std::{fmt, num::NonZeroU32, time::Duration};

pub use path::{InvalidPath, PathPattern};

/// The rates of a component's HTTP requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates {
    /// The header in which the component's answers name the subject of the request's credentials: a user, whatever
    /// token they came with. Without it a token is its own subject.
    pub subject_header: Option<String>,
    /// In the order of the manifest. The name of each is there once.
    pub classes: Vec<RateClass>,
}

/// Requests that are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateClass {
    /// What logs call it.
    pub name: String,
    /// Methods in upper case. None: all.
    pub methods: Vec<String>,
    /// Paths. None: all.
    pub paths: Vec<PathPattern>,
    /// How often one client address may ask.
    pub client: Rate,
    /// How often one authenticated subject may ask. Counted beside `client`, never in its place.
    pub subject: Option<Rate>,
}

/// So many requests in so long, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests in each `per`, evenly: one becomes possible every `per / requests`.
    pub requests: NonZeroU32,
    /// A second, a minute or an hour.
    pub per: Duration,
    /// Requests at once, after a time without any.
    pub burst: NonZeroU32,
}

impl Rates {
    /// The class of a request, and its place in `classes`.
    ///
    /// The path is compared as a component may understand it: escapes are decoded within their segment, and empty and
    /// dot segments are left out. So another spelling of a path does not lead out of its class.
    pub fn class(&self, method: &str, path: &str) -> Option<(usize, &RateClass)> {
        let segments = path::segments(path);
        self.classes
            .iter()
            .enumerate()
            .find(|(_, class)| class.has(method, &segments))
    }
}

impl RateClass {
    fn has(&self, method: &str, segments: &[path::Segment<'_>]) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|own| own == method))
            && (self.paths.is_empty() || self.paths.iter().any(|own| own.matches(segments)))
    }

    /// Whether every request belongs to it.
    fn has_all(&self) -> bool {
        self.methods.is_empty() && self.paths.is_empty()
    }
}

impl Rate {
    /// The time in which one request becomes possible. A microsecond or more.
    pub fn interval(&self) -> Duration {
        self.per / self.requests.get()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}, {} at once", self.requests, self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, methods: &[&str], paths: &[&str]) -> RateClass {
        RateClass {
            name: name.to_owned(),
            methods: methods.iter().map(|&method| method.to_owned()).collect(),
            paths: paths.iter().map(|path| path.parse().unwrap()).collect(),
            client: Rate {
                requests: NonZeroU32::MIN,
                per: Duration::from_secs(60),
                burst: NonZeroU32::MIN,
            },
            subject: None,
        }
    }

    #[test]
    fn the_first_class_that_a_request_belongs_to_counts() {
        let rates = Rates {
            subject_header: None,
            classes: vec![
                class("log-in", &["POST"], &["/v1/sessions"]),
                class(
                    "rating",
                    &["PUT", "DELETE"],
                    &["/v1/movies/:id/ratings/:user"],
                ),
                class("documents", &[], &["/docs", "/problems/..."]),
                class("reads", &["GET", "HEAD"], &[]),
                class("writes", &["POST", "PUT"], &["/v1/..."]),
            ],
        };
        for (method, path, expected) in [
            ("POST", "/v1/sessions", Some("log-in")),
            ("POST", "/v1/sessions/", Some("log-in")),
            ("POST", "//v1/./movies/../sessions", Some("log-in")),
            ("POST", "/v1/%73essions", Some("log-in")),
            ("POST", "/v1/sessions/1", Some("writes")),
            ("POST", "/v1/sessions%2F1", Some("writes")),
            ("GET", "/v1/sessions", Some("reads")),
            ("PUT", "/v1/movies/7/ratings/ann", Some("rating")),
            ("PUT", "/v1/movies/7/ratings/a%2Fb", Some("rating")),
            ("PUT", "/v1/movies/7/ratings", Some("writes")),
            ("GET", "/docs", Some("documents")),
            ("GET", "/problems", Some("documents")),
            ("GET", "/problems/not-found", Some("documents")),
            ("GET", "/problemsolver", Some("reads")),
            ("HEAD", "/", Some("reads")),
            ("PUT", "/v2/movies", None),
            ("DELETE", "/v1/movies/7", None),
            // Methods are compared as they stand, as RFC 9110 has it.
            ("post", "/v1/sessions", None),
        ] {
            let found = rates.class(method, path).map(|(_, class)| &*class.name);
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn a_rate_is_shown_as_it_is_written() {
        let rate = Rate {
            requests: NonZeroU32::new(600).unwrap(),
            per: Duration::from_secs(60),
            burst: NonZeroU32::new(100).unwrap(),
        };
        assert_eq!(rate.to_string(), "600/m, 100 at once");
    }
}
