//! What came of a run as a document, and where two of them differ.

use http::{HeaderMap, header};
use marquee_registry::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};
use wasmtime::component::Val;

use crate::{Effects, Verdict};

/// A place where two documents differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differs {
    /// Where: `answer.ok.average`, `published[0].key`.
    pub path: String,
    /// What the live version has there; null: nothing.
    pub live: Value,
    /// The same of the shadow.
    pub shadow: Value,
}

impl Differs {
    /// Whether one is inside of the other.
    pub(super) fn is_near(&self, other: &Self) -> bool {
        let inside = |one: &str, other: &str| {
            let rest = one.strip_prefix(other);
            rest.is_some_and(|rest| {
                other.is_empty() || rest.is_empty() || rest.starts_with(['.', '['])
            })
        };
        inside(&self.path, &other.path) || inside(&other.path, &self.path)
    }
}

/// Everything that differs, in the order of the documents.
pub(super) fn differences(live: &Value, shadow: &Value) -> Vec<Differs> {
    let mut found = Vec::new();
    walk("", live, shadow, &mut found);
    found
}

fn walk(path: &str, live: &Value, shadow: &Value, found: &mut Vec<Differs>) {
    if found.len() == MOST || live == shadow {
        return;
    }
    match (live, shadow) {
        (Value::Object(left), Value::Object(right)) => {
            let only_right = right.keys().filter(|name| !left.contains_key(*name));
            for name in left.keys().chain(only_right) {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                walk(&path, field(left, name), field(right, name), found);
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            for index in 0..left.len().max(right.len()) {
                let of = |values: &'_ [Value]| values.get(index).cloned().unwrap_or(Value::Null);
                walk(&format!("{path}[{index}]"), &of(left), &of(right), found);
            }
        }
        _ => found.push(Differs {
            path: path.to_owned(),
            live: live.clone(),
            shadow: shadow.clone(),
        }),
    }
}

fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a Value {
    fields.get(name).unwrap_or(&Value::Null)
}

/// What would stand of a run.
pub(super) fn effects(effects: &Effects) -> Value {
    let published = effects.published.iter().map(|message| {
        json!({
            "topic": message.topic,
            "key": message.key,
            "headers": message.headers,
            "value": content(&message.value, true),
        })
    });
    let written = effects.written.iter().map(|(table, rows)| {
        let [inserted, updated, deleted] = rows;
        let rows = json!({"inserted": inserted, "updated": updated, "deleted": deleted});
        (table.clone(), rows)
    });
    json!({
        "published": published.collect::<Vec<_>>(),
        "published_more": effects.left_out,
        "written": written.collect::<Map<_, _>>(),
    })
}

/// An answer over HTTP.
pub(super) fn response(
    status: u16,
    headers: &HeaderMap,
    trailers: &HeaderMap,
    body: &[u8],
) -> Value {
    let shown = |name: &&str| {
        let values = headers.get_all(*name).iter().chain(trailers.get_all(*name));
        let values: Vec<Value> = values
            .map(|value| json!(String::from_utf8_lossy(value.as_bytes())))
            .collect();
        (!values.is_empty()).then(|| ((*name).to_owned(), Value::Array(values)))
    };
    let kind = headers.get(header::CONTENT_TYPE);
    let is_json = kind.is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.contains("json")));
    json!({
        "status": status,
        "headers": HEADERS.iter().filter_map(shown).collect::<Map<_, _>>(),
        "body": content(body, is_json),
    })
}

/// Bytes: as JSON if they are to be that and are, as text, or by their digest.
fn content(bytes: &[u8], is_json: bool) -> Value {
    if is_json && let Ok(value) = serde_json::from_slice(bytes) {
        return value;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({"bytes": bytes.len(), "sha256": format!("{:#}", Digest::of(bytes))}),
    }
}

/// What a consumer answered.
pub(super) fn verdicts(verdicts: &Result<Vec<Verdict>, String>) -> Value {
    let one = |verdict: &Verdict| match verdict {
        Verdict::Done => json!("done"),
        Verdict::Retry(reason) => json!({"retry": reason}),
        Verdict::Reject(reason) => json!({"reject": reason}),
    };
    match verdicts {
        Ok(all) => json!({"ok": all.iter().map(one).collect::<Vec<_>>()}),
        Err(error) => json!({"error": error}),
    }
}

/// A component's value.
pub(super) fn value(val: &Val) -> Value {
    let maybe = |val: &Option<Box<Val>>| val.as_deref().map_or(Value::Null, value);
    let named =
        |name: &str, inside: Value| Value::Object(Map::from_iter([(name.to_owned(), inside)]));
    match val {
        Val::Bool(it) => json!(it),
        Val::S8(it) => json!(it),
        Val::U8(it) => json!(it),
        Val::S16(it) => json!(it),
        Val::U16(it) => json!(it),
        Val::S32(it) => json!(it),
        Val::U32(it) => json!(it),
        Val::S64(it) => json!(it),
        Val::U64(it) => json!(it),
        Val::Float32(it) => float(f64::from(*it)),
        Val::Float64(it) => float(*it),
        Val::Char(it) => json!(it),
        Val::String(it) | Val::Enum(it) => json!(it),
        Val::List(all) | Val::Tuple(all) | Val::FixedLengthList(all) => {
            all.iter().map(value).collect()
        }
        Val::Map(pairs) => {
            let pair = |(key, of): &(Val, Val)| json!([value(key), value(of)]);
            pairs.iter().map(pair).collect()
        }
        Val::Record(fields) => {
            let fields = fields.iter().map(|(name, of)| (name.clone(), value(of)));
            Value::Object(fields.collect())
        }
        Val::Variant(case, None) => json!(case),
        Val::Variant(case, inside) => named(case, maybe(inside)),
        Val::Option(it) => maybe(it),
        Val::Result(Ok(it)) => named("ok", maybe(it)),
        Val::Result(Err(it)) => named("error", maybe(it)),
        Val::Flags(names) => json!(names),
        // None crosses from one component to another.
        Val::Resource(_) | Val::Future(_) | Val::Stream(_) | Val::ErrorContext(_) => {
            json!("a handle")
        }
    }
}

/// JSON has no number for some.
fn float(number: f64) -> Value {
    Number::from_f64(number).map_or_else(|| json!(number.to_string()), Value::Number)
}

/// What a client acts on.
const HEADERS: [&str; 9] = [
    "content-type",
    "content-encoding",
    "location",
    "etag",
    "cache-control",
    "retry-after",
    "www-authenticate",
    "allow",
    "grpc-status",
];
/// Documents that differ everywhere are told so.
const MOST: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(live: &Value, shadow: &Value) -> Vec<String> {
        let found = differences(live, shadow);
        found.into_iter().map(|one| one.path).collect()
    }

    #[test]
    fn each_place_that_differs_is_named_and_no_other() {
        let live = json!({"a": 1, "b": {"c": [1, 2]}, "d": null});
        let shadow = json!({"a": 1, "b": {"c": [1, 3, 4]}, "d": "x", "e": 0});
        assert_eq!(paths(&live, &shadow), ["b.c[1]", "b.c[2]", "d", "e"]);
        assert_eq!(paths(&live, &live), [""; 0]);
        assert_eq!(paths(&json!(1), &json!("1")), [""]);
    }

    #[test]
    fn what_is_inside_of_what_moves_moves() {
        let at = |path: &str| Differs {
            path: path.to_owned(),
            live: Value::Null,
            shadow: Value::Null,
        };
        assert!(at("answer.at").is_near(&at("answer")));
        assert!(at("answer").is_near(&at("answer.at")));
        assert!(!at("answer.at").is_near(&at("answer.attempts")));
    }

    #[test]
    fn a_value_of_a_component_is_told_in_its_own_words() {
        let inside = Val::Record(vec![
            ("average".to_owned(), Val::Float64(7.5)),
            ("not".to_owned(), Val::Float64(f64::NAN)),
            (
                "of".to_owned(),
                Val::Option(Some(Box::new(Val::U64(u64::MAX)))),
            ),
        ]);
        let ok = Val::Result(Ok(Some(Box::new(inside))));
        let told = json!({"ok": {"average": 7.5, "not": "NaN", "of": u64::MAX}});
        assert_eq!(value(&ok), told);
        let none = Val::Variant("none".to_owned(), None);
        assert_eq!(value(&none), json!("none"));
    }

    #[test]
    fn an_answer_over_http_is_its_status_what_a_client_acts_on_and_its_body() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().expect("a value"));
        headers.insert("x-request-id", "1".parse().expect("a value"));
        let told = response(200, &headers, &HeaderMap::new(), br#"{"a":1}"#);
        let expected = json!({
            "status": 200, "headers": {"content-type": ["application/json"]}, "body": {"a": 1},
        });
        assert_eq!(told, expected);
        let told = response(200, &HeaderMap::new(), &HeaderMap::new(), &[255]);
        assert_eq!(told["body"]["bytes"], 1);
    }
}
