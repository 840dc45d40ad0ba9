//! The demo: films and ratings in through the public API, then a check that what is served is what was sent.
//!
//! The rule of the check: for each film, the ratings served = those of others that were there before + those of
//! the plan. The others' are what is served before the first send, less what the plan's own users have there (read
//! from the API until nothing moves), so that it is exact on an empty system, on a second run, and on a run that
//! was stopped anywhere and repeated, without a file of its own. It assumes that nobody else rates the films of
//! the sample meanwhile; a film that does is reported as different.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    api::{self, Client, Movie},
    films,
    plan::{Plan, Size, TooMany},
    progress::Progress,
    tally::Tally,
};

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Where the plan's draws begin.
    pub seed: u64,
    /// How many users.
    pub users: usize,
    /// How many ratings.
    pub ratings: usize,
    /// Requests in flight.
    pub concurrency: usize,
    /// How long nothing new may be applied before the wait for it ends.
    pub apply_patience: Duration,
}

/// A film of the demo.
#[derive(Debug, Clone)]
pub struct Film {
    /// Its title and year, for people.
    pub name: String,
    /// What must be served.
    pub expected: Tally,
    /// What is served; none when it is no average of whole values.
    pub served: Option<Tally>,
    /// In words, for a difference.
    pub answer: String,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// Every film of the sample.
    pub films: Vec<Film>,
    /// Films that were new.
    pub created: usize,
    /// Ratings sent and acknowledged.
    pub sent: usize,
    /// Requests that they were sent with.
    pub requests: u64,
    /// Ratings by others on these films before.
    pub others: u64,
    /// Tries that had to be repeated.
    pub retries: u64,
    /// From the first send to the last acknowledgement.
    pub sending: Duration,
    /// From the first send until all were applied, as far as they were.
    pub applying: Duration,
    /// How long each list of ratings took until all of it was acknowledged, sorted.
    pub latencies: Vec<Duration>,
}

impl Report {
    /// The films that are not served as they must be.
    pub fn differences(&self) -> impl Iterator<Item = &Film> {
        self.films
            .iter()
            .filter(|film| film.served != Some(film.expected))
    }

    /// The best rated films among those with at least `least` ratings.
    #[must_use]
    pub fn best(&self, count: usize, least: u64) -> Vec<(&Film, Tally, f64)> {
        let mut films: Vec<_> = self
            .films
            .iter()
            .filter_map(|film| {
                let served = film.served.filter(|served| served.count >= least)?;
                Some((film, served, served.average()?))
            })
            .collect();
        films.sort_by(|a, b| b.2.total_cmp(&a.2).then_with(|| a.0.name.cmp(&b.0.name)));
        films.truncate(count);
        films
    }

    /// The latency that this share of the lists stayed within.
    #[must_use]
    pub fn latency(&self, per_mille: usize) -> Duration {
        let at = (self.latencies.len() * per_mille)
            .div_ceil(1_000)
            .saturating_sub(1);
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server.
    #[error(transparent)]
    Server(#[from] api::Error),
    /// The sizes do not fit together.
    #[error(transparent)]
    Plan(#[from] TooMany),
    /// What was there before cannot be read, as it does not stand still.
    #[error(
        "ratings of an earlier run are still being applied, or somebody else rates the films of the sample; run the same command again when that has ended"
    )]
    Moving,
    /// What was there before is not consistent.
    #[error(
        "{film} is served with fewer ratings than this demo's own users have given it, before anything was sent: what the server keeps does not agree with itself"
    )]
    Inconsistent {
        /// Its title and year.
        film: String,
    },
}

/// Runs it.
///
/// # Errors
/// When the server is away for longer than the patience or refuses what the sample sends.
pub async fn run(client: &Client, settings: Settings) -> Result<Report, Error> {
    let width = settings.concurrency.max(1);
    let sample = films::sample();
    let plan = Plan::draw(Size {
        seed: settings.seed,
        films: sample.len(),
        users: settings.users,
        ratings: settings.ratings,
    })?;

    let progress = Progress::start("films kept", Some(sample.len() as u64));
    let kept: Vec<api::Kept> = stream::iter(sample.chunks(Movie::LIST_MAX))
        .map(async |movies| {
            let kept = client.keep_many(movies).await;
            progress.advance(movies.len());
            kept.into_iter().collect::<Result<Vec<_>, _>>()
        })
        .buffered(width)
        .try_concat()
        .await?;
    drop(progress);
    let created = kept
        .iter()
        .filter(|kept| matches!(kept, api::Kept::Created(_)))
        .count();
    let ids: Vec<&str> = kept.iter().map(api::Kept::id).collect();
    let names: Vec<String> = sample.iter().map(name).collect();

    let others = others(client, &plan, &ids, &names, settings).await?;
    let mut expected = others.clone();
    for rating in &plan.ratings {
        if let Some(tally) = expected.get_mut(rating.film) {
            *tally = tally.with(u64::from(rating.value));
        }
    }

    let earlier = client.requests();
    let started = Instant::now();
    let progress = Progress::start("ratings sent", Some(plan.ratings.len() as u64));
    // A list of these is below `api::LIST_MAX_BYTES`: one has some 110 bytes at most.
    let mut latencies: Vec<Duration> = stream::iter(plan.ratings.chunks(api::Rating::LIST_MAX))
        .map(async |ratings| {
            let ratings: Vec<_> = ratings
                .iter()
                .map(|rating| api::Rating {
                    movie_id: ids.get(rating.film).copied().unwrap_or_default().to_owned(),
                    user: plan.user(rating.user),
                    value: i64::from(rating.value),
                })
                .collect();
            let began = Instant::now();
            let sent = client.rate_many(&ratings).await;
            progress.advance(ratings.len());
            sent.into_iter()
                .collect::<Result<(), _>>()
                .map(|()| began.elapsed())
        })
        .buffer_unordered(width)
        .try_collect()
        .await?;
    drop(progress);
    let sending = started.elapsed();
    let requests = client.requests() - earlier;
    latencies.sort_unstable();

    wait_until_applied(client, &ids, &expected, settings).await?;
    let applying = started.elapsed();
    // All once more: a film that was right for a moment may have moved on.
    let served = client.aggregates(&ids, width).await?;
    let films = names
        .into_iter()
        .zip(expected)
        .zip(served)
        .map(|((name, expected), served)| Film {
            name,
            expected,
            served: Tally::of(served),
            answer: match served.average {
                Some(average) => format!("average {average}, count {}", served.count),
                None => format!("no average, count {}", served.count),
            },
        })
        .collect();
    Ok(Report {
        films,
        created,
        sent: plan.ratings.len(),
        requests,
        others: others.iter().map(|tally| tally.count).sum(),
        retries: client.retries(),
        sending,
        applying,
        latencies,
    })
}

/// What others than the plan's users have given, film by film.
async fn others(
    client: &Client,
    plan: &Plan,
    ids: &[&str],
    names: &[String],
    settings: Settings,
) -> Result<Vec<Tally>, Error> {
    let width = settings.concurrency.max(1);
    let places: HashMap<&str, usize> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let began = Instant::now();
    let mut before = client.aggregates(ids, width).await?;
    loop {
        let mut own = vec![Tally::default(); ids.len()];
        if before.iter().any(|served| served.count > 0) {
            let progress = Progress::start("earlier ratings read", Some(plan.size().users as u64));
            let mut pages = stream::iter(0..plan.size().users)
                .map(async |place| {
                    let ratings = client.ratings_of(&plan.user(place)).await;
                    progress.advance(1);
                    ratings
                })
                .buffer_unordered(width);
            while let Some(ratings) = pages.try_next().await? {
                for rating in ratings {
                    let place = places.get(rating.record_id.as_str());
                    if let Some(tally) = place.and_then(|place| own.get_mut(*place)) {
                        *tally = tally.with(rating.value);
                    }
                }
            }
        }
        let after = client.aggregates(ids, width).await?;
        if after == before {
            return names
                .iter()
                .zip(after)
                .zip(own)
                .map(|((name, served), own)| {
                    Tally::of(served)
                        .and_then(|served| served.without(own))
                        .ok_or_else(|| Error::Inconsistent { film: name.clone() })
                })
                .collect();
        }
        if began.elapsed() > settings.apply_patience {
            return Err(Error::Moving);
        }
        before = after;
    }
}

/// Polls the films that are not yet as they must be; ends when all are, or when nothing moves any more.
async fn wait_until_applied(
    client: &Client,
    ids: &[&str],
    expected: &[Tally],
    settings: Settings,
) -> Result<(), api::Error> {
    let total = expected.iter().map(|tally| tally.count).sum();
    let progress = Progress::start("ratings applied", Some(total));
    let mut open: Vec<(&str, Tally)> = ids.iter().copied().zip(expected.iter().copied()).collect();
    let mut settled = 0;
    let mut last = 0;
    let mut moved = Instant::now();
    loop {
        let ids: Vec<&str> = open.iter().map(|(id, _)| *id).collect();
        let served = client.aggregates(&ids, settings.concurrency).await?;
        let mut partly = 0;
        let mut still = Vec::new();
        for ((id, expected), served) in open.into_iter().zip(served) {
            if Tally::of(served) == Some(expected) {
                settled += expected.count;
            } else {
                partly += served.count;
                still.push((id, expected));
            }
        }
        open = still;
        progress.reach(settled + partly);
        if open.is_empty() {
            return Ok(());
        }
        if settled + partly != last {
            last = settled + partly;
            moved = Instant::now();
        } else if moved.elapsed() > settings.apply_patience {
            progress.note(&format!(
                "nothing new was applied for {} s, {} films are not yet as they must be; \
                 see `marquee messages list` for ratings that are parked or dead",
                settings.apply_patience.as_secs(),
                open.len()
            ));
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A film as people tell it from others of its title.
fn name(movie: &Movie) -> String {
    match movie.year {
        Some(year) => format!("{} ({year})", movie.title),
        None => movie.title.clone(),
    }
}

/// Between two looks at the films that are still open: small beside a person's patience, large beside a read.
const POLL: Duration = Duration::from_millis(200);
