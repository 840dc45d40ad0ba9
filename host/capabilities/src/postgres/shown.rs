//! The text of a statement as others may see it: without the values that are written into it, and without comments.
//!
//! Where it is not sure it leaves out more. Bound: [`TEXT_BYTES`].

/// Numbers and strings are a `?`, blanks are one. Parameters (`$1`), names and all other words are as they were.
pub(super) fn shown(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len().min(TEXT_BYTES));
    let mut rest = sql;
    let mut before = ' ';
    while let Some(letter) = rest.chars().next() {
        if text.len() >= TEXT_BYTES {
            break;
        }
        let (what, behind) = next(rest, letter, before);
        match what {
            What::Value => text.push('?'),
            What::Blank if text.ends_with(' ') || text.is_empty() => {}
            What::Blank => text.push(' '),
            What::Word(word) => text.push_str(word),
        }
        before = match what {
            What::Word(word) => word.chars().next_back().unwrap_or(' '),
            What::Blank => ' ',
            What::Value => '?',
        };
        rest = behind;
    }
    text.truncate(text.trim_end().len());
    text
}

enum What<'a> {
    Value,
    Blank,
    Word(&'a str),
}

/// What `rest` begins with, and what comes behind it.
fn next(rest: &str, letter: char, before: char) -> (What<'_>, &str) {
    let is_within_word = is_of_word(before);
    if let Some(comment) = rest.strip_prefix("--") {
        let end = comment.find(['\n', '\r']).unwrap_or(comment.len());
        return (What::Blank, comment.get(end..).unwrap_or_default());
    }
    if rest.starts_with("/*") {
        return (What::Blank, behind_comment(rest));
    }
    match letter {
        '\'' => (What::Value, behind_quote(rest, '\'', before)),
        '"' => {
            let behind = behind_quote(rest, '"', ' ');
            split(rest, rest.len() - behind.len())
        }
        '$' if !is_within_word => match behind_dollars(rest) {
            Some(behind) => (What::Value, behind),
            None => {
                let digits = rest.get(1..).unwrap_or_default();
                let end = digits.find(|c: char| !c.is_ascii_digit());
                split(rest, 1 + end.unwrap_or(digits.len()))
            }
        },
        letter if letter.is_whitespace() => {
            (What::Blank, rest.trim_start_matches(char::is_whitespace))
        }
        letter if letter.is_numeric() => {
            // `1.5e-3` is three of them, at the worst.
            let end = rest.find(|c: char| !is_of_word(c) && c != '.');
            let (_, behind) = rest.split_at(end.unwrap_or(rest.len()));
            (What::Value, behind)
        }
        letter if is_of_word(letter) => {
            let end = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
            split(rest, end)
        }
        letter => split(rest, letter.len_utf8()),
    }
}

fn split(rest: &str, at: usize) -> (What<'_>, &str) {
    let (word, behind) = rest.split_at(at);
    (What::Word(word), behind)
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$'
}

/// A doubled quote is one inside. A backslash may hide one in strings only where the server says so (`E''`, or an old
/// setting): then all of the rest is left out rather than guessed at.
fn behind_quote(rest: &str, quote: char, before: char) -> &str {
    let escapes = matches!(before, 'e' | 'E');
    let mut behind = rest.get(1..).unwrap_or_default();
    while let Some(at) = behind.find(quote) {
        let (inside, end) = behind.split_at(at);
        if quote == '\'' && (inside.contains('\\') || escapes && inside.ends_with('\\')) {
            return "";
        }
        behind = end.get(1..).unwrap_or_default();
        match behind.strip_prefix(quote) {
            Some(more) => behind = more,
            None => return behind,
        }
    }
    ""
}

/// Behind `$tag$ ... $tag$`. None: it is none.
fn behind_dollars(rest: &str) -> Option<&str> {
    let inside = rest.get(1..)?;
    let end = inside.find('$')?;
    let tag = inside.get(..end)?;
    let is_tag = tag.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !tag.starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return None;
    }
    let closing = rest.get(..end + 2)?;
    let body = rest.get(end + 2..)?;
    let at = body.find(closing).map(|at| at + closing.len());
    Some(body.get(at.unwrap_or(body.len())..).unwrap_or_default())
}

/// Comments may have others inside.
fn behind_comment(mut text: &str) -> &str {
    let mut depth = 0_usize;
    while let Some(at) = text.find(['/', '*']) {
        text = text.get(at..).unwrap_or_default();
        let step = match text.get(..2) {
            Some("/*") => {
                depth += 1;
                2
            }
            Some("*/") => {
                depth = depth.saturating_sub(1);
                2
            }
            _ => 1,
        };
        text = text.get(step..).unwrap_or_default();
        if depth == 0 {
            return text;
        }
    }
    ""
}

/// What a person reads.
const TEXT_BYTES: usize = 2_048;

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled_text;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_and_comments_are_left_out_and_the_rest_is_as_it_was() {
        for (sql, text) in [
            (
                "select  id,\n  \"It's\" from films where year > 1995 and id = $12",
                "select id, \"It's\" from films where year > ? and id = $12",
            ),
            ("select 'it''s', E'a', 'b'", "select ?, E?, ?"),
            (
                "select $$a 'secret'$$, $x$b$y$c$x$ from t1",
                "select ?, ? from t1",
            ),
            (
                "/* 1 /* 2 */ 3 */ insert -- secret\ninto t2 values (-1.5e3, x'ff')",
                "insert into t2 values (-?, x?)",
            ),
            ("select 'secret", "select ?"),
            ("select E'a\\'secret', 'more'", "select E?"),
            ("select 'a\\' , secret", "select ?"),
            ("select $$secret", "select ?"),
            ("/* secret", ""),
            (
                "update t set a = 0x1F, b = 1_000",
                "update t set a = ?, b = ?",
            ),
        ] {
            assert_eq!(shown(sql), text, "{sql}");
        }
        assert!(shown(&"select a, ".repeat(1_000)).len() < TEXT_BYTES + 100);
    }

    proptest! {
        #[test]
        fn whatever_comes_no_string_and_no_number_is_shown(
            sql in mangled_text(["select 'it''s' from t where a = 12 and b = $1", "select $x$a$x$, E'\\''", "/* a */ -- b\n\"c\""])
        ) {
            let text = shown(&sql);
            let names = text.split('"').step_by(2);
            for part in names {
                prop_assert!(!part.contains('\''), "{text}");
                for word in part.split(|c: char| !is_of_word(c)) {
                    prop_assert!(!word.starts_with(char::is_numeric), "{text}");
                }
            }
        }
    }
}
