//! A row of the matrix: an operation, what is sent of it, and what each caller is answered.

use serde_json::Value;

use crate::{
    api::{
        JSON, assert_problem,
        users::{Guarded, Member},
    },
    http2::{Ending, Raw},
    raw::Answer,
};

/// Who asks, in the order of a row's answers. The last three are sessions of b's that are no good any more.
pub(super) const CALLERS: [&str; 9] = [
    "nobody",
    "a",
    "b",
    "moderator",
    "importer",
    "admin",
    "expired",
    "revoked",
    "rotated",
];

/// With what each of them asks: a session of theirs.
pub(super) type Sessions = [Option<Member>; 9];

/// An operation of the document, and what is sent. `{name}` in it stands for what the matrix has under this name, or the
/// row itself; `{caller}` is who asks.
pub(super) struct Row {
    operation: &'static str,
    query: &'static str,
    body: Value,
    own: Option<(&'static str, String)>,
    fresh: bool,
    expected: [u16; 9],
}

impl Row {
    pub(super) fn new(operation: &'static str, expected: [u16; 9]) -> Self {
        Self {
            operation,
            query: "",
            body: Value::Null,
            own: None,
            fresh: false,
            expected,
        }
    }

    pub(super) fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    pub(super) fn body(self, body: Value) -> Self {
        Self { body, ..self }
    }

    /// Here a name stands for something else.
    pub(super) fn own(self, name: &'static str, value: &str) -> Self {
        let own = Some((name, value.to_owned()));
        Self { own, ..self }
    }

    /// `{id}` is a movie that nobody has asked for before.
    pub(super) fn of_a_fresh_movie(self) -> Self {
        Self {
            fresh: true,
            ..self
        }
    }
}

/// What was asked, and what came of it.
pub(super) struct Matrix {
    pub(super) system: Guarded,
    raw: Raw,
    names: Vec<(&'static str, String)>,
    fresh: u32,
    operations: Vec<&'static str>,
    table: String,
    wrong: Vec<String>,
}

impl Matrix {
    /// Names stand in braces.
    pub(super) async fn of(system: Guarded, names: Vec<(&'static str, String)>) -> Self {
        let raw = Raw::to(system.host.address()).await;
        let mut matrix = Self {
            system,
            raw,
            names,
            fresh: 0,
            operations: Vec::new(),
            table: String::new(),
            wrong: Vec::new(),
        };
        matrix.print("", CALLERS.map(str::to_owned));
        matrix
    }

    /// What each caller is answered to a request.
    pub(super) async fn ask(&mut self, sessions: &Sessions, row: Row) -> Vec<Answer> {
        let mut answers = Vec::new();
        for (at, (caller, session)) in CALLERS.iter().zip(sessions).enumerate() {
            let mut names = self.names.clone();
            names.insert(0, ("{caller}", (*caller).to_owned()));
            if row.fresh {
                self.fresh += 1;
                let admin = sessions[5].as_ref().expect("an admin");
                let title = format!("Fresh {}", self.fresh);
                names.insert(0, ("{id}", self.system.movie(admin, &title).await));
            }
            if let Some(own) = &row.own {
                names.insert(0, own.clone());
            }
            let who = session
                .as_ref()
                .map_or("mqr_made-up", |own| own.refresh.as_str());
            names.push(("{refresh}", who.to_owned()));
            // Under whose name they log in.
            let login = match at {
                0 => "a",
                6.. => "b",
                _ => *caller,
            };
            names.push(("{login}", login.to_owned()));
            let fill = |text: &str| {
                let fill = |text: String, (name, value): &(&str, String)| text.replace(name, value);
                names.iter().fold(text.to_owned(), fill)
            };
            let line = fill(&format!("{}{}", row.operation, row.query));
            let (mut headers, body) = match &row.body {
                Value::Null => (Vec::new(), String::new()),
                body => (vec![JSON.to_owned()], fill(&body.to_string())),
            };
            headers.extend(shown(at, session.as_ref()));
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let answer = self.raw.ask(&line, &headers, body).await;
            if answer.status == row.expected[at] {
                check(&line, &answer);
            } else {
                let expected = row.expected[at];
                let wrong = format!("{caller}: {line}: {expected} was expected: {answer:?}");
                self.wrong.push(wrong);
            }
            answers.push(answer);
        }
        let label = match &row.own {
            Some((name, value)) if value.len() < 10 => row.operation.replace(name, value),
            _ => row.operation.to_owned(),
        };
        let statuses: Vec<String> = answers.iter().map(|own| own.status.to_string()).collect();
        self.print(&label, statuses.try_into().expect("one each"));
        self.operations.push(row.operation);
        answers
    }

    /// The same of a call of gRPC, by its code.
    pub(super) async fn call(
        &mut self,
        sessions: &Sessions,
        method: &'static str,
        message: impl Fn(&str) -> Vec<u8>,
        expected: [u16; 9],
    ) {
        let url = format!("{}/{method}", self.system.host.url);
        let mut codes = Vec::new();
        for (at, (caller, session)) in CALLERS.iter().zip(sessions).enumerate() {
            let mut call =
                http::Request::post(url.as_str()).header("content-type", "application/grpc");
            for header in shown(at, session.as_ref()) {
                let (name, value) = header.split_once(": ").expect("a header");
                call = call.header(name, value);
            }
            let reply = self.raw.send(call, message(caller), Ending::AtOnce).await;
            let code = reply.code().unwrap_or("none").to_owned();
            if code != expected[at].to_string() {
                let expected = expected[at];
                let wrong = format!("{caller}: {method}: {expected} was expected: {reply:?}");
                self.wrong.push(wrong);
            }
            codes.push(code);
        }
        self.print(method, codes.try_into().expect("one each"));
        self.operations.push(method);
    }

    /// The operations that have a row, the table, and what is not as it should be.
    pub(super) fn outcome(self) -> (Vec<&'static str>, String, Vec<String>) {
        (self.operations, self.table, self.wrong)
    }

    fn print(&mut self, label: &str, cells: [String; 9]) {
        self.table.push_str(&format!("{label:<58}"));
        for (cell, caller) in cells.iter().zip(CALLERS) {
            let width = caller.len().max(3) + 2;
            self.table.push_str(&format!("{cell:>width$}"));
        }
        self.table.push('\n');
    }
}

/// Each caller has an address of their own, as a proxy tells it, so that nobody's rates are another one's.
fn shown(at: usize, session: Option<&Member>) -> Vec<String> {
    let address = format!("x-forwarded-for: 192.0.2.{at}");
    let token = session.map(|own| format!("authorization: Bearer {}", own.access));
    std::iter::once(address).chain(token).collect()
}

fn check(line: &str, answer: &Answer) {
    match answer.status {
        401 => drop(assert_problem(line, answer, 401, "unauthorized")),
        403 => drop(assert_problem(line, answer, 403, "forbidden")),
        _ => {}
    }
    assert_eq!(answer.header("marquee-auth"), None, "{line}");
    let subject = answer.header("marquee-subject");
    assert_eq!(subject, None, "it is for the host: {line}");
}
