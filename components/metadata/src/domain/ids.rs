//! Ids of movies, as clients and neighbours write them.

use uuid::{Uuid, fmt::Hyphenated};

use super::Invalid;

/// Some ids, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids(Vec<Uuid>);

impl Ids {
    /// 1 to `max` ids.
    pub fn parse(texts: &[String], max: usize) -> Result<Self, Invalid> {
        if !(1..=max).contains(&texts.len()) {
            return Err(Invalid::new(
                "ids",
                format_args!("must be 1 to {max} of them"),
            ));
        }
        let ids = texts.iter().map(|text| parse_id(text));
        Ok(Self(ids.collect::<Result<_, _>>()?))
    }

    /// The ids, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = Uuid> + Clone {
        self.0.iter().copied()
    }
}

/// An id as a client may write it: a UUID in its hyphenated form, of either case.
pub fn parse_id(text: &str) -> Result<Uuid, Invalid> {
    if text.len() == Hyphenated::LENGTH
        && let Ok(id) = Uuid::try_parse(text)
    {
        return Ok(id);
    }
    Err(Invalid::new("id", "must be a UUID in its hyphenated form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hyphenated_form_is_an_id() {
        let check = |text: &str, good: bool| assert_eq!(parse_id(text).is_ok(), good, "{text}");
        check("0192f0c1-2345-7abc-8def-0123456789ab", true);
        check("0192F0C1-2345-7ABC-8DEF-0123456789AB", true);
        check("0192f0c123457abc8def0123456789ab", false);
        check("{0192f0c1-2345-7abc-8def-0123456789ab}", false);
        check("urn:uuid:0192f0c1-2345-7abc-8def-0123456789ab", false);
        check("0192f0c1-2345-7abc-8def-0123456789a", false);
        check("0192f0c1-2345-7abc-8def-0123456789aé", false);
        check("1' or '1'='1", false);
        check("", false);
    }

    #[test]
    fn an_id_is_given_back_in_lower_case() {
        let id = parse_id("0192F0C1-2345-7ABC-8DEF-0123456789AB").unwrap();
        assert_eq!(id.to_string(), "0192f0c1-2345-7abc-8def-0123456789ab");
    }

    #[test]
    fn ids_are_counted_and_each_is_read() {
        let id = "0192f0c1-2345-7abc-8def-0123456789ab".to_owned();
        let check = |texts: &[String], good: bool| {
            assert_eq!(Ids::parse(texts, 2).is_ok(), good, "{texts:?}");
        };
        check(&[], false);
        check(std::slice::from_ref(&id), true);
        check(&[id.clone(), id.clone()], true);
        check(&[id.clone(), id.clone(), id.clone()], false);
        check(&[id, "x".to_owned()], false);
    }
}
