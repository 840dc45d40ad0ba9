//! A canary's share that grows by itself.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Weight;

/// Shares, one after the other, each larger than the one before. Written as `1%,10%,50%,100%`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ramp(Vec<Weight>);

/// They are no ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ramp has up to {MOST} shares, each larger than the one before, such as 1%,10%,50%,100%")]
pub struct NotARamp;

/// What is left of a ramp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rising {
    /// The shares to come.
    pub then: Vec<Weight>,
    /// From one to the next, in milliseconds.
    pub every_ms: u64,
    /// When the first of them comes, in milliseconds since 1970-01-01T00:00:00Z.
    pub next_ms: u64,
}

impl Ramp {
    /// The first share, and those to come.
    pub fn split(&self) -> (Weight, &[Weight]) {
        let split = self.0.split_first();
        split.map_or((Weight::ALL, &[]), |(first, then)| (*first, then))
    }
}

impl FromStr for Ramp {
    type Err = NotARamp;

    fn from_str(text: &str) -> Result<Self, NotARamp> {
        let shares = text.split(',').map(|share| share.trim().parse());
        let shares: Result<Vec<Weight>, _> = shares.collect();
        let shares = shares.map_err(|_| NotARamp)?;
        let grows = shares.is_sorted_by(|one, next| one < next);
        match grows && (1..=MOST).contains(&shares.len()) {
            true => Ok(Self(shares)),
            false => Err(NotARamp),
        }
    }
}

impl fmt::Display for Ramp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&shares.join(","))
    }
}

impl TryFrom<String> for Ramp {
    type Error = NotARamp;

    fn try_from(text: String) -> Result<Self, NotARamp> {
        text.parse()
    }
}

impl From<Ramp> for String {
    fn from(ramp: Ramp) -> Self {
        ramp.to_string()
    }
}

/// More than anybody watches.
const MOST: usize = 20;

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled_text;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ramp_grows() {
        let ramp: Ramp = "1%, 10%,50%,100%".parse().expect("a ramp");
        assert_eq!(ramp.to_string(), "1%,10%,50%,100%");
        let (first, then) = ramp.split();
        assert_eq!((first.to_string(), then.len()), ("1%".to_owned(), 3));
        for wrong in ["", "10%,1%", "10%,10%", "10", "101%", "1%,"] {
            assert_eq!(wrong.parse::<Ramp>(), Err(NotARamp), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_a_ramp_reads_what_it_writes(text in mangled_text(["1%,10%,50%,100%", "0.5%, 1%"])) {
            if let Ok(ramp) = text.parse::<Ramp>() {
                prop_assert_eq!(ramp.to_string().parse::<Ramp>(), Ok(ramp));
            }
        }
    }
}
