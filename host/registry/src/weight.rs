//! A canary's share of the calls.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Thousandths of the calls, 0 to 1,000. Written as percent, with at most one digit behind the point: `10%`, `0.5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Weight(u16);

/// It is not a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a weight is from 0% to 100%, such as 10% or 0.5%")]
pub struct NotAWeight;

impl Weight {
    /// Every call.
    pub const ALL: Self = Self(1_000);

    /// What it leaves.
    #[must_use]
    pub fn rest(self) -> Self {
        Self(Self::ALL.0.saturating_sub(self.0))
    }

    /// In thousandths.
    pub fn per_mille(self) -> u16 {
        self.0
    }
}

impl FromStr for Weight {
    type Err = NotAWeight;

    fn from_str(text: &str) -> Result<Self, NotAWeight> {
        let percent = text.strip_suffix('%').ok_or(NotAWeight)?;
        let (whole, tenths) = percent.split_once('.').unwrap_or((percent, "0"));
        let digits = |text: &str, most| {
            let plain =
                (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            plain
                .then(|| text.parse::<u16>().ok())
                .flatten()
                .ok_or(NotAWeight)
        };
        let per_mille = digits(whole, 3)? * 10 + digits(tenths, 1)?;
        if per_mille <= Self::ALL.0 {
            Ok(Self(per_mille))
        } else {
            Err(NotAWeight)
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, tenths) => write!(f, "{whole}.{tenths}%"),
        }
    }
}

impl TryFrom<String> for Weight {
    type Error = NotAWeight;

    fn try_from(text: String) -> Result<Self, NotAWeight> {
        text.parse()
    }
}

impl From<Weight> for String {
    fn from(weight: Weight) -> Self {
        weight.to_string()
    }
}

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled_text;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_weight_is_a_percentage_and_reads_what_it_writes() {
        for (text, per_mille) in [
            ("0%", 0),
            ("0.5%", 5),
            ("10%", 100),
            ("99.9%", 999),
            ("100%", 1_000),
        ] {
            let weight: Weight = text.parse().expect("a weight");
            assert_eq!(
                (weight.per_mille(), weight.to_string().as_str()),
                (per_mille, text)
            );
        }
        for text in [
            "", "%", "10", "-1%", "+1%", "100.1%", "101%", "0.55%", "1e1%", "1.%", ".5%", "99999%",
            " 1%",
        ] {
            assert_eq!(text.parse::<Weight>(), Err(NotAWeight), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_a_weight_reads_what_it_writes(text in mangled_text(["10%", "99.9%", "100%"])) {
            if let Ok(weight) = text.parse::<Weight>() {
                prop_assert_eq!(weight.to_string().parse::<Weight>(), Ok(weight));
            }
        }
    }
}
