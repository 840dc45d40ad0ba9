//! A migration's file: its name, what it says, how it is run, and by what it is known later.
//!
//! A byte-order mark is no part of it, and its lines end as they do everywhere else: what an editor or a checkout makes of
//! them changes neither what the server is told nor the checksum. Nor does what it says of those who know the tables as they
//! were: that may be said of a file that was applied long ago.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use super::MigrateError;
use crate::{
    kind::Kind,
    statements::{Statement, split},
};

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) number: i32,
    pub(super) name: String,
    /// Without a byte-order mark, and with `\n` at the end of each line.
    pub(super) sql: String,
    pub(super) checksum: String,
    /// What earlier releases recorded: of the file as it was then, with one kind of line ends or the other.
    former: [String; 4],
    /// What its first line says; or what of that is not known.
    marks: Result<Marks, String>,
}

/// What a file says of itself in its first line: `-- marquee: expand, no transaction`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// It is run statement by statement, outside of a transaction.
    pub(super) is_apart: bool,
    pub(super) shape: Option<Shape>,
}

/// What becomes of those who know the tables as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// They go on working.
    Expand,
    /// It takes away what they may use.
    Contract,
}

/// How a file is run.
pub(super) enum Plan<'a> {
    /// As one transaction, with its record.
    Whole,
    /// Each statement by itself.
    Apart(Vec<Statement<'a>>),
}

impl Step {
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, MigrateError> {
        let bad = |reason| MigrateError::Name {
            file: file.to_owned(),
            reason,
        };
        let name = file
            .strip_suffix(".sql")
            .ok_or_else(|| bad("it does not end in .sql"))?;
        let (number, _) = name
            .split_once('_')
            .ok_or_else(|| bad("it has no number and name"))?;
        let number = number
            .parse()
            .map_err(|_| bad("it does not begin with a number"))?;
        if !is_plain(name) {
            return Err(bad("it has other characters than letters, digits, - and _"));
        }
        let checksum = |text: &str| hex::encode(Sha256::digest(text.as_bytes()));
        let former = checksum(text);
        let sql = text.strip_prefix('\u{feff}').unwrap_or(text);
        let sql = sql.replace("\r\n", "\n");
        let shapeless = without_shape(&sql);
        let crlf = |text: &str| checksum(&text.replace('\n', "\r\n"));
        Ok(Self {
            number,
            name: name.to_owned(),
            checksum: checksum(&shapeless),
            former: [former, checksum(&sql), crlf(&sql), crlf(&shapeless)],
            marks: Marks::of(&sql),
            sql,
        })
    }

    /// Whether a file that was recorded so is this one.
    pub(super) fn was(&self, recorded: &str) -> bool {
        self.checksum == recorded || self.former.iter().any(|former| former == recorded)
    }

    /// How it is run, if it can be.
    pub(super) fn plan(&self, owner: &str) -> Result<Plan<'_>, MigrateError> {
        let statements = split(&self.sql);
        let apart = self.marks(owner)?.is_apart;
        for statement in &statements {
            if matches!(
                Kind::of(statement.text),
                Kind::Begin | Kind::End | Kind::Unsupported
            ) {
                let first = statement.text.lines().next().unwrap_or_default();
                return Err(MigrateError::Transaction {
                    owner: owner.to_owned(),
                    name: self.name.clone(),
                    line: statement.line,
                    statement: first.chars().take(60).collect(),
                    instead: if apart { APART } else { WHOLE },
                });
            }
        }
        Ok(if apart {
            Plan::Apart(statements)
        } else {
            Plan::Whole
        })
    }

    /// What its first line says of it.
    pub(super) fn marks(&self, owner: &str) -> Result<Marks, MigrateError> {
        self.marks.clone().map_err(|said| MigrateError::Mark {
            owner: owner.to_owned(),
            name: self.name.clone(),
            said,
        })
    }
}

impl Marks {
    /// Those of a file's text.
    fn of(sql: &str) -> Result<Self, String> {
        let mut marks = Self::default();
        for said in said(sql) {
            match (said, marks.shape) {
                (APART_MARK, _) => marks.is_apart = true,
                (EXPAND, None) => marks.shape = Some(Shape::Expand),
                (CONTRACT, None) => marks.shape = Some(Shape::Contract),
                (said, _) => return Err(said.to_owned()),
            }
        }
        Ok(marks)
    }
}

/// What the first line of a file says, word by word.
fn said(sql: &str) -> impl Iterator<Item = &str> {
    let first = sql.lines().next().unwrap_or_default();
    let said = first
        .strip_prefix("--")
        .and_then(|comment| comment.trim_start().strip_prefix("marquee:"));
    said.into_iter()
        .flat_map(|said| said.split(','))
        .map(str::trim)
}

/// A file's text as if it did not say what becomes of those who know the tables as they were.
fn without_shape(sql: &str) -> Cow<'_, str> {
    let is_shape = |said: &&str| [EXPAND, CONTRACT].contains(said);
    if !said(sql).any(|said| is_shape(&said)) {
        return Cow::Borrowed(sql);
    }
    let (_, rest) = sql.split_once('\n').unwrap_or((sql, ""));
    let others: Vec<&str> = said(sql).filter(|said| !is_shape(said)).collect();
    match others.is_empty() {
        true => Cow::Borrowed(rest),
        false => Cow::Owned(format!("-- marquee: {}\n{rest}", others.join(", "))),
    }
}

pub(super) fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

const APART_MARK: &str = "no transaction";
const EXPAND: &str = "expand";
const CONTRACT: &str = "contract";
const WHOLE: &str = "the file is one transaction, with its record: take it out, or begin the file with the line \
                     `-- marquee: no transaction`";
const APART: &str = "each statement of this file is a transaction of its own: take it out";
