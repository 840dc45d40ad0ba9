//! The sample that ships with the product: titles, years and directors of real films, remakes among them.

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
        let mut films = HashSet::new();
        let mut rows = csv::Reader::from_reader(CSV.as_bytes());
        let mut count = 0;
        for row in rows.records() {
            let row = row.unwrap();
            let (title, year, director) = (&row[0], &row[1], &row[2]);
            assert_eq!(row.len(), 3, "{row:?}");
            let year: u16 = year.parse().unwrap();
            assert!((1888..=2026).contains(&year), "{title}: {year}");
            let film = (title.to_lowercase(), year);
            assert!(films.insert(film), "twice: {title} of {year}");
            let in_title = format!("({year})");
            assert!(!title.contains(&in_title), "its year has a column: {title}");
            for text in [title, director] {
                assert_eq!(text.trim(), text, "{row:?}");
                assert!(!text.chars().any(char::is_control), "{row:?}");
                assert!((1..=200).contains(&text.chars().count()), "{row:?}");
            }
            count += 1;
        }
        assert!(count >= 520, "only {count}");
        let sample = sample();
        assert_eq!(sample.len(), count, "every row is a film");
        assert!(sample.iter().all(|film| film.year.is_some()));
        let kongs = sample.iter().filter(|film| film.title == "King Kong");
        let kongs: Vec<_> = kongs.filter_map(|film| film.year).collect();
        assert_eq!(kongs, [1933, 2005], "a remake has the title of the first");
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
