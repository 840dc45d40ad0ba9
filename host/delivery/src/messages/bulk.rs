//! The same done with many messages.

use marquee_database::Database;
use serde::Serialize;

use super::{ActError, Filter, discard, list, retry, skip};
use crate::Error;

/// What is done with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// [`retry`].
    Retry,
    /// [`skip`].
    Skip,
    /// [`discard`].
    Discard,
}

/// What came of a page of messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Bulk {
    /// How many it was done with, or would be.
    pub done: usize,
    /// Those that it was not done with.
    pub left: Vec<Left>,
    /// The last one that was looked at: the next page is after it. None: there are no more.
    pub last: Option<i64>,
}

/// A message that nothing was done with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Which.
    pub id: i64,
    /// Why.
    pub why: String,
}

/// Act on each message of a page of `filter`, each in a transaction of its own. What one message does not allow does not
/// keep the others; what the database does not, ends it, and what was done stays done. Where `dry` is set, nothing is.
pub async fn each(
    database: &Database,
    filter: &Filter,
    act: Act,
    actor: &str,
    dry: bool,
) -> Result<Bulk, Error> {
    let page = list(database, filter).await?;
    let mut bulk = Bulk {
        last: page.last().map(|last| last.id),
        ..Bulk::default()
    };
    for message in page {
        let id = message.id;
        let done = match act {
            _ if dry => Ok(()),
            Act::Retry => retry(database, id, actor).await,
            Act::Skip => skip(database, id, actor).await,
            Act::Discard => discard(database, id, actor).await,
        };
        match done {
            Ok(()) => bulk.done += 1,
            Err(ActError::Delivery(error)) if error.is_passing() => return Err(error),
            Err(error) => bulk.left.push(Left {
                id,
                why: error.to_string(),
            }),
        }
    }
    Ok(bulk)
}
