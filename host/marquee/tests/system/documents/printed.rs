//! What a document says that is printed, against what is.
//!
//! All is literal but what no two runs share: UUIDs and digests (one in the document stands for one in the run, wherever it
//! comes again), times, durations, and the width of columns. `...` is anything within a line; alone on a line, any lines.

use std::{collections::HashMap, fmt::Write as _, sync::LazyLock};

use regex::Regex;

/// Which ids of the run those of the document have turned out to be.
#[derive(Debug, Default)]
pub(super) struct Printed {
    ids: HashMap<String, String>,
}

impl Printed {
    /// Why what is printed is not what was expected.
    pub(super) fn differs(&mut self, expected: &str, printed: &str) -> Option<String> {
        let (pattern, ids) = pattern(expected);
        let printed = tidy(printed);
        let Some(found) = pattern.captures(&printed) else {
            return Some(format!("expected\n{expected}\nprinted\n{printed}"));
        };
        for (group, id) in ids.iter().enumerate() {
            let now = &found[group + 1];
            let known = self.ids.entry(id.clone()).or_insert_with(|| now.to_owned());
            if known != now {
                return Some(format!("{id} was {known} and is {now} in\n{printed}"));
            }
        }
        None
    }
}

/// The pattern of a text, and which ids its groups stand for.
fn pattern(expected: &str) -> (Regex, Vec<String>) {
    let (mut pattern, mut ids, mut end) = (String::from(r"\A"), Vec::new(), 0);
    let expected = tidy(expected);
    for token in TOKENS.captures_iter(&expected) {
        let whole = token.get(0).expect("a match");
        pattern += &regex::escape(&expected[end..whole.start()]);
        end = whole.end();
        if token.name("lines").is_some() {
            pattern += "(?s:.*)";
        } else if token.name("some").is_some() {
            pattern += "[^\n]*";
        } else if token.name("time").is_some() {
            pattern += r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)";
        } else if let Some(unit) = token.name("unit") {
            // Writing to a String cannot fail.
            let _ = write!(pattern, r"\d+(?:\.\d+)?{}", unit.as_str());
        } else {
            let length = whole.len();
            let _ = write!(pattern, "([0-9a-f-]{{{length}}})");
            ids.push(whole.as_str().to_owned());
        }
    }
    pattern += &regex::escape(&expected[end..]);
    pattern += r"\z";
    (Regex::new(&pattern).expect("a pattern"), ids)
}

/// Without what depends on the width of columns, colours or the protocol.
fn tidy(text: &str) -> String {
    let lines = text.trim().lines();
    let lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

static TOKENS: LazyLock<Regex> = LazyLock::new(|| {
    let tokens = r"(?mx)
        (?<lines> ^\.\.\.$ )
        | (?<some> \.\.\. )
        | (?<time> \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z )
        | \b\d+(?:\.\d+)?(?<unit>\x20?m?s)\b
        | \b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b
        | \b[0-9a-f]{12}\b";
    Regex::new(tokens).expect("a pattern")
});

#[test]
fn all_is_literal_but_what_no_two_runs_share() {
    let check = |expected: &str, printed: &str, same: bool| {
        let differs = Printed::default().differs(expected, printed);
        assert_eq!(differs.is_none(), same, "{expected:?} {printed:?}");
    };
    check("a\nb", "a\nb\n", true);
    check("a", "a\nb", false);
    check("a.c", "abc", false);
    check("a  b", "a     b  ", true);
    check(
        "{\"id\":\"01a20bc0-21e1-7701-b899-34e6354ddb63\"}",
        "{\"id\":\"x\"}",
        false,
    );
    check(
        "x 009cd36c0609 4.5 ms 2026-01-01T00:00:00Z",
        "x e887c9cb9cb9 12 ms 2027-11-25T18:01:02Z",
        true,
    );
    check(
        "009cd36c0609 009cd36c0609",
        "e887c9cb9cb9 34d421b72e73",
        false,
    );
    check("HTTP\n...\nend", "HTTP\na: b\nc: d\nend", true);
    check("a ... c", "a b\nc", false);
}
