//! Whether a server keeps what it acknowledged when its machine stops.

use crate::{Database, Error};

/// The settings, as a session of this database has them, with which the server acknowledges a commit that it may
/// forget. Empty: none.
pub async fn unsafe_settings(database: &Database) -> Result<Vec<String>, Error> {
    let rows = database.connection().await?.query(UNSAFE, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

// https://www.postgresql.org/docs/current/runtime-config-wal.html
const UNSAFE: &str = "
select name from pg_settings
where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off'
order by name";
