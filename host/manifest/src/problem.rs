//! What is wrong with a manifest, where, and what to do.

use std::ops::Range;

/// One problem of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, with the key or value in it.
    pub message: String,
    /// What to do about it, where there is something to say.
    pub help: Option<String>,
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// The line of its beginning, from 1.
    pub line: usize,
    /// The column of its beginning in characters, from 1.
    pub column: usize,
}

impl Problem {
    pub(crate) fn new(
        text: &str,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        Self {
            message,
            help,
            span,
            line,
            column,
        }
    }
}
