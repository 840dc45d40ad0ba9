//! Which part of a list is asked for.

use serde::Deserialize;
use utoipa::IntoParams;

/// A part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The `next` of the page before, for the same query. One that this query did not make is 400.
    #[param(min_length = 1, max_length = 2048)]
    pub after: Option<String>,
    /// How many at most.
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 100, default = 20, required = false)]
    pub limit: Limit,
}

/// How many entries a page has, 20 unless it is said. Digits only; its bounds are their owner's to check.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Limit(pub u32);

impl Default for Limit {
    fn default() -> Self {
        Self(20)
    }
}

impl TryFrom<String> for Limit {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // `parse` alone would take "+5".
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|_| digits)
            .map(Self)
            .ok_or("must be a number from 1 to 100")
    }
}
