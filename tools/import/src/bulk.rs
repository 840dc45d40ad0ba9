//! Sends a file of films or of ratings, in lists (`feed`).
//!
//! Promises: a refused line is told with its number and does not stop the others; a line is noted as done only
//! after it was acknowledged; ratings of the same user for the same film are sent in the order of the file, so
//! that the last one counts. Bound: `concurrency` requests in flight, each with a list of 64 KiB at most.

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::{
    api::{self, Client, Kept, Movie, Titled, folded},
    feed::{Feed, Job, Row},
    input::{Line, Rating},
    progress::Progress,
    state::{self, Key, State},
};

/// What became of the lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Films that are new, or ratings that were accepted.
    pub sent: u64,
    /// Films that were there. One that was made by this run and whose answer was lost is among them.
    pub existing: u64,
    /// Acknowledged in an earlier run.
    pub skipped: u64,
    /// Told with their numbers.
    pub failed: u64,
}

/// Why a run ended before its input did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server.
    #[error(transparent)]
    Server(#[from] api::Error),
    /// The state file.
    #[error(transparent)]
    State(#[from] state::Error),
}

/// Where a run notes what was acknowledged; nowhere for standard input without `--state`.
pub type Notes = Option<State>;

enum Done {
    Sent,
    Existing,
}

enum Failure {
    Server(api::Error),
    Line(String),
}

impl From<api::Error> for Failure {
    fn from(error: api::Error) -> Self {
        Self::Server(error)
    }
}

/// What came of lines, in any order. Those of which nothing came are left out, where the run ends.
type Outcomes = Vec<(Key, Result<Done, Failure>)>;

/// Sends films.
///
/// # Errors
/// When the server is away for longer than the patience, or the state file cannot be written.
pub async fn movies(
    client: &Client,
    lines: impl Iterator<Item = Line<Movie>>,
    notes: Notes,
    concurrency: usize,
    progress: &Progress,
) -> Result<Summary, Error> {
    let send = async |jobs: &[Job<Movie>]| {
        let movies: Vec<Movie> = jobs.iter().map(|job| job.row.clone()).collect();
        let outcomes = client.keep_many(&movies).await.into_iter();
        let outcomes = outcomes.map(|kept| {
            Ok(match kept? {
                Kept::Created(_) => Done::Sent,
                Kept::Existing(_) => Done::Existing,
            })
        });
        jobs.iter().map(|job| job.key).zip(outcomes).collect()
    };
    run(lines, notes, concurrency, progress, send).await
}

/// Sends ratings; a film that is given by its title, or its title and year, is looked up once.
///
/// # Errors
/// As [`movies`].
pub async fn ratings(
    client: &Client,
    lines: impl Iterator<Item = Line<Rating>>,
    notes: Notes,
    concurrency: usize,
    progress: &Progress,
) -> Result<Summary, Error> {
    let titles = Cache::new(TITLES);
    let send = async |jobs: &[Job<Rating>]| {
        let mut outcomes = Outcomes::new();
        let (mut keys, mut ratings) = (Vec::new(), Vec::new());
        for Job { key, row, .. } in jobs {
            match film(client, &titles, row).await {
                Ok(movie_id) => {
                    keys.push(*key);
                    ratings.push(api::Rating {
                        movie_id,
                        user: row.user_id.clone(),
                        value: row.value,
                    });
                }
                Err(failure) => {
                    let ends = matches!(&failure, Failure::Server(error) if error.ends_the_run());
                    outcomes.push((*key, Err(failure)));
                    if ends {
                        return outcomes;
                    }
                }
            }
        }
        let sent = client.rate_many(&ratings).await.into_iter();
        let sent = sent.map(|sent| sent.map(|()| Done::Sent).map_err(Failure::Server));
        outcomes.extend(keys.into_iter().zip(sent));
        outcomes
    };
    run(lines, notes, concurrency, progress, send).await
}

/// The films of a title, or of a title and a year.
type Titles = Cache<(String, Option<u16>), Arc<[Titled]>>;

/// The id of the film that is named by its id, its title, or its title and year.
async fn film(client: &Client, titles: &Titles, row: &Rating) -> Result<String, Failure> {
    let (named, year) = (&row.movie, row.year);
    if let Ok(id) = Uuid::try_parse(named) {
        return Ok(id.to_string());
    }
    let find = async { Ok::<_, api::Error>(client.find(named, year).await?.into()) };
    let found = titles
        .get_or_insert_async(&(folded(named), year), find)
        .await?;
    match (&*found, year) {
        ([film], _) => Ok(film.id.clone()),
        ([], None) => Err(Failure::Line(format!(
            "no film has the title {named:?}; import it first, or give its id"
        ))),
        ([], Some(year)) => Err(Failure::Line(format!(
            "no film of {year} has the title {named:?}; import it first, or give its id"
        ))),
        (several, _) => Err(Failure::Line(format!(
            "{} films have the title {named:?} ({}); give the year, or the id",
            several.len(),
            years(several)
        ))),
    }
}

/// Of these films, for people.
fn years(films: &[Titled]) -> String {
    let mut years: Vec<_> = films.iter().map(|film| film.year).collect();
    years.sort_unstable();
    let shown = years.into_iter().map(|year| match year {
        Some(year) => year.to_string(),
        None => "no year".to_owned(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

async fn run<T: Row>(
    lines: impl Iterator<Item = Line<T>>,
    mut notes: Notes,
    concurrency: usize,
    progress: &Progress,
    send: impl AsyncFn(&[Job<T>]) -> Outcomes,
) -> Result<Summary, Error> {
    let mut summary = Summary::default();
    let failed = |summary: &mut Summary, number: u64, reason: &str| {
        summary.failed += 1;
        progress.note(&format!("line {number}: {reason}"));
    };
    let send = &send;
    let mut feed = Feed::of(lines);
    let mut in_flight = FuturesUnordered::new();
    loop {
        while in_flight.len() < concurrency.max(1)
            && let Some(list) = feed.next(notes.as_ref())
        {
            summary.skipped += list.skipped;
            for (number, reason) in &list.bad {
                failed(&mut summary, *number, reason);
            }
            progress.advance(list.bad.len());
            if !list.jobs.is_empty() {
                let jobs = list.jobs;
                in_flight.push(async move { (send(&jobs).await, jobs) });
            }
        }
        let Some((outcomes, jobs)) = in_flight.next().await else {
            return Ok(summary);
        };
        let mut acknowledged = Vec::new();
        let mut end = None;
        for (key, outcome) in outcomes {
            match outcome {
                Ok(done) => {
                    acknowledged.push(key);
                    match done {
                        Done::Sent => summary.sent += 1,
                        Done::Existing => summary.existing += 1,
                    }
                }
                Err(Failure::Server(error)) if error.ends_the_run() => end = Some(error),
                Err(Failure::Server(error)) => {
                    failed(&mut summary, key.number, &error.to_string());
                }
                Err(Failure::Line(reason)) => failed(&mut summary, key.number, &reason),
            }
        }
        if let Some(notes) = &mut notes {
            notes.acknowledge(&acknowledged)?;
        }
        if let Some(error) = end {
            return Err(error.into());
        }
        feed.settled(&jobs);
        progress.advance(jobs.len());
    }
}

/// Titles whose films are remembered: some 20 MiB of them.
const TITLES: usize = 100_000;
