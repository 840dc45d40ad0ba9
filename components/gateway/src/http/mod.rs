//! HTTP as the gateway sees it: requests in, responses out, and everything that is checked before a route is
//! asked. Knows no WASI type (`guest` translates) and no movie.

pub(crate) mod body;
pub(crate) mod json;
pub(crate) mod negotiate;
pub(crate) mod target;

pub use body::{BODY_MAX_BYTES, Body, Broken};

use std::borrow::Cow;

/// A request whose head was read and whose body was not.
#[derive(Debug)]
pub struct Request<B> {
    /// The method, as it was sent: methods are case-sensitive.
    pub method: String,
    /// Path and query, still percent-encoded.
    pub target: String,
    /// The header fields.
    pub headers: Headers,
    /// The body, to be read at most once.
    pub body: B,
}

/// Header fields in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    /// Takes the fields as they came; names in any letter case.
    pub fn new(fields: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self(
            fields
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect(),
        )
    }

    /// All values of a field, by its lower-case name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter()
            .filter(move |(own, _)| own == name)
            .map(|(_, value)| value.as_slice())
    }

    /// The value of a field that came exactly once and is text.
    pub(crate) fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        std::str::from_utf8(value).ok()
    }
}

/// What goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The content; none for HEAD and for 204.
    pub body: Option<Cow<'static, [u8]>>,
}

impl Response {
    /// An answer with content.
    pub(crate) fn new(
        status: u16,
        content_type: &'static str,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            body: Some(body.into()),
        }
    }

    /// An answer without content.
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: None,
        }
    }

    /// Adds a field.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a field unless there is one of this name.
    pub(crate) fn or_with(self, name: &'static str, value: impl Into<String>) -> Self {
        if self.header(name).is_some() {
            self
        } else {
            self.with(name, value)
        }
    }

    /// The first value of a field, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value.as_str())
    }
}
