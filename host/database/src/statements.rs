//! The statements of a text with several, divided where PostgreSQL's parser divides them.
//!
//! Promise: a semicolon in a string, a quoted name, a comment, a `$$` body, brackets or the `begin atomic` body of a function
//! ends nothing. What is not closed goes on to the text's end, and the server says what is wrong with it. Strings are read
//! as with `standard_conforming_strings`, which is what every server does by itself.

use crate::kind::behind_comment;

/// One of them, from its first word on, without what ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    pub(crate) text: &'a str,
    /// Where it begins; the text's first line is 1.
    pub(crate) line: usize,
}

impl Statement<'_> {
    /// Whether this word stands in it, outside of strings and comments.
    pub(crate) fn says(&self, word: &str) -> bool {
        tokens(self.text)
            .any(|(token, _)| matches!(token, Token::Word(said) if said.eq_ignore_ascii_case(word)))
    }
}

/// All that are not empty, in their order.
pub(crate) fn split(text: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut open = Open::default();
    for (token, at) in tokens(text) {
        if token == Token::End && open.is_closed() {
            statements.extend(open.statement(text, at));
            open = Open::default();
        } else {
            open.take(token, at);
        }
    }
    statements.extend(open.statement(text, text.len()));
    statements
}

/// A statement whose end has not come yet.
#[derive(Default)]
struct Open<'a> {
    start: Option<usize>,
    /// Its first words: whether it makes a function shows in them.
    words: Vec<&'a str>,
    last_word: &'a str,
    brackets: usize,
    /// How many `end` the body of a function still needs.
    body: usize,
}

impl<'a> Open<'a> {
    fn take(&mut self, token: Token<'a>, at: usize) {
        if token == Token::Blank {
            return;
        }
        self.start.get_or_insert(at);
        match token {
            Token::OpenBracket => self.brackets += 1,
            Token::CloseBracket => self.brackets = self.brackets.saturating_sub(1),
            Token::Word(word) => self.word(word),
            _ => {}
        }
    }

    fn word(&mut self, word: &'a str) {
        let is = |wanted: &str| word.eq_ignore_ascii_case(wanted);
        if self.body > 0 {
            if is("case") {
                self.body += 1;
            } else if is("end") {
                self.body -= 1;
            }
        } else if is("atomic") && self.last_word.eq_ignore_ascii_case("begin") && self.is_routine()
        {
            self.body = 1;
        }
        if self.words.len() < 4 {
            self.words.push(word);
        }
        self.last_word = word;
    }

    fn is_routine(&self) -> bool {
        let mut words = self.words.iter().map(|word| word.to_ascii_lowercase());
        let mut next = || words.next().unwrap_or_default();
        if next() != "create" {
            return false;
        }
        let mut what = next();
        if what == "or" {
            next();
            what = next();
        }
        what == "function" || what == "procedure"
    }

    fn is_closed(&self) -> bool {
        self.brackets == 0 && self.body == 0
    }

    fn statement(&self, whole: &'a str, end: usize) -> Option<Statement<'a>> {
        let start = self.start?;
        let before = whole.get(..start)?;
        Some(Statement {
            text: whole.get(start..end)?.trim_end(),
            line: 1 + before.matches('\n').count(),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// Blanks, or a comment.
    Blank,
    Word(&'a str),
    OpenBracket,
    CloseBracket,
    End,
    /// A string, a quoted name, a number, an operator.
    Other,
}

/// Each with the place that it begins at.
fn tokens(text: &str) -> impl Iterator<Item = (Token<'_>, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (token, length) = token(text.get(at..)?)?;
        let begins = at;
        at += length;
        Some((token, begins))
    })
}

/// The first one of a text, and its length.
fn token(text: &str) -> Option<(Token<'_>, usize)> {
    let first = text.chars().next()?;
    let token = match first {
        ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => (Token::Blank, 1),
        '-' if text.starts_with("--") => {
            (Token::Blank, text.find(['\n', '\r']).unwrap_or(text.len()))
        }
        '/' if text.starts_with("/*") => (Token::Blank, text.len() - behind_comment(text).len()),
        '\'' | '"' => (Token::Other, quoted(text, first)),
        '$' => (Token::Other, dollar_quoted(text).unwrap_or(1)),
        ';' => (Token::End, 1),
        '(' => (Token::OpenBracket, 1),
        ')' => (Token::CloseBracket, 1),
        _ if begins_word(first) => {
            let end = text.find(|c| !is_in_word(c)).unwrap_or(text.len());
            let (word, rest) = text.split_at_checked(end)?;
            if word.eq_ignore_ascii_case("e") && rest.starts_with('\'') {
                (Token::Other, end + escaped(rest))
            } else {
                (Token::Word(word), end)
            }
        }
        other => (Token::Other, other.len_utf8()),
    };
    Some(token)
}

/// How long a string or a quoted name is. A doubled quote in it ends one and begins the next, which divides the same.
fn quoted(text: &str, quote: char) -> usize {
    let inside = text.get(1..).unwrap_or_default();
    inside.find(quote).map_or(text.len(), |end| end + 2)
}

/// The same of a string in which a backslash keeps the quote behind it from ending it.
fn escaped(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '\'' if letters.next_if(|(_, next)| *next == '\'').is_none() => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// How long a `$tag$ ... $tag$` is, if it is one: `$1` is a parameter.
fn dollar_quoted(text: &str) -> Option<usize> {
    let behind = text.get(1..)?;
    let end = behind.find('$')?;
    let tag = behind.get(..end)?;
    let mut letters = tag.chars();
    let is_tag = letters.next().is_none_or(begins_word) && letters.all(is_in_word);
    if !is_tag {
        return None;
    }
    let fence = text.get(..end + 2)?;
    let inside = text.get(fence.len()..)?;
    let closed = inside.find(fence).map(|at| at + 2 * fence.len());
    Some(closed.unwrap_or(text.len()))
}

fn begins_word(letter: char) -> bool {
    letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii()
}

fn is_in_word(letter: char) -> bool {
    begins_word(letter) || letter.is_ascii_digit() || letter == '$'
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_text_is_divided_where_the_server_divides_it() {
        for (text, statements) in [
            ("", vec![]),
            (" ;; -- nothing\n/* nor; here */", vec![]),
            ("select 1", vec![("select 1", 1)]),
            (
                "select 1;\n\n-- two; of them\nselect 2 ;",
                vec![("select 1", 1), ("select 2", 4)],
            ),
            (
                "select ';', 'a''; b'; x",
                vec![("select ';', 'a''; b'", 1), ("x", 1)],
            ),
            (r"select 'a\'; x", vec![(r"select 'a\'", 1), ("x", 1)]),
            (
                r"select E'a\'; b'; x",
                vec![(r"select E'a\'; b'", 1), ("x", 1)],
            ),
            (
                r"select e'a''\'; b'; x",
                vec![(r"select e'a''\'; b'", 1), ("x", 1)],
            ),
            (
                r#"select ";", "a""; b"; x"#,
                vec![(r#"select ";", "a""; b""#, 1), ("x", 1)],
            ),
            (
                "do $$ begin; end $$; x",
                vec![("do $$ begin; end $$", 1), ("x", 1)],
            ),
            (
                "do $a$ $$; $b$; $a$; x",
                vec![("do $a$ $$; $b$; $a$", 1), ("x", 1)],
            ),
            (
                "select $1; select a$b$; x",
                vec![("select $1", 1), ("select a$b$", 1), ("x", 1)],
            ),
            (
                "select 1 /* a /* b; */ ; */; x",
                vec![("select 1 /* a /* b; */ ; */", 1), ("x", 1)],
            ),
            (
                "create rule r as on insert to t do also (delete from a; delete from b); x",
                vec![
                    (
                        "create rule r as on insert to t do also (delete from a; delete from b)",
                        1,
                    ),
                    ("x", 1),
                ],
            ),
            (
                "create or replace function f() returns int begin atomic\nselect case when true then 1 end; select 2;\nend; x",
                vec![
                    (
                        "create or replace function f() returns int begin atomic\nselect case when true then 1 end; select 2;\nend",
                        1,
                    ),
                    ("x", 3),
                ],
            ),
            (
                "begin; atomic; end",
                vec![("begin", 1), ("atomic", 1), ("end", 1)],
            ),
            (
                "comment on table f is 'ä'; ünicode;",
                vec![("comment on table f is 'ä'", 1), ("ünicode", 1)],
            ),
            (
                "select 'without an end; x",
                vec![("select 'without an end; x", 1)],
            ),
        ] {
            let found = split(text);
            let found: Vec<_> = found.iter().map(|it| (it.text, it.line)).collect();
            assert_eq!(found, statements, "{text}");
        }
    }

    #[test]
    fn a_word_counts_where_it_is_one() {
        let says = |text| split(text).iter().any(|it| it.says("concurrently"));
        assert!(says("create index CONCURRENTLY i on t (a)"));
        for text in [
            "select 'concurrently'",
            "select 1 -- concurrently",
            "select concurrently_",
        ] {
            assert!(!says(text), "{text}");
        }
    }
}
