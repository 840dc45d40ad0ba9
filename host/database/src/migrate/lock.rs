//! One host at a time migrates a database.
//!
//! A host that waits asks again and again and is in no transaction meanwhile: one that stood waiting in the server would hold
//! up `create index concurrently` of the host that it waits for, and each would wait for the other.

use std::time::{Duration, Instant};

use crate::{Backoff, Connection, Error};

/// Wait until no other host migrates this database. Whoever waits is told for whom.
pub(super) async fn take(connection: &mut Connection, database: &str) -> Result<(), Error> {
    connection.batch("set statement_timeout = 0").await?;
    let since = Instant::now();
    let (mut tries, mut said) = (0_u32, None::<Instant>);
    loop {
        let had = connection
            .query("select pg_try_advisory_lock($1)", &[&LOCK])
            .await?;
        if had.first().is_some_and(|row| row.get(0)) {
            return Ok(());
        }
        if said.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
            let holder = holder(connection).await?;
            let text = format!(
                "database {database}: the migrations' lock is held by {holder}; waiting until it gives it back"
            );
            // Hosts that start together wait a moment for each other: nothing to be warned of.
            if since.elapsed() >= SAID_EVERY {
                tracing::warn!(database, "{text}");
            } else {
                tracing::info!(database, "{text}");
            }
            said = Some(Instant::now());
        }
        tries = tries.saturating_add(1);
        tokio::time::sleep(AGAIN.delay(tries)).await;
    }
}

pub(super) async fn give_back(connection: &mut Connection) -> Result<(), Error> {
    connection
        .query("select pg_advisory_unlock($1)", &[&LOCK])
        .await?;
    connection.batch("reset statement_timeout").await
}

/// The session that has it, as far as this one may know.
async fn holder(connection: &mut Connection) -> Result<String, Error> {
    let rows = connection.query(HOLDER, &[&LOCK]).await?;
    Ok(match rows.first() {
        Some(row) => row.get(0),
        None => "a session that has just ended".to_owned(),
    })
}

/// One lock for all migrations of a database, whoever owns them. Two hosts that start together wait for each other.
const LOCK: i64 = 7_305_803_100_242;
/// The number of an advisory lock stands in two columns.
const HOLDER: &str = "
select concat('session ', l.pid, ' (application ', to_json(coalesce(a.application_name, '')), ' of ',
    coalesce(a.usename, 'somebody'), coalesce(' from ' || host(a.client_addr), ''),
    ', connected at ' || to_char(a.backend_start at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), ')')
from pg_locks as l left join pg_stat_activity as a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted and l.objsubid = 1
    and l.database = (select oid from pg_database where datname = current_database())
    and (l.classid::bigint << 32 | l.objid::bigint) = $1";
/// Whoever waits is told of it.
const SAID_EVERY: Duration = Duration::from_secs(5);
const AGAIN: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
