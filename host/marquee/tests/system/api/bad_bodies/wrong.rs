//! What can be wrong with a route's body.

use serde_json::{Map, Value, json};

use crate::{api::JSON, contract::Contract};

/// A route that takes a body.
pub(super) struct Route {
    /// An object that it takes, alone or in a list.
    good: Map<String, Value>,
    /// The fields that it knows, with their schemas.
    fields: Vec<(String, Value)>,
    required: Vec<String>,
    /// How many a list may have.
    most: Option<usize>,
}

/// A body, what it is sent with, and what is told of it.
pub(super) struct Case {
    pub(super) what: String,
    pub(super) headers: Vec<&'static str>,
    pub(super) body: Vec<u8>,
    pub(super) status: u16,
    pub(super) problem: &'static str,
    pub(super) field: Option<String>,
}

impl Route {
    pub(super) fn of(
        contract: &Contract,
        operation: &str,
        good: Value,
        most: Option<usize>,
    ) -> Self {
        let (method, path) = operation.split_once(' ').expect("a method and a path");
        let item = &contract.document["paths"][path][method.to_ascii_lowercase()];
        let content = &item["requestBody"]["content"]["application/json"]["schema"];
        let schema = contract.resolve(content);
        let schema = match most {
            Some(_) => contract.resolve(&schema["items"]),
            None => schema,
        };
        let fields = schema["properties"].as_object().expect("its fields");
        let fields = fields
            .iter()
            .map(|(name, field)| (name.clone(), contract.resolve(field).clone()));
        let required = schema["required"].as_array().into_iter().flatten();
        let required = required.map(|name| name.as_str().expect("a name").to_owned());
        Self {
            good: good.as_object().expect("an object").clone(),
            fields: fields.collect(),
            required: required.collect(),
            most,
        }
    }

    /// The body of this object.
    fn body(&self, object: &Map<String, Value>) -> String {
        self.enclosed(&Value::from(object.clone()).to_string())
    }

    fn enclosed(&self, object: &str) -> String {
        match self.most {
            Some(_) => format!("[{object}]"),
            None => object.to_owned(),
        }
    }

    fn with(&self, field: &str, value: Value) -> String {
        let mut object = self.good.clone();
        object.insert(field.to_owned(), value);
        self.body(&object)
    }

    /// How a field is named where its value is at fault.
    fn place(&self, field: &str) -> Option<String> {
        Some(match self.most {
            Some(_) => format!("[0].{field}"),
            None => field.to_owned(),
        })
    }
}

/// Everything.
pub(super) fn cases(route: &Route) -> Vec<Case> {
    let mut cases = no_json();
    cases.extend(another_shape(route));
    cases.extend(as_something_else(route));
    for (name, schema) in &route.fields {
        cases.extend(of_field(route, name, schema));
        // In a list it is the entry that is refused.
        if route.most.is_none() {
            cases.extend(out_of_bounds(route, name, schema));
        }
    }
    cases
}

fn case(
    what: impl Into<String>,
    body: impl Into<Vec<u8>>,
    (status, problem): (u16, &'static str),
    field: Option<String>,
) -> Case {
    Case {
        what: what.into(),
        headers: vec![JSON],
        body: body.into(),
        status,
        problem,
        field,
    }
}

const MALFORMED: (u16, &str) = (400, "malformed-body");
const SHAPE: (u16, &str) = (400, "wrong-shape");
const BOUNDS: (u16, &str) = (422, "out-of-bounds");

fn no_json() -> Vec<Case> {
    let utf_16: Vec<u8> = "\u{feff}{\"value\":7}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let bodies: [(&str, &[u8]); 20] = [
        ("empty body", b""),
        ("blank body", b" \n"),
        ("`{`", b"{"),
        ("`{\"`", b"{\""),
        ("trailing comma", b"{\"value\": 7,}"),
        ("NaN", b"{\"value\": NaN}"),
        ("Infinity", b"{\"value\": -Infinity}"),
        ("BOM", b"\xEF\xBB\xBF{\"value\": 7}"),
        ("comment", b"/* x */{\"value\": 7}"),
        ("single quotes", b"{'value': 7}"),
        ("UTF-16", &utf_16),
        ("invalid UTF-8", b"{\"\xff\": 7}"),
        ("overlong UTF-8", b"{\"\xc0\xaf\": 7}"),
        ("lone surrogate", br#"{"\ud800": 7}"#),
        ("reversed surrogates", br#"{"\udc00\ud800": 7}"#),
        ("raw newline in a string", b"{\"a\nb\": 7}"),
        ("raw NUL byte", b"{\"\0\": 7}"),
        ("a form", b"title=x&director=y"),
        ("HTML", b"<html>"),
        ("arrays 10,000 deep", &[b'['; 10_000]),
    ];
    let malformed = |(what, body): (&str, &[u8])| case(what, body, MALFORMED, None);
    bodies.into_iter().map(malformed).collect()
}

fn another_shape(route: &Route) -> Vec<Case> {
    let many: String = (0..5_000).map(|at| format!("\"k{at}\":1,")).collect();
    let other = match route.most {
        Some(_) => json!({}),
        None => json!([]),
    };
    let mut cases: Vec<Case> = [
        ("an array for an object, or the other way", other),
        ("null", Value::Null),
        ("a number", json!(7)),
        ("a text", json!("x")),
    ]
    .map(|(what, body)| case(what, body.to_string(), SHAPE, None))
    .into();
    cases.extend(
        [
            ("unknown field", r#"{"extra": 1}"#),
            ("`__proto__`", r#"{"__proto__": {"admin": true}}"#),
            ("5,000 keys", &format!("{{{many}\"x\":1}}")),
            ("fields in capitals", r#"{"VALUE": 7, "TITLE": "x"}"#),
            ("NUL in a field's name", "{\"value\\u0000\": 7}"),
        ]
        .map(|(what, body)| case(what, route.enclosed(body), SHAPE, None)),
    );
    let more = route.with("extra", json!(1));
    cases.push(case("one field more", more, SHAPE, None));
    if let Some(most) = route.most {
        let good = Value::from(route.good.clone());
        let many = json!(vec![good; most + 1]).to_string();
        cases.push(case("an empty list", "[]", BOUNDS, None));
        cases.push(case("one too many", many, BOUNDS, None));
    }
    cases
}

fn as_something_else(route: &Route) -> Vec<Case> {
    let good = route.body(&route.good);
    let sent_as = |headers: &[&'static str]| Case {
        headers: headers.to_vec(),
        ..case(
            format!("{headers:?}"),
            good.clone(),
            (415, "unsupported-media-type"),
            None,
        )
    };
    let large = " ".repeat(64 * 1024 + 1);
    vec![
        sent_as(&[]),
        sent_as(&["content-type: text/plain"]),
        sent_as(&["content-type: application/x-www-form-urlencoded"]),
        sent_as(&["content-type: application/json; charset=utf-16"]),
        sent_as(&[JSON, "content-encoding: gzip"]),
        case("one byte too large", large, (413, "body-too-large"), None),
    ]
}

fn of_field(route: &Route, name: &str, schema: &Value) -> Vec<Case> {
    let place = || route.place(name);
    let mut cases = vec![
        case(
            format!("a list as {name}"),
            route.with(name, json!([1])),
            SHAPE,
            place(),
        ),
        case(
            format!("true as {name}"),
            route.with(name, json!(true)),
            SHAPE,
            place(),
        ),
    ];
    if is_a(schema, "string") {
        let nul = route.with(name, json!("a\0"));
        cases.push(case(format!("NUL in {name}"), nul, SHAPE, place()));
    } else {
        let broken = route.with(name, json!(5.5));
        cases.push(case(format!("5.5 as {name}"), broken, SHAPE, place()));
        let text = route.with(name, json!("5"));
        cases.push(case(format!("a text as {name}"), text, SHAPE, place()));
    }
    if let Some(value) = route.good.get(name) {
        let rest = Value::from(route.good.clone()).to_string();
        let twice = format!("{{{:?}:{value},{}", name, &rest[1..]);
        let named = Some(name.to_owned());
        let twice = route.enclosed(&twice);
        cases.push(case(format!("{name} twice"), twice, SHAPE, named));
    }
    if route.required.iter().any(|own| own == name) {
        let mut without = route.good.clone();
        without.remove(name);
        let named = Some(name.to_owned());
        let body = route.body(&without);
        cases.push(case(format!("no {name}"), body, SHAPE, named));
    }
    cases
}

/// What is one less or more than a field may have.
fn out_of_bounds(route: &Route, name: &str, schema: &Value) -> Vec<Case> {
    let length = |key: &str| {
        schema[key]
            .as_u64()
            .and_then(|own| usize::try_from(own).ok())
    };
    let most = length("maxLength").map(|most| json!("x".repeat(most + 1)));
    let least = length("minLength").filter(|least| *least > 0);
    let least = least.map(|least| json!("x".repeat(least - 1)));
    let above = schema["maximum"].as_i64().map(|most| json!(most + 1));
    let below = schema["minimum"].as_i64().map(|least| json!(least - 1));
    let values = [most, least, above, below].into_iter().flatten();
    let refused = |value: Value| {
        let what = format!("{name} = {value:.20}");
        case(what, route.with(name, value), BOUNDS, route.place(name))
    };
    values.map(refused).collect()
}

fn is_a(schema: &Value, kind: &str) -> bool {
    let is_it = |own: &Value| own == kind;
    is_it(&schema["type"])
        || schema["type"]
            .as_array()
            .is_some_and(|all| all.iter().any(is_it))
}
