//! Many films or ratings with one request.
//!
//! Promises: an outcome for each item, in their order, as if it had been sent alone. What the server takes or refuses by
//! itself is settled by itself; of items to which it says "not now", those alone are sent again. A list that is refused
//! for what may be one item's fault (400, 413, 422) is sent in halves until that item stands alone. A list of ratings
//! has an idempotency key of its own: sent again since its answer was lost it counts once, and no late try of it undoes
//! what was sent after it. A film is known by its title and year: one whose answer was lost is found to be there.
//!
//! Bounds: one request at a time for a list; memory for what the list holds. Not here: how items become lists, and in
//! which order lists are sent.

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Kept, Made, Movie, Rating,
    error::{Error, Problem},
    transport::{Call, Passing, Transport, Tries, is_passing},
};

/// What can be sent in a list.
pub(super) trait Item: Serialize {
    /// What comes of one that is taken.
    type Done;
    const PATH: [&str; 3];
    /// Whether a list needs a key to be repeated without harm.
    const KEYED: bool;

    /// None: it is refused.
    fn done(entry: &mut Entry) -> Option<Self::Done>;
}

impl Item for Movie {
    type Done = Kept;
    const PATH: [&str; 3] = ["v1", "movies", "batch"];
    const KEYED: bool = false;

    fn done(entry: &mut Entry) -> Option<Kept> {
        let created = entry.movie.take().map(|made| Kept::Created(made.id));
        let problem = entry.problem.as_mut();
        created.or_else(|| problem?.existing_id.take().map(Kept::Existing))
    }
}

impl Item for Rating {
    type Done = ();
    const PATH: [&str; 3] = ["v1", "ratings", "batch"];
    const KEYED: bool = true;

    fn done(entry: &mut Entry) -> Option<()> {
        (200..300).contains(&entry.status).then_some(())
    }
}

/// What the server says of one item.
#[derive(Deserialize)]
pub(super) struct Entry {
    status: u16,
    movie: Option<Made>,
    problem: Option<Problem>,
}

/// Items with their places among all that are to be sent.
type Open<'a, T> = Vec<(usize, &'a T)>;
type Outcome<T> = Result<<T as Item>::Done, Error>;

/// Why what is open of a list cannot be settled.
enum Stop {
    /// The list is refused for its form or its size: one of its items may be the reason.
    List(Error),
    /// Whatever it is, each item alone would meet it.
    All(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::All(error)
    }
}

/// What comes of each.
pub(super) async fn send<T: Item>(transport: &Transport, items: &[T]) -> Vec<Outcome<T>> {
    let mut settled = Vec::with_capacity(items.len());
    let mut lists = vec![items.iter().enumerate().collect::<Open<'_, T>>()];
    while let Some(mut open) = lists.pop() {
        if open.is_empty() {
            continue;
        }
        match settle(transport, &mut open, &mut settled).await {
            Ok(()) => {}
            Err(Stop::List(_)) if open.len() > 1 => {
                lists.push(open.split_off(open.len() / 2));
                lists.push(open);
            }
            Err(Stop::List(error) | Stop::All(error)) => {
                let failed = open.iter().map(|(place, _)| (*place, Err(error.clone())));
                settled.extend(failed);
            }
        }
    }
    settled.sort_unstable_by_key(|(place, _)| *place);
    settled.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Sends until nothing is open.
///
/// # Errors
/// What holds for all that is open still.
async fn settle<T: Item>(
    transport: &Transport,
    open: &mut Open<'_, T>,
    settled: &mut Vec<(usize, Outcome<T>)>,
) -> Result<(), Stop> {
    let mut tries = Tries::begin();
    let mut call = call(transport, open);
    loop {
        let passing = match transport.attempt(&call, &mut tries).await? {
            Err(passing) => passing,
            Ok(answer) if !answer.status.is_success() => {
                transport.pulse.beat();
                let of_one = matches!(answer.status.as_u16(), 400 | 413 | 422);
                let stop = if of_one { Stop::List } else { Stop::All };
                return Err(stop(answer.refusal()));
            }
            Ok(answer) => {
                let entries: Vec<Entry> = answer.parse(&call)?;
                if entries.len() != open.len() {
                    let reason = format!("{} entries for {} items", entries.len(), open.len());
                    let what = call.what();
                    return Err(Error::Answer { what, reason }.into());
                }
                let sent = open.len();
                let passing = take(open, entries, settled);
                if open.len() < sent {
                    transport.pulse.beat();
                }
                let Some(passing) = passing else {
                    return Ok(());
                };
                call = self::call(transport, open);
                passing
            }
        };
        transport.wait(&call, &mut tries, passing).await?;
    }
}

/// Settles what is answered for good; what is open after that, and why.
fn take<T: Item>(
    open: &mut Open<'_, T>,
    entries: Vec<Entry>,
    settled: &mut Vec<(usize, Outcome<T>)>,
) -> Option<Passing> {
    let mut passing = None;
    let sent = std::mem::take(open);
    for ((place, item), mut entry) in sent.into_iter().zip(entries) {
        let done = T::done(&mut entry);
        let status = StatusCode::from_u16(entry.status).unwrap_or_default();
        let refusal = || entry.problem.unwrap_or_default().into_error(status);
        match done {
            Some(done) => settled.push((place, Ok(done))),
            None if is_passing(status) => {
                passing.get_or_insert_with(|| Passing {
                    reason: refusal().to_string(),
                    retry_after: None,
                });
                open.push((place, item));
            }
            None => settled.push((place, Err(refusal()))),
        }
    }
    passing
}

/// Another list is another act: it has another key.
fn call<T: Item>(transport: &Transport, open: &Open<'_, T>) -> Call {
    let items: Vec<&T> = open.iter().map(|(_, item)| *item).collect();
    Call {
        method: Method::POST,
        url: transport.url(&T::PATH),
        // Texts and numbers always become JSON.
        body: serde_json::to_vec(&items).unwrap_or_default().into(),
        key: T::KEYED.then(|| Uuid::now_v7().to_string()),
    }
}
