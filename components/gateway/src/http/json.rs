//! Strict JSON: one flat object with known fields, each once.
//!
//! serde's own derive is not used for input: it takes an array for an object, a NUL in a string, and says in its
//! own words what is wrong. A body that is not JSON is told so whatever else is wrong with it. Bounded by the size of
//! the body and by serde_json's depth of 128.
//!
//! A number without a fractional part is an integer however it is written (`5`, `5.0`, `5e0`), as JSON Schema
//! has it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::problem::{Kind, Problem};

/// The fields of an object.
#[derive(Debug)]
pub(crate) struct Object(Vec<(&'static str, Scalar)>);

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Text(String),
    Integer(i128),
    /// A fractional number, true, false, null, an array or an object: nothing that a route takes.
    Other,
}

impl Object {
    /// Reads an object that may have only `fields`.
    pub(crate) fn parse(bytes: &[u8], fields: &'static [&'static str]) -> Result<Self, Problem> {
        if bytes.starts_with(b"\xEF\xBB\xBF") {
            return Err(malformed("JSON must not begin with a byte order mark"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("JSON must be UTF-8"))?;
        let mut fault = None;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let parsed = ObjectSeed {
            fields,
            fault: &mut fault,
        }
        .deserialize(&mut deserializer)
        .and_then(|object| deserializer.end().map(|()| object));
        match (parsed, fault) {
            (Ok(object), None) => Ok(object),
            (Ok(_), Some(fault)) => Err(fault.into()),
            (Err(error), _) if error.classify() == Category::Data => Err(Problem::new(
                Kind::WrongShape,
                "the body must be a JSON object",
            )),
            (Err(error), _) => Err(malformed(format!("the body is not JSON: {error}"))),
        }
    }

    /// The text in a field.
    pub(crate) fn text(&self, field: &'static str) -> Result<&str, Problem> {
        match self.get(field)? {
            Scalar::Text(text) => Ok(text),
            _ => Err(wrong_type(field, "a string")),
        }
    }

    /// The text in a field that may be left out.
    pub(crate) fn optional_text(&self, field: &'static str) -> Result<Option<&str>, Problem> {
        if self.0.iter().any(|(name, _)| *name == field) {
            self.text(field).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The integer in a field.
    pub(crate) fn integer(&self, field: &'static str) -> Result<i128, Problem> {
        match self.get(field)? {
            Scalar::Integer(number) => Ok(*number),
            _ => Err(wrong_type(field, "an integer")),
        }
    }

    fn get(&self, field: &'static str) -> Result<&Scalar, Problem> {
        self.0
            .iter()
            .find(|(name, _)| *name == field)
            .map(|(_, value)| value)
            .ok_or_else(|| wrong_shape(field, "is missing"))
    }
}

/// What is wrong with an object that is JSON. The first fault is told.
enum Fault {
    Unknown(String),
    Repeated(&'static str),
    Nul(&'static str),
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unknown(name) => {
                let shown: String = name.chars().take(SHOWN_CHARS).collect();
                Problem::new(Kind::WrongShape, format!("there is no field {shown:?}"))
            }
            Fault::Repeated(field) => wrong_shape(field, "stands more than once"),
            Fault::Nul(field) => wrong_shape(field, "must not contain NUL"),
        }
    }
}

struct ObjectSeed<'a> {
    fields: &'static [&'static str],
    fault: &'a mut Option<Fault>,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = Object;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = Object;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut found: Vec<(&'static str, Scalar)> = Vec::with_capacity(self.fields.len());
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(ScalarSeed)?;
            let known = self.fields.iter().copied().find(|field| *field == name);
            let fault = match known {
                None => Fault::Unknown(name),
                Some(field) if found.iter().any(|(earlier, _)| *earlier == field) => {
                    Fault::Repeated(field)
                }
                Some(field) if matches!(&value, Scalar::Text(text) if text.contains('\0')) => {
                    Fault::Nul(field)
                }
                Some(field) => {
                    found.push((field, value));
                    continue;
                }
            };
            self.fault.get_or_insert(fault);
        }
        Ok(Object(found))
    }
}

struct ScalarSeed;

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
        if number.fract() == 0.0 {
            // Saturates at the ends, which are outside every bound.
            Ok(Scalar::Integer(number as i128))
        } else {
            Ok(Scalar::Other)
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element_seed(ScalarSeed)?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_key::<String>()?.is_some() {
            map.next_value_seed(ScalarSeed)?;
        }
        Ok(Scalar::Other)
    }
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::MalformedBody, detail)
}

fn wrong_shape(field: &'static str, how: &str) -> Problem {
    Problem::new(Kind::WrongShape, format!("field `{field}` {how}")).of_field(field)
}

fn wrong_type(field: &'static str, wanted: &str) -> Problem {
    wrong_shape(field, &format!("must be {wanted}"))
}

/// Most characters of an unknown name that an answer repeats.
const SHOWN_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIELDS: &[&str] = &["a", "b"];

    fn fault(bytes: impl AsRef<[u8]>) -> Kind {
        Object::parse(bytes.as_ref(), FIELDS).unwrap_err().kind()
    }

    #[test]
    fn an_object_with_known_fields_is_read() {
        let object = Object::parse(br#" {"b": 7, "a": "x\u00e9"} "#, FIELDS).unwrap();
        assert_eq!(object.text("a").unwrap(), "xé");
        assert_eq!(object.integer("b").unwrap(), 7);
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "{\"a\":1,}",
            "{\"a\":NaN}",
            "{\"a\":1e400}",
            "{'a':1}",
            "{a:1}",
            "{\"a\":1} {}",
            "{\"a\":1}x",
            "{\"a\":1}// c",
            "{/* c */}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":Infinity}",
            "\u{feff}{}",
        ] {
            assert_eq!(fault(text), Kind::MalformedBody, "{text:?}");
        }
        assert_eq!(fault(b"{\"a\":\"\xff\"}"), Kind::MalformedBody);
        let utf_16: Vec<u8> = "{\"a\":1}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(fault(utf_16), Kind::MalformedBody);
        let deep = format!("{{\"a\":{}", "[".repeat(10_000));
        assert_eq!(fault(deep), Kind::MalformedBody);
        let closed = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(fault(closed), Kind::MalformedBody);
    }

    #[test]
    fn json_of_another_shape_is_told_from_what_is_not_json() {
        for text in [
            "[]",
            "[\"x\",\"y\"]",
            "null",
            "1",
            "\"a\"",
            "true",
            "{\"c\":1}",
            "{\"__proto__\":{}}",
            "{\"A\":1}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":\"\\u0000\"}",
            "{\"a\":\"x\\u0000y\"}",
            "{\"\\u0000\":1}",
        ] {
            assert_eq!(fault(text), Kind::WrongShape, "{text:?}");
        }
    }

    #[test]
    fn a_missing_field_and_one_of_another_type_are_named() {
        let object = Object::parse(b"{\"a\":null}", FIELDS).unwrap();
        let missing = object.text("b").unwrap_err();
        assert_eq!(
            (missing.kind(), missing.field()),
            (Kind::WrongShape, Some("b"))
        );
        let null = object.text("a").unwrap_err();
        assert_eq!((null.kind(), null.field()), (Kind::WrongShape, Some("a")));
    }

    #[test]
    fn an_integer_is_a_number_without_a_fractional_part() {
        let check = |text: &str| {
            let json = format!("{{\"a\":{text}}}");
            Object::parse(json.as_bytes(), FIELDS)
                .unwrap()
                .integer("a")
                .ok()
        };
        assert_eq!(check("5"), Some(5));
        assert_eq!(check("5.0"), Some(5));
        assert_eq!(check("5e0"), Some(5));
        assert_eq!(check("50E-1"), Some(5));
        assert_eq!(check("-0"), Some(0));
        assert_eq!(check("-1"), Some(-1));
        assert_eq!(check("9007199254740993"), Some((1 << 53) + 1));
        assert_eq!(check("9223372036854775808"), Some(1 << 63));
        assert_eq!(check("1e300"), Some(i128::MAX));
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

    proptest! {
        #[test]
        fn no_body_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Object::parse(&bytes, FIELDS);
        }

        #[test]
        fn every_text_without_nul_comes_through(text in "[^\0]{0,60}") {
            let json = serde_json::json!({ "a": text }).to_string();
            let object = Object::parse(json.as_bytes(), FIELDS).unwrap();
            prop_assert_eq!(object.text("a").unwrap(), text);
        }
    }
}
