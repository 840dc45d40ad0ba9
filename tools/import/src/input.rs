//! Films and ratings out of CSV or JSON lines.
//!
//! A bad line is an item with its number and reason, never the end, unless it has none itself: the rest is read. One line, of
//! a megabyte at the most, is in memory at a time. Not here: the bounds of values, which the server knows better and answers
//! with 422.

use std::{
    io::{self, BufRead, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::api::Movie;

/// How the input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated, first row the names of columns.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

impl Format {
    /// By the end of a file's name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
            _ => None,
        }
    }
}

/// One line of the input.
#[derive(Debug)]
pub struct Line<T> {
    /// From 1; a CSV's row of names is line 1, and rows that end with CR alone are of one line.
    pub number: u64,
    /// What it says, or what is wrong with it.
    pub parsed: Result<T, String>,
}

/// A rating to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rating {
    /// Who rates.
    pub user_id: String,
    /// A film's id or title.
    pub movie: String,
    /// Which film of that title; of no matter beside an id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub year: Option<u16>,
    /// 1 to 10.
    pub value: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMovie {
    title: String,
    director: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    year: Option<u16>,
}

impl RawMovie {
    fn check(self) -> Result<Movie, String> {
        Ok(Movie {
            title: filled("title", &self.title)?,
            year: self.year,
            description: self.description.unwrap_or_default(),
            director: filled("director", &self.director)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRating {
    user_id: String,
    #[serde(default)]
    movie_id: Option<String>,
    #[serde(default)]
    movie: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    year: Option<u16>,
    value: i64,
}

impl RawRating {
    fn check(self) -> Result<Rating, String> {
        let movie = self
            .movie_id
            .or(self.movie)
            .or(self.title)
            .filter(|movie| !movie.trim().is_empty())
            .ok_or("one of movie_id, movie and title must be given")?;
        Ok(Rating {
            user_id: filled("user_id", &self.user_id)?,
            movie: movie.trim().to_owned(),
            year: self.year,
            value: self.value,
        })
    }
}

/// The films of an input: columns or fields `title`, `director`, and, where they are known, `year` and `description`.
pub fn movies<R: Read + Send + 'static>(
    from: R,
    format: Format,
) -> Box<dyn Iterator<Item = Line<Movie>> + Send> {
    lines(from, format, RawMovie::check)
}

/// The ratings of an input: columns or fields `user_id`, `movie_id` or `title` (or `movie`: either), `value`, and `year`,
/// where several films have the title.
pub fn ratings<R: Read + Send + 'static>(
    from: R,
    format: Format,
) -> Box<dyn Iterator<Item = Line<Rating>> + Send> {
    lines(from, format, RawRating::check)
}

fn lines<R, Raw, T>(
    from: R,
    format: Format,
    check: fn(Raw) -> Result<T, String>,
) -> Box<dyn Iterator<Item = Line<T>> + Send>
where
    R: Read + Send + 'static,
    Raw: DeserializeOwned + Send + 'static,
    T: 'static,
{
    match format {
        Format::Csv => Box::new(csv_lines(from, check)),
        Format::Jsonl => Box::new(json_lines(from, check)),
    }
}

fn csv_lines<R: Read + Send, Raw: DeserializeOwned + Send, T>(
    from: R,
    check: fn(Raw) -> Result<T, String>,
) -> impl Iterator<Item = Line<T>> + Send {
    let left = Arc::new(AtomicU64::new(LINE_MAX_BYTES));
    let rows = Rows {
        from,
        left: Arc::clone(&left),
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(rows);
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let headers = match reader.headers() {
            Ok(headers) => headers.clone(),
            Err(error) => {
                ended = true;
                return Some(bad(1, error.to_string()));
            }
        };
        left.store(LINE_MAX_BYTES, Ordering::Relaxed);
        let mut row = csv::StringRecord::new();
        let before = reader.position().line();
        match reader.read_record(&mut row) {
            Ok(false) => None,
            Ok(true) => {
                let number = row.position().map_or(before, csv::Position::line);
                let parsed = row
                    .deserialize::<Raw>(Some(&headers))
                    .map_err(|error| plain(&error, &headers))
                    .and_then(check);
                Some(Line { number, parsed })
            }
            Err(error) => {
                // Reading cannot go on after an error of the source itself; a bad row is one row.
                ended = error.is_io_error();
                let number = error.position().map_or(before, csv::Position::line);
                Some(bad(number, plain(&error, &headers)))
            }
        }
    })
}

/// The input of a reader that would read a row without an end.
struct Rows<R> {
    from: R,
    /// How much more of the row may come.
    left: Arc<AtomicU64>,
}

impl<R: Read> Read for Rows<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other(too_long()));
        }
        let count = self.from.by_ref().take(left).read(buffer)?;
        self.left.store(left - count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

fn too_long() -> String {
    format!("longer than {LINE_MAX_BYTES} bytes; nothing after it is read")
}

fn json_lines<R: Read + Send, Raw: DeserializeOwned, T>(
    from: R,
    check: fn(Raw) -> Result<T, String>,
) -> impl Iterator<Item = Line<T>> + Send {
    let mut reader = BufReader::new(from);
    let mut number = 0;
    let mut ended = false;
    std::iter::from_fn(move || {
        while !ended {
            number += 1;
            let mut text = Vec::new();
            match reader
                .by_ref()
                .take(LINE_MAX_BYTES)
                .read_until(b'\n', &mut text)
            {
                Ok(0) => return None,
                Ok(_) if text.len() as u64 == LINE_MAX_BYTES && !text.ends_with(b"\n") => {
                    ended = true;
                    return Some(bad(number, too_long()));
                }
                Ok(_) if text.iter().all(u8::is_ascii_whitespace) => {}
                Ok(_) => {
                    let parsed = serde_json::from_slice::<Raw>(&text)
                        .map_err(|error| error.to_string())
                        .and_then(check);
                    return Some(Line { number, parsed });
                }
                Err(error) => {
                    ended = true;
                    return Some(bad(number, error.to_string()));
                }
            }
        }
        None
    })
}

fn bad<T>(number: u64, reason: String) -> Line<T> {
    Line {
        number,
        parsed: Err(reason),
    }
}

/// What is wrong with a row, without the position that is reported anyway; a column by its name.
fn plain(error: &csv::Error, columns: &csv::StringRecord) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => {
            let column = err
                .field()
                .and_then(|place| columns.get(usize::try_from(place).ok()?));
            match column {
                Some(column) => format!("{column}: {}", err.kind()),
                None => err.kind().to_string(),
            }
        }
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("has {len} columns, the first row has {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

fn filled(field: &str, text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err(format!("{field} is empty")),
        text => Ok(text.to_owned()),
    }
}

/// A line longer than this is no film: the server takes 64 KiB.
const LINE_MAX_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled;
    use proptest::prelude::*;

    use super::*;

    /// Counts what is read of it.
    struct Counted<R>(R, Arc<AtomicU64>);

    impl<R: Read> Read for Counted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1.fetch_add(count as u64, Ordering::Relaxed);
            Ok(count)
        }
    }

    fn told<T: std::fmt::Debug>(lines: impl Iterator<Item = Line<T>>) -> Vec<(u64, bool)> {
        lines
            .map(|line| (line.number, line.parsed.is_ok()))
            .collect()
    }

    #[test]
    fn a_film_has_a_year_and_a_description_where_they_are_given() {
        let table =
            "title,year,director,description\nHeat,1995,Michael Mann,\nRan,,Akira Kurosawa,War.\n";
        let objects = "{\"title\":\"Heat\",\"year\":1995,\"director\":\"Michael Mann\"}\n\
            {\"title\":\"Ran\",\"year\":null,\"director\":\"Akira Kurosawa\",\"description\":\"War.\"}\n";
        for (text, format) in [(table, Format::Csv), (objects, Format::Jsonl)] {
            let films: Vec<_> = movies(text.as_bytes(), format)
                .map(|line| line.parsed.unwrap())
                .map(|film| (film.title, film.year, film.description))
                .collect();
            let film = |title: &str, year, text: &str| (title.to_owned(), year, text.to_owned());
            assert_eq!(
                films,
                [film("Heat", Some(1995), ""), film("Ran", None, "War.")]
            );
        }
    }

    #[test]
    fn what_is_no_year_is_refused_with_its_line_and_column() {
        let years = ["x", "-1995", "1995.5", "70000", "MCMXCV"];
        let rows: String = years
            .iter()
            .map(|year| format!("Heat,{year},Michael Mann\n"))
            .collect();
        let text = format!("title,year,director\n{rows}Ran,1985,Akira Kurosawa\n");
        let lines: Vec<_> = movies(std::io::Cursor::new(text), Format::Csv).collect();
        assert_eq!(lines.len(), years.len() + 1);
        for (line, number) in lines.iter().zip(2..7) {
            let reason = line.parsed.as_ref().unwrap_err();
            assert_eq!(line.number, number);
            assert!(reason.starts_with("year: "), "{reason}");
        }
        assert_eq!(lines[5].parsed.as_ref().unwrap().year, Some(1985));

        let text = "{\"title\":\"A\",\"director\":\"B\",\"year\":\"1995\"}\n{\"title\":\"A\",\"director\":\"B\",\"year\":-1}";
        let lines = told(movies(text.as_bytes(), Format::Jsonl));
        assert_eq!(lines, [(1, false), (2, false)]);
    }

    #[test]
    fn a_bad_row_is_told_with_its_line_and_the_rest_is_read() {
        let text = "title,year,director\nHeat,1995,Michael Mann\nonly one\n,1985,Akira Kurosawa\nRan,x,K\n\"A\nB\",1985,C\nLast,1999,D\n";
        let lines = told(movies(text.as_bytes(), Format::Csv));
        assert_eq!(
            lines,
            [
                (2, true),
                (3, false),
                (4, false),
                (5, false),
                (6, true),
                (8, true)
            ]
        );
    }

    #[test]
    fn a_row_that_is_not_text_does_not_end_the_file() {
        let text = b"title,director\nA,B\n\xff\xfe,C\nD,E\n";
        let lines = told(movies(&text[..], Format::Csv));
        assert_eq!(lines, [(2, true), (3, false), (4, true)]);
    }

    #[test]
    fn bad_json_is_told_with_its_line_and_blank_lines_are_nothing() {
        let text = "{\"title\":\"A\",\"director\":\"B\",\"year\":1999}\n\n{\"title\":\n{\"title\":\"A\",\"x\":1}\n{\"title\":\"C\",\"director\":\"D\"}";
        let lines = told(movies(text.as_bytes(), Format::Jsonl));
        assert_eq!(lines, [(1, true), (3, false), (4, false), (5, true)]);
    }

    #[test]
    fn a_rating_names_its_film_by_id_or_title() {
        let text = "user_id,title,value\nana,Heat,9\nana,,9\nbo,Ran,ten\n";
        let lines = told(ratings(text.as_bytes(), Format::Csv));
        assert_eq!(lines, [(2, true), (3, false), (4, false)]);
        let text = "{\"user_id\":\"ana\",\"movie_id\":\"x\",\"value\":3}";
        let line = ratings(text.as_bytes(), Format::Jsonl).next().unwrap();
        assert_eq!(line.parsed.unwrap().movie, "x");
        let text = "user_id,title,year,value\nana,King Kong,1933,9\nana,Heat,,9\nana,Ran,x,9\n";
        let years: Vec<_> = ratings(text.as_bytes(), Format::Csv)
            .map(|line| line.parsed.map(|rating| rating.year).ok())
            .collect();
        assert_eq!(years, [Some(Some(1933)), Some(None), None]);
    }

    #[test]
    fn the_format_follows_the_extension() {
        assert_eq!(Format::of("a/b.CSV"), Some(Format::Csv));
        assert_eq!(Format::of("b.jsonl"), Some(Format::Jsonl));
        assert_eq!(Format::of("b.txt"), None);
        assert_eq!(Format::of("-"), None);
    }

    #[test]
    fn a_row_without_an_end_is_told_and_not_kept_in_memory() {
        let endless = [
            (&b"title,director\nA,B\n\"C"[..], Format::Csv),
            (b"title,director\nA,B\nC", Format::Csv),
            (b"title", Format::Csv),
            (b"{\"title\":\"A", Format::Jsonl),
        ];
        for (begin, format) in endless {
            let taken = Arc::new(AtomicU64::new(0));
            let input = begin.chain(std::io::repeat(b'x').take(16 * LINE_MAX_BYTES));
            let mut lines = movies(Counted(input, Arc::clone(&taken)), format);
            let last = lines.find(|line| line.parsed.is_err()).unwrap();
            assert!(last.parsed.unwrap_err().contains("longer than"));
            assert!(lines.next().is_none());
            assert!(taken.load(Ordering::Relaxed) < 2 * LINE_MAX_BYTES);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_each_line_is_told_once_and_at_its_place(
            input in mangled([
                &b"title,year,director\nHeat,1995,Michael Mann\n\"Ran\n\",1985,\"K\"\"\"\n"[..],
                b"\xef\xbb\xbftitle,director\r\nA,B\r\n",
                b"{\"title\":\"A\",\"director\":\"B\",\"year\":1999}\n\n{\"title\":null}\n",
            ]),
            format in prop::sample::select(&[Format::Csv, Format::Jsonl][..]),
        ) {
            let whole = input.len() as u64 + 1;
            let mut before = 1;
            let mut count = 0;
            for line in movies(std::io::Cursor::new(input), format) {
                prop_assert!(line.number >= before && line.number <= whole, "{} after {}", line.number, before);
                before = line.number;
                count += 1;
                if let Ok(film) = line.parsed {
                    prop_assert!(!film.title.trim().is_empty() && !film.director.trim().is_empty());
                }
            }
            prop_assert!(count < whole);
        }
    }
}
