//! The sample that ships with the product: titles, years and directors of real films.

use crate::{
    api::Movie,
    input::{self, Format},
};

/// The sample as text, in the form that `marquee-import movies` takes.
pub const CSV: &str = include_str!("../data/films.csv");

/// The films of the sample.
#[must_use]
pub fn sample() -> Vec<Movie> {
    input::movies(CSV.as_bytes(), Format::Csv)
        .filter_map(|line| line.parsed.ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_sample_is_large_unique_and_within_the_bounds_of_the_api() {
        let mut titles = HashSet::new();
        let mut rows = csv::Reader::from_reader(CSV.as_bytes());
        let mut count = 0;
        for row in rows.records() {
            let row = row.unwrap();
            let (title, year, director) = (&row[0], &row[1], &row[2]);
            assert_eq!(row.len(), 3, "{row:?}");
            assert!(titles.insert(title.to_lowercase()), "twice: {title}");
            let year: u32 = year.parse().unwrap();
            assert!((1888..=2026).contains(&year), "{title}: {year}");
            for text in [title, director] {
                assert_eq!(text.trim(), text, "{row:?}");
                assert!(!text.chars().any(char::is_control), "{row:?}");
                assert!((1..=200).contains(&text.chars().count()), "{row:?}");
            }
            count += 1;
        }
        assert!(count >= 520, "only {count}");
        assert_eq!(sample().len(), count, "every row is a film");
    }

    #[test]
    fn the_sample_spans_the_decades() {
        let mut decades = HashSet::new();
        for row in csv::Reader::from_reader(CSV.as_bytes()).records() {
            decades.insert(row.unwrap()[1].parse::<u32>().unwrap() / 10);
        }
        assert!(decades.len() >= 11, "{decades:?}");
    }
}
