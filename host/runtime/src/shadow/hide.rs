//! What a person is shown of a copy: nothing whose name says that it is secret, and of what is long its beginning.

use serde_json::{Map, Value, json};

use super::Differs;

/// What differs, as it is shown.
pub(super) fn shown(mut differs: Differs) -> Differs {
    let is_secret = differs.path.split(['.', '[', ']']).any(is_secret);
    for value in [&mut differs.live, &mut differs.shadow] {
        let whole = std::mem::take(value);
        *value = match is_secret && !whole.is_null() {
            true => hidden(),
            false => visible(whole),
        };
    }
    differs
}

/// A value without what may be secret.
pub(super) fn visible(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let value = match is_secret(&name) {
                    true => hidden(),
                    false => visible(value),
                };
                (name, value)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(values) => {
            let more = values.len().saturating_sub(ITEMS);
            let mut values: Vec<Value> = values.into_iter().take(ITEMS).map(visible).collect();
            if more > 0 {
                values.push(json!(format!("and {more} more")));
            }
            Value::Array(values)
        }
        Value::String(text) if text.chars().nth(CHARS).is_some() => {
            let begin: String = text.chars().take(CHARS).collect();
            json!(format!("{begin}... ({} bytes)", text.len()))
        }
        other => other,
    }
}

fn is_secret(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    SECRET.iter().any(|secret| name.contains(secret))
}

fn hidden() -> Value {
    json!("(hidden)")
}

/// Names of what nobody should read over a shoulder. Without what stands between words.
const SECRET: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "token",
    "authorization",
    "cookie",
    "credential",
    "apikey",
    "hash",
];
const CHARS: usize = 200;
const ITEMS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_says_is_secret_is_not_shown_wherever_it_stands() {
        let value = json!({"name": "ann", "Pass-word": "x", "of": [{"access_token": "y"}]});
        let seen =
            json!({"name": "ann", "Pass-word": "(hidden)", "of": [{"access_token": "(hidden)"}]});
        assert_eq!(visible(value), seen);
        let differs = |path: &str| {
            shown(Differs {
                path: path.to_owned(),
                live: json!("x"),
                shadow: Value::Null,
            })
        };
        let inside = differs("answer.ok.tokens[0].value");
        assert_eq!((inside.live, inside.shadow), (hidden(), Value::Null));
        assert_eq!(differs("answer.ok.average").live, json!("x"));
    }

    #[test]
    fn of_what_is_long_the_beginning_is_shown() {
        let text = visible(json!("é".repeat(1_000)));
        let text = text.as_str().expect("text");
        assert!(text.ends_with("... (2000 bytes)"), "{text}");
        let list = visible(json!(vec![1; 100]));
        assert_eq!(list.as_array().expect("a list").len(), ITEMS + 1);
    }
}
