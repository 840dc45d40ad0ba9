//! The same done with many messages.

use marquee_database::Database;
use serde::Serialize;

use super::{
    ActError, Filter,
    act::{lock_all, nobody, within},
    discard, list, retry, skip,
};
use crate::{Error, identity::Unattended};

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

/// Act on each message of a page of `filter`, a hundred in a transaction. Those of a consumer that no component is are not
/// retried. What one message does not allow does not keep
/// the others; what the database does not, ends it, and what was done stays done. Where `dry` is set, nothing is.
pub async fn each(
    database: &Database,
    filter: &Filter,
    act: Act,
    actor: &str,
    unattended: &[Unattended],
    dry: bool,
) -> Result<Bulk, Error> {
    let page = list(database, filter).await?;
    let mut bulk = Bulk {
        last: page.last().map(|message| message.id),
        ..Bulk::default()
    };
    let mut ids = Vec::with_capacity(page.len());
    for message in &page {
        match nobody(message, unattended).filter(|_| act == Act::Retry) {
            Some(refused) => bulk.left.push(Left {
                id: message.id,
                why: refused.to_string(),
            }),
            None => ids.push(message.id),
        }
    }
    if dry {
        bulk.done = ids.len();
        return Ok(bulk);
    }
    for ids in ids.chunks(TOGETHER) {
        let left = match together(database, ids, act, actor).await {
            Err(error) if error.is_passing() => return Err(error),
            // One of them may be the cause, or two transactions stood in each other's way.
            Err(_) => one_by_one(database, ids, act, actor).await?,
            Ok(left) => left,
        };
        bulk.done += ids.len() - left.len();
        bulk.left.extend(left);
    }
    Ok(bulk)
}

async fn together(
    database: &Database,
    ids: &[i64],
    act: Act,
    actor: &str,
) -> Result<Vec<Left>, Error> {
    let mut unit = database.unit();
    let done = async {
        lock_all(&mut unit, ids).await?;
        let mut left = Vec::new();
        for &id in ids {
            left.extend(refusal(id, within(&mut unit, act, id, actor).await)?);
        }
        Ok(left)
    };
    match done.await {
        Ok(left) => {
            unit.commit().await?;
            Ok(left)
        }
        Err(error) => {
            unit.rollback().await;
            Err(error)
        }
    }
}

async fn one_by_one(
    database: &Database,
    ids: &[i64],
    act: Act,
    actor: &str,
) -> Result<Vec<Left>, Error> {
    let mut left = Vec::new();
    for &id in ids {
        let done = match act {
            Act::Retry => retry(database, id, actor).await,
            Act::Skip => skip(database, id, actor).await,
            Act::Discard => discard(database, id, actor).await,
        };
        match refusal(id, done) {
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => left.push(Left {
                id,
                why: error.to_string(),
            }),
            Ok(refused) => left.extend(refused),
        }
    }
    Ok(left)
}

/// What the message does not allow; an error is the database's.
fn refusal(id: i64, done: Result<(), ActError>) -> Result<Option<Left>, Error> {
    match done {
        Ok(()) => Ok(None),
        Err(ActError::Delivery(error)) => Err(error),
        Err(refused) => Ok(Some(Left {
            id,
            why: refused.to_string(),
        })),
    }
}

/// What is locked for some tenths of a second.
const TOGETHER: usize = 100;
