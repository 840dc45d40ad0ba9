//! What is JSON, what has the shape, and what is said of what has not.

use axum::http::HeaderValue;
use marquee_fuzz::mangled;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    a: Text,
    b: Whole,
}

/// The name of the problem, and the field.
fn fault(bytes: impl AsRef<[u8]>) -> (String, Option<String>) {
    let problem = parse::<Fields>(bytes.as_ref(), OBJECT).unwrap_err().problem;
    assert!(problem.detail.chars().count() < 260, "{}", problem.detail);
    (problem.kind.into_owned(), problem.field)
}

fn malformed() -> (String, Option<String>) {
    (problem::MALFORMED_BODY.uri.into(), None)
}

fn wrong(field: Option<&str>) -> (String, Option<String>) {
    (problem::WRONG_SHAPE.uri.into(), field.map(str::to_owned))
}

#[test]
fn an_object_with_known_fields_is_read() {
    let fields: Fields = parse(br#" {"b": 7, "a": "x\u00e9"} "#, OBJECT).unwrap();
    assert_eq!((fields.a.0.as_str(), fields.b.0), ("xé", 7.0));
}

#[test]
fn what_is_not_json_is_malformed_whatever_its_shape() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "{\"a\":1,}",
        "{\"c\":1,}",
        "{\"a\":NaN}",
        "{\"a\":1e400}",
        "{'a':1}",
        "{a:1}",
        "{\"a\":1} {}",
        "{\"a\":1}x",
        "{\"a\":\"\",\"b\":1}x",
        "{\"a\":1}// c",
        "{/* c */}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":Infinity}",
        "\u{feff}{}",
    ] {
        assert_eq!(fault(text), malformed(), "{text:?}");
    }
    assert_eq!(fault(b"{\"a\":\"\xff\"}"), malformed());
    let utf_16: Vec<u8> = "{\"a\":1}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(fault(utf_16), malformed());
    assert_eq!(fault("[".repeat(10_000)), malformed());
    assert_eq!(
        fault(format!("{{\"a\":{}", "[".repeat(10_000))),
        malformed()
    );
    assert_eq!(
        fault(format!(
            "{{\"a\":{}{}}}",
            "[".repeat(10_000),
            "]".repeat(10_000)
        )),
        malformed()
    );
}

#[test]
fn json_of_another_shape_is_told_from_what_is_not_json() {
    for text in [
        "[]",
        "[\"x\",5]",
        "null",
        "1",
        "\"a\"",
        "true",
        "{\"c\":1}",
        "{\"__proto__\":{}}",
        "{\"A\":1}",
        "{\"\\u0000\":1}",
    ] {
        assert_eq!(fault(text), wrong(None), "{text:?}");
    }
    assert_eq!(
        fault(format!("{{\"{}\":1}}", "x".repeat(60_000))),
        wrong(None)
    );
}

#[test]
fn the_field_that_is_missing_repeated_or_of_another_type_is_named() {
    let check = |text: &str, field| assert_eq!(fault(text), wrong(Some(field)), "{text}");
    check("{\"b\":1}", "a");
    check("{\"a\":\"\"}", "b");
    check("{\"a\":null}", "a");
    check("{\"a\":1,\"b\":1}", "a");
    check("{\"a\":{\"x\":[1]},\"b\":1}", "a");
    check("{\"a\":\"1\",\"a\":\"1\",\"b\":1}", "a");
    check("{\"a\":\"\\u0000\",\"b\":1}", "a");
    check("{\"a\":\"x\\u0000y\",\"b\":1}", "a");
    check(
        &format!("{{\"a\":\"\",\"b\":\"{}\"}}", "x".repeat(60_000)),
        "b",
    );
}

#[test]
fn a_list_names_the_field_of_the_element_that_is_wrong() {
    let found = parse::<Vec<Fields>>(br#"[{"a": "", "b": 1}, {"a": "", "b": "x"}]"#, LIST);
    assert_eq!(found.unwrap_err().problem.field.as_deref(), Some("[1].b"));
    assert!(parse::<Vec<Fields>>(b"[]", LIST).unwrap().is_empty());
    let object = parse::<Vec<Fields>>(br#"{"a": "", "b": 1}"#, LIST);
    assert_eq!(object.unwrap_err().problem.kind, problem::WRONG_SHAPE.uri);
}

#[test]
fn an_integer_is_a_number_without_a_fractional_part() {
    let check = |text: &str| {
        let json = format!("{{\"a\":\"\",\"b\":{text}}}");
        parse::<Fields>(json.as_bytes(), OBJECT)
            .ok()
            .map(|fields| fields.b.0)
    };
    for text in ["5", "5.0", "5e0", "50E-1"] {
        assert_eq!(check(text), Some(5.0), "{text}");
    }
    assert_eq!(check("-0"), Some(0.0));
    assert_eq!(
        check("18446744073709551617"),
        Some(18_446_744_073_709_551_616.0)
    );
    assert_eq!(check("1e300"), Some(1e300));
    for text in [
        "0.5",
        "10.0001",
        "\"5\"",
        "true",
        "null",
        "[5]",
        "{\"x\":5}",
    ] {
        assert_eq!(check(text), None, "{text}");
    }
}

#[test]
fn a_body_is_json_in_utf_8_and_not_encoded() {
    let check = |fields: &[(header::HeaderName, &'static str)]| {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        check_media_type(&headers, &[JSON_TYPE]).is_ok()
    };
    for content_type in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "application/json;",
    ] {
        assert!(
            check(&[(header::CONTENT_TYPE, content_type)]),
            "{content_type}"
        );
    }
    for content_type in [
        "",
        ";;;",
        "text/plain",
        "application/jsonx",
        "application/problem+json",
        "application/json; charset=utf-16",
        "application/json; charset=latin1",
        "application/json; version=1",
        "application/x-www-form-urlencoded",
    ] {
        assert!(
            !check(&[(header::CONTENT_TYPE, content_type)]),
            "{content_type}"
        );
    }
    let json = (header::CONTENT_TYPE, "application/json");
    let coding = |value| (header::CONTENT_ENCODING, value);
    assert!(!check(&[]));
    assert!(!check(&[json.clone(), json.clone()]));
    assert!(check(&[json.clone(), coding("identity")]));
    assert!(!check(&[json.clone(), coding("gzip")]));
    assert!(!check(&[json.clone(), coding("unknown")]));
    assert!(!check(&[json, coding("identity"), coding("br")]));
}

proptest! {
    #[test]
    fn no_body_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse::<Fields>(&bytes, OBJECT);
    }

    #[test]
    fn every_text_without_nul_comes_through(text in "[^\0]{0,60}") {
        let json = serde_json::json!({ "a": text, "b": 1 }).to_string();
        prop_assert_eq!(parse::<Fields>(json.as_bytes(), OBJECT).unwrap().a.0, text);
    }

    #[test]
    fn whatever_comes_a_body_is_read_or_told_what_it_is(bytes in mangled([
        &br#"{"a": "x\u00e9", "b": 7.0}"#[..],
        br#"{"a": "\ud800", "b": 1e400, "a": 5, "c": [[[["#,
        b"[1, 2]",
    ])) {
        let read = parse::<Fields>(&bytes, OBJECT);
        let json = serde_json::from_slice::<serde_json::Value>(&bytes);
        match read {
            Ok(fields) => {
                let json = json.unwrap();
                prop_assert_eq!(json["a"].as_str(), Some(&*fields.a.0));
                prop_assert_eq!(json["b"].as_f64(), Some(fields.b.0));
            }
            Err(_) => {
                let (kind, field) = fault(&bytes);
                prop_assert_eq!(kind == malformed().0, json.is_err());
                prop_assert!(field.is_none_or(|field| ["a", "b"].contains(&&*field)));
            }
        }
    }
}
