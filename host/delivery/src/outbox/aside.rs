//! What the bus refuses is set aside with all that is behind it of its key, so that it costs the others nothing.
//!
//! Promise: the order of the key holds, before, meanwhile and after. The key is marked, so that what is published
//! meanwhile is set aside too, and its lock makes each change see all of its rows. Bound: a refusal moves the rows that
//! wait of its key at that moment, in one statement; the bus is asked again every [`AGAIN`] for the refused row alone.

use std::time::Duration;

use marquee_database::{CommitError, Database, Error, Unit};

use super::{
    lease::Leases,
    run::{Sent, home},
    store,
};
use crate::consume::error_text;

/// Set aside what was refused, or leave it there.
pub(crate) async fn refuse(
    database: &Database,
    leases: &Leases,
    refused: &[(Sent, String)],
) -> Result<(), Error> {
    let (again, first): (Vec<_>, Vec<_>) = refused.iter().partition(|(row, _)| row.shard < 0);
    for (row, reason) in again {
        let Some(epoch) = leases.epoch(home(row.shard)) else {
            continue;
        };
        let reason = error_text(reason);
        database
            .connection()
            .await?
            .execute(
                store::REFUSED_AGAIN,
                &[
                    &leases.owner(),
                    &row.shard,
                    &row.id,
                    &reason,
                    &epoch,
                    &AGAIN.as_secs_f64(),
                ],
            )
            .await?;
    }
    // Lost meanwhile: the new owner is told the same.
    let first: Vec<(&Sent, String, i64)> = first
        .into_iter()
        .filter_map(|(row, reason)| Some((row, error_text(reason), leases.epoch(row.shard)?)))
        .collect();
    if first.is_empty() {
        return Ok(());
    }
    let shards: Vec<i16> = first.iter().map(|(row, ..)| row.shard).collect();
    let ids: Vec<i64> = first.iter().map(|(row, ..)| row.id).collect();
    let topics: Vec<&str> = first.iter().map(|(row, ..)| row.topic.as_str()).collect();
    let keys: Vec<&str> = first.iter().map(|(row, ..)| row.key.as_str()).collect();
    let reasons: Vec<&str> = first.iter().map(|(_, reason, _)| reason.as_str()).collect();
    let epochs: Vec<i64> = first.iter().map(|(.., epoch)| *epoch).collect();
    let mut unit = database.unit();
    unit.execute(store::HOLD_KEYS, &[&topics, &keys]).await?;
    unit.execute(
        store::HOLD_ROWS,
        &[
            &leases.owner(),
            &shards,
            &ids,
            &topics,
            &keys,
            &reasons,
            &epochs,
            &AGAIN.as_secs_f64(),
        ],
    )
    .await?;
    commit(unit).await?;
    for (row, reason, _) in first {
        tracing::error!(
            database = database.name(),
            topic = row.topic,
            "the bus refuses row {} of the outbox (topic {}, key {:?}): {reason}; it is set aside with what follows of its key, see `marquee outbox`",
            row.id,
            row.topic,
            row.key
        );
    }
    Ok(())
}

/// The bus has taken what it had refused: its key goes on.
pub(crate) async fn release(database: &Database, leases: &Leases, row: &Sent) -> Result<(), Error> {
    let Some(epoch) = leases.epoch(home(row.shard)) else {
        return Ok(());
    };
    let mut unit = database.unit();
    lock_key(&mut unit, &row.topic, &row.key).await?;
    let deleted = unit
        .execute(
            store::ACKNOWLEDGED_HELD,
            &[&leases.owner(), &row.shard, &row.id, &epoch],
        )
        .await?;
    if deleted > 0 {
        release_key(&mut unit, &row.topic, &row.key).await?;
    }
    commit(unit).await
}

/// Before a change of a key's rows. A message without a key stands alone.
pub(super) async fn lock_key(unit: &mut Unit, topic: &str, key: &str) -> Result<(), Error> {
    if !key.is_empty() {
        unit.query(store::LOCK_KEY, &[&topic, &key]).await?;
    }
    Ok(())
}

/// The row that held it is gone: what stood behind it takes its place again.
pub(super) async fn release_key(unit: &mut Unit, topic: &str, key: &str) -> Result<(), Error> {
    if !key.is_empty() {
        unit.execute(store::RELEASE_ROWS, &[&topic, &key]).await?;
        unit.execute(store::RELEASE_KEY, &[&topic, &key]).await?;
    }
    Ok(())
}

async fn commit(unit: Unit) -> Result<(), Error> {
    let database = unit.database().name().to_owned();
    unit.commit().await.map_err(|error| match error {
        CommitError::RolledBack(error) => error,
        CommitError::Unknown(reason) => Error::Unavailable { database, reason },
        other => Error::Unavailable {
            database,
            reason: other.to_string(),
        },
    })
}

/// A refusal may be a configuration that somebody corrects.
const AGAIN: Duration = Duration::from_secs(30);
