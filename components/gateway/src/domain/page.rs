//! What a request for a page may ask.

use super::Invalid;

/// Most entries of a page.
pub const LIMIT_MAX: u32 = 100;
/// Entries of a page when the request does not say.
pub const LIMIT_DEFAULT: u32 = 20;
/// Most characters of a title's beginning.
pub const PREFIX_MAX_CHARS: usize = 200;
/// Most bytes of a cursor: longer than any that a component makes.
pub const CURSOR_MAX_BYTES: usize = 2_048;

/// Which page, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    after: Option<String>,
    limit: u32,
}

impl PageQuery {
    /// Reads `after` and `limit` as they stand in the URL.
    pub fn parse(after: Option<&str>, limit: Option<&str>) -> Result<Self, Invalid> {
        let after = match after {
            Some(text) if text.is_empty() || text.len() > CURSOR_MAX_BYTES => {
                return Err(Invalid::malformed("after", "must be the `next` of a page"));
            }
            other => other.map(str::to_owned),
        };
        let limit = match limit {
            None => LIMIT_DEFAULT,
            // Digits only: `parse` alone would take "+5".
            Some(text) => Some(text)
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse().ok())
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                .ok_or_else(|| {
                    Invalid::out_of_bounds(
                        "limit",
                        format!("must be a number from 1 to {LIMIT_MAX}"),
                    )
                })?,
        };
        Ok(Self { after, limit })
    }

    /// The `next` of the page before, unchecked: only its maker can tell.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// 1 to 100.
    pub fn limit(&self) -> u32 {
        self.limit
    }
}

/// The beginning of a title, to search by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Takes at most 200 characters; no prefix when there are none.
    pub fn parse(text: &str) -> Result<Option<Self>, Invalid> {
        if text.chars().count() > PREFIX_MAX_CHARS {
            let reason = format!("must have at most {PREFIX_MAX_CHARS} characters");
            return Err(Invalid::out_of_bounds("prefix", reason));
        }
        Ok((!text.is_empty()).then(|| Self(text.to_owned())))
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_from_1_to_100() {
        let check = |text| PageQuery::parse(None, text).map(|page| page.limit());
        assert_eq!(check(None), Ok(20));
        assert_eq!(check(Some("1")), Ok(1));
        assert_eq!(check(Some("100")), Ok(100));
        for text in [
            "",
            "0",
            "-1",
            "101",
            "1000000000",
            "+5",
            "5.0",
            "5e0",
            " 5",
            "x",
            "99999999999",
        ] {
            assert!(check(Some(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_cursor_has_1_to_2048_bytes() {
        let check = |text: &str| PageQuery::parse(Some(text), None).is_ok();
        assert!(check("x"));
        assert!(!check(""));
        assert!(!check(&"x".repeat(CURSOR_MAX_BYTES + 1)));
    }

    #[test]
    fn an_empty_prefix_is_none() {
        assert_eq!(Prefix::parse(""), Ok(None));
        assert!(Prefix::parse(&"é".repeat(200)).is_ok_and(|prefix| prefix.is_some()));
        assert!(Prefix::parse(&"é".repeat(201)).is_err());
    }
}
