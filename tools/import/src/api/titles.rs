//! Films by their titles.

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization as _;

use super::{Client, Error, page_of};

/// A film that has a title.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Titled {
    /// Its id.
    pub id: String,
    /// Of its release; one film of a title may have none.
    pub year: Option<u16>,
}

impl Client {
    /// The films of this title: those of this year, or those of any year and the one without.
    ///
    /// # Errors
    /// `Refused`, `Answer` or `GaveUp`.
    pub async fn find(&self, title: &str, year: Option<u16>) -> Result<Vec<Titled>, Error> {
        #[derive(Deserialize)]
        struct Found {
            title: String,
            #[serde(flatten)]
            film: Titled,
        }
        #[derive(Deserialize)]
        struct Page {
            movies: Vec<Found>,
            next: Option<String>,
        }
        let wanted = folded(title);
        let mut url = self.transport.url(&["v1", "movies"]);
        url.query_pairs_mut().append_pair("prefix", title.trim());
        if let Some(year) = year {
            let year = year.to_string();
            url.query_pairs_mut().append_pair("year", &year);
        }
        let mut films = Vec::new();
        let mut after = None::<String>;
        loop {
            let page: Page = self.get(page_of(&url, after.as_deref())).await?;
            // Titles with a prefix are in the order of their folds: that which is no longer comes first.
            let longer = page
                .movies
                .iter()
                .any(|found| folded(&found.title) != wanted);
            let of_title = page.movies.into_iter();
            let of_title = of_title.filter(|found| folded(&found.title) == wanted);
            films.extend(of_title.map(|found| found.film));
            match page.next {
                Some(next) if !longer => after = Some(next),
                _ => return Ok(films),
            }
        }
    }
}

/// A title as the server compares titles: canonical composition, lower case, then upper case, without outer blanks.
pub(crate) fn folded(title: &str) -> String {
    let composed: String = title.trim().nfc().collect();
    composed.to_lowercase().to_uppercase().nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn titles_that_the_server_takes_for_one_are_one() {
        for (one, other) in [
            ("Heat", " hEAT "),
            ("Straße", "STRASSE"),
            ("Amélie", "AME\u{301}LIE"),
            ("Οδός", "ΟΔΌΣ"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        assert_ne!(folded("Amélie"), folded("Amelie"));
        assert_ne!(folded("Heat"), folded("Heat 2"));
    }
}
