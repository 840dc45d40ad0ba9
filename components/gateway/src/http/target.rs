//! Request targets: the path's segments and the query's parameters, percent-decoded.
//!
//! Nothing is normalised: `//`, a trailing slash and dot segments are segments like any other, so such a path
//! is simply not found. A decoded `/` stays within its segment.

use crate::problem::{Kind, Problem};

/// A target, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The path's segments, without the empty one before the first slash.
    pub(crate) segments: Vec<String>,
    /// The query's parameters in their order.
    pub(crate) parameters: Vec<(String, String)>,
}

impl Target {
    /// Splits, then decodes. A wrong escape, bytes that are not UTF-8 and NUL are refused.
    pub(crate) fn parse(raw: &str) -> Result<Self, Problem> {
        let (path, query) = raw.split_once('?').unwrap_or((raw, ""));
        let segments = path
            .strip_prefix('/')
            .unwrap_or(path)
            .split('/')
            .map(|segment| decode(segment, Plus::Itself))
            .collect::<Result<_, _>>()?;
        let parameters = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(name, Plus::Blank)?, decode(value, Plus::Blank)?))
            })
            .collect::<Result<_, Problem>>()?;
        Ok(Self {
            segments,
            parameters,
        })
    }
}

/// Checks that a query has only parameters that the route knows, each once.
pub(crate) fn check_parameters(
    parameters: &[(String, String)],
    known: &[&'static str],
) -> Result<(), Problem> {
    for (at, (name, _)) in parameters.iter().enumerate() {
        let Some(field) = known.iter().find(|known| *known == name) else {
            let shown: String = name.chars().take(SHOWN_CHARS).collect();
            let detail = format!("this path has no query parameter {shown:?}");
            return Err(Problem::new(Kind::InvalidParameter, detail));
        };
        if parameters
            .iter()
            .take(at)
            .any(|(earlier, _)| earlier == name)
        {
            let detail = format!("parameter `{field}` stands more than once");
            return Err(Problem::new(Kind::InvalidParameter, detail).of_field(field));
        }
    }
    Ok(())
}

/// What a plus sign means: itself in a path, a blank in a query (as forms write it).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Itself,
    Blank,
}

fn decode(text: &str, plus: Plus) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => match (hex(rest.next()), hex(rest.next())) {
                (Some(high), Some(low)) => high * 16 + low,
                _ => return Err(refused("`%` must be followed by two hexadecimal digits")),
            },
            b'+' if plus == Plus::Blank => b' ',
            other => other,
        });
    }
    if bytes.contains(&0) {
        return Err(refused("NUL is not allowed"));
    }
    String::from_utf8(bytes).map_err(|_| refused("the URL must be UTF-8"))
}

fn hex(digit: Option<u8>) -> Option<u8> {
    let value = char::from(digit?).to_digit(16)?;
    u8::try_from(value).ok()
}

fn refused(detail: &'static str) -> Problem {
    Problem::new(Kind::InvalidParameter, detail)
}

/// Most characters of an unknown name that an answer repeats.
const SHOWN_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(raw: &str, segments: &[&str], parameters: &[(&str, &str)]) {
        let target = Target::parse(raw).unwrap();
        assert_eq!(target.segments, segments, "{raw}");
        let found: Vec<(&str, &str)> = target
            .parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, parameters, "{raw}");
    }

    #[test]
    fn segments_and_parameters_are_decoded_after_the_split() {
        check("/v1/movies", &["v1", "movies"], &[]);
        check(
            "/v1/a%2Fb/c+d?x=1%262&y=a+b%2Bc",
            &["v1", "a/b", "c+d"],
            &[("x", "1&2"), ("y", "a b+c")],
        );
        check("/%C3%A9?%C3%A9=%f0%9f%8e%ac", &["é"], &[("é", "🎬")]);
    }

    #[test]
    fn nothing_is_normalised() {
        check("/", &[""], &[]);
        check("//v1/", &["", "v1", ""], &[]);
        check("/v1/../x/.", &["v1", "..", "x", "."], &[]);
        check("*", &["*"], &[]);
        check("", &[""], &[]);
        check(
            "/x?a&b=&=c&&d=1=2",
            &["x"],
            &[("a", ""), ("b", ""), ("", "c"), ("d", "1=2")],
        );
    }

    #[test]
    fn wrong_escapes_are_refused() {
        for raw in [
            "/%",
            "/%4",
            "/%zz",
            "/%00",
            "/%ff",
            "/%c0%af",
            "/%ed%a0%80",
            "/?a=%",
            "/?a=%00",
            "/?%fe=1",
            "/%+1",
        ] {
            let problem = Target::parse(raw).unwrap_err();
            assert_eq!(problem.kind(), Kind::InvalidParameter, "{raw}");
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        let check = |raw: &str| {
            let target = Target::parse(raw).unwrap();
            check_parameters(&target.parameters, &["id", "limit"]).is_ok()
        };
        assert!(check("/?id=1&limit=2"));
        assert!(!check("/?id=1&id=1"));
        assert!(!check("/?ID=1"));
        assert!(!check("/?id=1&debug"));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_again(text in "[^\0]{0,40}") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(&decode(&encoded, Plus::Itself).unwrap()[..], &text[..]);
            prop_assert_eq!(decode(&encoded, Plus::Blank).unwrap(), text);
        }

        #[test]
        fn no_target_is_a_panic(raw in ".{0,80}") {
            let _ = Target::parse(&raw);
        }
    }
}
