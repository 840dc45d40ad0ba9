//! Sends a file of films or of ratings.
//!
//! Promises: a refused line is told with its number and does not stop the others; a line is noted as done only
//! after it was acknowledged; ratings of the same user for the same film are sent in the order of the file, so
//! that the last one counts. Bound: `concurrency` requests in flight.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, stream};
use uuid::Uuid;

use crate::{
    api::{self, Client, Kept, Movie},
    input::{Line, Rating},
    progress::Progress,
    state::{self, State, digest},
};

/// What became of the lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Films that are new, or ratings that were accepted.
    pub sent: u64,
    /// Films that were there.
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
    run(
        lines,
        notes,
        concurrency,
        progress,
        |_| 0,
        async |movie: &Movie| {
            Ok(match client.keep(movie).await.map_err(Failure::Server)? {
                Kept::Created(_) => Done::Sent,
                Kept::Existing(_) => Done::Existing,
            })
        },
        false,
    )
    .await
}

/// Sends ratings; a film that is given by its title is looked up once.
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
    let known = Mutex::new(HashMap::<String, String>::new());
    let lane = |rating: &Rating| {
        digest(format!("{}\n{}", rating.user_id, rating.movie.to_lowercase()).as_bytes())
    };
    run(
        lines,
        notes,
        concurrency,
        progress,
        lane,
        async |rating: &Rating| {
            let id = if Uuid::try_parse(&rating.movie).is_ok() {
                rating.movie.clone()
            } else {
                let title = rating.movie.to_lowercase();
                let found = known
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get(&title)
                    .cloned();
                match found {
                    Some(id) => id,
                    None => {
                        let id = client.find(&rating.movie).await.map_err(Failure::Server)?;
                        let id = id.ok_or_else(|| {
                            Failure::Line(format!(
                                "no film has the title {:?}; import it first, or give its id",
                                rating.movie
                            ))
                        })?;
                        known
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert(title, id.clone());
                        id
                    }
                }
            };
            client
                .rate(&id, &rating.user_id, rating.value)
                .await
                .map_err(Failure::Server)?;
            Ok(Done::Sent)
        },
        true,
    )
    .await
}

enum Failure {
    Server(api::Error),
    Line(String),
}

async fn run<T: std::fmt::Debug>(
    lines: impl Iterator<Item = Line<T>>,
    mut notes: Notes,
    concurrency: usize,
    progress: &Progress,
    lane: impl Fn(&T) -> u64,
    send: impl AsyncFn(&T) -> Result<Done, Failure>,
    ordered: bool,
) -> Result<Summary, Error> {
    let mut summary = Summary::default();
    let lanes: Vec<Arc<tokio::sync::Mutex<()>>> = (0..LANES).map(|_| Arc::default()).collect();
    let failed = |summary: &mut Summary, number: u64, reason: &str| {
        summary.failed += 1;
        progress.note(&format!("line {number}: {reason}"));
    };
    let skipped = std::cell::Cell::new(0);
    // What an earlier run had acknowledged is read before anything is noted, so the lookup borrows nothing later.
    let earlier = notes.as_ref().map(State::acknowledged).unwrap_or_default();
    let wanted = lines.filter(|line| {
        let known = line
            .parsed
            .as_ref()
            .is_ok_and(|value| earlier.contains(&state::key(line.number, &format!("{value:?}"))));
        if known {
            skipped.set(skipped.get() + 1);
        }
        !known
    });
    {
        let send = &send;
        let lanes = &lanes;
        let lane = &lane;
        let results = stream::iter(wanted)
            .then(async |line| {
                // Taken here, in the order of the input, and held until the line is settled.
                let guard = match &line.parsed {
                    Ok(value) if ordered => {
                        let place = usize::try_from(lane(value) % LANES).unwrap_or(0);
                        match lanes.get(place) {
                            Some(lane) => Some(Arc::clone(lane).lock_owned().await),
                            None => None,
                        }
                    }
                    _ => None,
                };
                (line, guard)
            })
            .map(async |(line, guard)| {
                let result = match line.parsed {
                    Ok(value) => (send(&value).await, Some(format!("{value:?}"))),
                    Err(reason) => (Err(Failure::Line(reason)), None),
                };
                // Given back only after the line is noted: a resumed run must not send it after a later one.
                (line.number, result, guard)
            })
            .buffer_unordered(concurrency.max(1));
        let mut results = std::pin::pin!(results);
        while let Some((number, (result, content), _guard)) = results.next().await {
            match result {
                Ok(done) => {
                    match done {
                        Done::Sent => summary.sent += 1,
                        Done::Existing => summary.existing += 1,
                    }
                    if let (Some(notes), Some(content)) = (&mut notes, &content) {
                        notes.acknowledge(number, content)?;
                    }
                }
                Err(Failure::Server(error)) if error.ends_the_run() => return Err(error.into()),
                Err(Failure::Server(error)) => failed(&mut summary, number, &error.to_string()),
                Err(Failure::Line(reason)) => failed(&mut summary, number, &reason),
            }
            progress.advance();
        }
    }
    summary.skipped = skipped.get();
    Ok(summary)
}

/// Many more than requests in flight, so that two pairs rarely wait for each other.
const LANES: u64 = 4096;
