//! What a statement does to the transaction and the session that it is sent in, by its first words.
//!
//! The extended protocol takes one statement at a time, so the first words say it. What a function or a block does
//! inside cannot be seen here: one that may change the session is *suspect*, and its connection is not used again.

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It stands or falls with its transaction.
    Work,
    /// It begins a transaction.
    Begin,
    /// It ends one.
    End,
    /// It marks a place in one, or goes back there.
    Savepoint,
    /// It changes the session, whatever becomes of the transaction: `set`, `listen`, `deallocate`.
    Session,
    /// It leaves a transaction to others or another one behind (`prepare transaction`, `and chain`).
    Unsupported,
    /// It is answered in another way than by rows (`copy`).
    Copy,
}

impl Kind {
    /// The kind of one statement.
    pub(crate) fn of(sql: &str) -> Self {
        let mut words = Words(sql);
        let mut next = || words.next().unwrap_or_default();
        let first = next();
        let is = |wanted: &[&str]| wanted.iter().any(|word| first.eq_ignore_ascii_case(word));
        if is(&["begin", "start"]) {
            Self::Begin
        } else if is(&["commit", "end", "rollback", "abort"]) {
            end(words)
        } else if is(&["savepoint", "release"]) {
            Self::Savepoint
        } else if is(&["copy"]) {
            Self::Copy
        } else if is(&["prepare"]) {
            if next().eq_ignore_ascii_case("transaction") {
                Self::Unsupported
            } else {
                Self::Session
            }
        } else if is(&["set"]) {
            let second = next();
            let local = ["local", "constraints", "transaction"];
            if local.iter().any(|word| second.eq_ignore_ascii_case(word)) {
                Self::Work
            } else {
                Self::Session
            }
        } else if is(&[
            "reset",
            "discard",
            "deallocate",
            "listen",
            "unlisten",
            "load",
        ]) {
            Self::Session
        } else {
            Self::Work
        }
    }
}

/// Whether a statement that is [`Kind::End`] takes back what was done.
pub(crate) fn takes_back(sql: &str) -> bool {
    let first = Words(sql).next().unwrap_or_default();
    ["rollback", "abort"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word))
}

/// Of `commit`, `rollback` and their other names.
fn end(words: Words<'_>) -> Kind {
    let mut before = "";
    for word in words {
        let is = |wanted: &str| word.eq_ignore_ascii_case(wanted);
        if is("prepared") || is("chain") && !before.eq_ignore_ascii_case("no") {
            return Kind::Unsupported;
        } else if is("to") {
            return Kind::Savepoint;
        }
        before = word;
    }
    Kind::End
}

/// Whether a statement that is [`Kind::Work`] may change the session all the same.
pub(crate) fn is_suspect(sql: &str) -> bool {
    let first = Words(sql).next().unwrap_or_default();
    let opaque = ["do", "call", "declare"];
    if opaque.iter().any(|word| first.eq_ignore_ascii_case(word)) {
        return true;
    }
    words_of(sql).any(|(word, behind)| {
        let is = |wanted: &&str| word.eq_ignore_ascii_case(wanted);
        SUSPECT.iter().any(is) || is(&"set_config") && !is_local(behind)
    })
}

/// Whether a statement that is [`Kind::Work`] reads and does not wait for the locks of others, as far as its text says. What
/// a function does inside it cannot say.
pub(crate) fn reads(sql: &str) -> bool {
    let first = Words(sql).next().unwrap_or_default();
    let is_query = ["select", "with", "values", "table"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word));
    is_query
        && !words_of(sql).any(|(word, _)| {
            WRITES
                .iter()
                .any(|wanted| word.eq_ignore_ascii_case(wanted))
        })
}

/// All words of a statement, also those in its strings and comments, with what comes behind each.
fn words_of(sql: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        rest = rest.get(rest.find(is_of_word)?..)?;
        let end = rest
            .find(|letter| !is_of_word(letter))
            .unwrap_or(rest.len());
        let (word, behind) = rest.split_at_checked(end)?;
        rest = behind;
        Some((word, behind))
    })
}

fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Whether the arguments of a `set_config` end with `true`: then it is of the transaction alone.
fn is_local(arguments: &str) -> bool {
    let (mut depth, mut is_quoted) = (0_usize, false);
    for (at, letter) in arguments.char_indices() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    let inside = arguments.get(..at).unwrap_or_default();
                    let last = inside.rsplit(',').next().unwrap_or_default();
                    return last.trim().eq_ignore_ascii_case("true");
                }
            }
            _ => {}
        }
    }
    false
}

/// Session locks, and tables that live as long as their session.
const SUSPECT: [&str; 8] = [
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_shared",
    "temp",
    "temporary",
];

/// `for update` and the like among them.
const WRITES: [&str; 10] = [
    "insert",
    "update",
    "delete",
    "merge",
    "into",
    "for",
    "nextval",
    "setval",
    "pg_notify",
    "pg_advisory_xact_lock",
];

/// The words at the beginning of a statement, without blanks, comments and the empty statements before it. Ends at the
/// first thing that is no word.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            self.0 = self
                .0
                .trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c', ';']);
            if let Some(comment) = self.0.strip_prefix("--") {
                self.0 = comment.find(['\n', '\r']).map_or("", |end| &comment[end..]);
            } else if self.0.starts_with("/*") {
                self.0 = behind_comment(self.0);
            } else {
                break;
            }
        }
        let end = self
            .0
            .find(|letter| !is_of_word(letter))
            .unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// What comes behind a comment that may have others inside.
pub(crate) fn behind_comment(mut text: &str) -> &str {
    let mut depth = 0_usize;
    while let Some(at) = text.find(['/', '*']) {
        text = text.get(at..).unwrap_or_default();
        let step = if text.starts_with("/*") {
            depth += 1;
            2
        } else if text.starts_with("*/") {
            depth = depth.saturating_sub(1);
            2
        } else {
            1
        };
        text = text.get(step..).unwrap_or_default();
        if depth == 0 {
            return text;
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::{Kind, is_suspect, reads};

    #[test]
    fn a_statement_is_known_by_its_first_words_however_they_are_written() {
        for (sql, kind) in [
            ("select 1", Kind::Work),
            ("", Kind::Work),
            ("insert into notes values ('begin')", Kind::Work),
            ("with t as (select 1) select * from t", Kind::Work),
            ("(select 1)", Kind::Work),
            ("begin", Kind::Begin),
            (" \n\t;; BEGIN isolation level serializable", Kind::Begin),
            ("-- a word\nbegin", Kind::Begin),
            ("--\rbegin", Kind::Begin),
            ("/* one /* two */ begin */ Start transaction", Kind::Begin),
            ("/**/begin;", Kind::Begin),
            ("/* without an end begin", Kind::Work),
            ("commit", Kind::End),
            ("commit work and no chain", Kind::End),
            ("END transaction", Kind::End),
            ("abort", Kind::End),
            ("rollback", Kind::End),
            ("rollback work to savepoint here", Kind::Savepoint),
            ("rollback/**/to here", Kind::Savepoint),
            ("savepoint here", Kind::Savepoint),
            ("release here", Kind::Savepoint),
            ("commit and chain", Kind::Unsupported),
            ("rollback work and chain", Kind::Unsupported),
            ("commit prepared 'x'", Kind::Unsupported),
            ("prepare transaction 'x'", Kind::Unsupported),
            ("copy notes from stdin", Kind::Copy),
            ("prepare one as select 1", Kind::Session),
            ("set search_path = other", Kind::Session),
            ("set session authorization 'somebody'", Kind::Session),
            ("SET LOCAL search_path = other", Kind::Work),
            ("set transaction read only", Kind::Work),
            ("set constraints all deferred", Kind::Work),
            ("reset all", Kind::Session),
            ("discard all", Kind::Session),
            ("deallocate all", Kind::Session),
            ("listen here", Kind::Session),
            ("beginning", Kind::Work),
            ("ſet", Kind::Work),
        ] {
            assert_eq!(Kind::of(sql), kind, "{sql:?}");
        }
    }

    #[test]
    fn what_may_change_the_session_in_a_hidden_way_is_suspect() {
        for sql in [
            "select set_config('search_path', 'other', false)",
            "select set_config('a', ', true)', false)",
            "select set_config('a', 'b', $1)",
            "select set_config('a', 'b', true), set_config('a', 'b', false)",
            "select PG_ADVISORY_LOCK(1)",
            "create temp table t (n int)",
            "create local temporary table t (n int)",
            "do $$ begin set search_path = other; end $$",
            "/* */ call somewhere()",
            "declare c cursor with hold for select 1",
        ] {
            assert!(is_suspect(sql), "{sql}");
        }
        for sql in [
            "select pg_advisory_xact_lock(1)",
            "select SET_CONFIG ('search_path', coalesce($1, 'a, (b'), true)",
            "select temperature from weather",
            "select marquee.publish('t', 'k', '{}', 'v')",
            "update notes set note = $1",
        ] {
            assert!(!is_suspect(sql), "{sql}");
        }
    }

    #[test]
    fn a_read_is_what_says_so_and_locks_nothing() {
        for sql in [
            "select 1",
            "-- which\nWITH t AS (select 1) select * from t",
            "values (1)",
            "table notes",
            "select updated_at, deleted from notes",
        ] {
            assert!(reads(sql), "{sql}");
        }
        for sql in [
            "",
            "show all",
            "(select 1)",
            "explain analyze insert into notes values (1)",
            "insert into notes values (1)",
            "with m as (INSERT into notes values (1) returning *) select * from m",
            "select * from notes for update",
            "select * into other from notes",
            "select nextval('numbers')",
            "select pg_advisory_xact_lock(1)",
        ] {
            assert!(!reads(sql), "{sql}");
        }
    }
}
