//! What a database does just now, for people.
//!
//! Bounds: the longest twenty statements, the first thousand characters of each. Texts are as the server has them: parameters
//! are not in them. Not here: what it did before.

use serde::Serialize;

use crate::{Database, Error};

/// Of a database, and of this host's pool.
#[derive(Debug, Clone, Serialize)]
pub struct Activity {
    /// The server's version.
    pub version: String,
    /// What the database takes on its disk.
    pub size_bytes: i64,
    /// Sessions of all clients.
    pub sessions: i64,
    /// Those in a transaction that do nothing.
    pub idle_in_transaction: i64,
    /// Those that wait for a lock.
    pub waiting: i64,
    /// What is under way, the longest first.
    pub statements: Vec<Running>,
}

/// A statement that is under way.
#[derive(Debug, Clone, Serialize)]
pub struct Running {
    /// The server's process.
    pub process: i32,
    /// The client, as it calls itself.
    pub client: String,
    /// For how long, in milliseconds.
    pub for_ms: i64,
    /// What it waits for, if it does.
    pub waits_for: Option<String>,
    /// Its text.
    pub text: String,
}

impl Database {
    /// What it does now.
    pub async fn activity(&self) -> Result<Activity, Error> {
        let mut connection = self.connection().await?;
        let all = connection.query(ALL, &[]).await?;
        let running = connection.query(RUNNING, &[]).await?;
        drop(connection);
        let Some(all) = all.first() else {
            return Err(Error::Unavailable {
                database: self.name().to_owned(),
                reason: "it has no sessions".to_owned(),
            });
        };
        let statements = running.iter().map(|row| Running {
            process: row.get("process"),
            client: row.get("client"),
            for_ms: row.get("for_ms"),
            waits_for: row.get("waits_for"),
            text: row.get("text"),
        });
        Ok(Activity {
            version: all.get("version"),
            size_bytes: all.get("size_bytes"),
            sessions: all.get("sessions"),
            idle_in_transaction: all.get("idle_in_transaction"),
            waiting: all.get("waiting"),
            statements: statements.collect(),
        })
    }
}

const ALL: &str = "
select current_setting('server_version') as version, pg_database_size(current_database()) as size_bytes,
    count(*) as sessions,
    count(*) filter (where state like 'idle in transaction%') as idle_in_transaction,
    count(*) filter (where wait_event_type = 'Lock') as waiting
from pg_stat_activity where datname = current_database()";

const RUNNING: &str = "
select pid as process, coalesce(application_name, '') as client,
    greatest(0, floor(extract(epoch from clock_timestamp() - query_start) * 1000))::bigint as for_ms,
    wait_event_type || ': ' || wait_event as waits_for, left(query, 1000) as text
from pg_stat_activity
where datname = current_database() and state = 'active' and pid <> pg_backend_pid() and backend_type = 'client backend'
order by query_start limit 20";
