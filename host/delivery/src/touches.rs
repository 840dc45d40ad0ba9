//! What was touched in a database (`marquee.touch`), for a host that keeps answers which are about it.
//!
//! Promise: each look finds all that was committed between the look before and this one, in whatever order transactions
//! commit: it asks for the rows that the snapshot before did not see. A look that does not know says so. Bound: 5,000 tags
//! a look. Other hosts are told by NOTIFY to look at once, after the commit and on a connection of the host's own, since
//! NOTIFY holds a lock of the whole server when it commits; nothing rests on it.

use marquee_database::Database;

use crate::Error;

/// A host's place among the touches of one database.
pub struct Touches {
    database: Database,
    /// The snapshot of the last look. None: nothing is known of what was before.
    seen: Option<String>,
}

/// What was touched since the look before.
#[derive(Debug, PartialEq, Eq)]
pub enum Touched {
    /// This.
    Tags(Vec<String>),
    /// Nobody knows: it is the first look, one before it failed, there were too many, or the database is another one.
    Unknown,
}

impl Touches {
    /// The first look finds nothing, and says so.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            seen: None,
        }
    }

    /// What was touched since the look before. One that fails or is dropped is lost, and the next says so.
    pub async fn look(&mut self) -> Result<Touched, Error> {
        let before = self.seen.take();
        let mut connection = self.database.connection().await?;
        let rows = connection.query(LOOK, &[&before, &(TAGS + 1)]).await?;
        let Some(row) = rows.first() else {
            return Ok(Touched::Unknown);
        };
        let (snapshot, is_later, tags): (String, bool, Vec<String>) =
            (row.get(0), row.get(1), row.get(2));
        self.seen = Some(snapshot);
        let is_all = i64::try_from(tags.len()).is_ok_and(|tags| tags <= TAGS);
        Ok(match before {
            Some(_) if is_later && is_all => Touched::Tags(tags),
            _ => Touched::Unknown,
        })
    }

    /// Tell other hosts to look.
    pub async fn tell(&self) -> Result<(), Error> {
        let mut connection = self.database.connection().await?;
        connection.execute(TELL, &[&CHANNEL]).await?;
        Ok(())
    }
}

/// Where hosts tell each other.
pub const CHANNEL: &str = "marquee.touches";
/// More at once, and all that is kept goes.
const TAGS: i64 = 5_000;

/// $1 the snapshot of the look before, $2 how many. The snapshot; whether it is later than the one before, which it is not
/// in a database that was restored from an older copy; what the one before did not see.
const LOOK: &str = "
select s.now::text,
    coalesce(pg_snapshot_xmax(s.now) >= pg_snapshot_xmax(s.before), false),
    array(
        select distinct t.tag
        from marquee.touches as t
        where t.xid >= pg_snapshot_xmin(s.before) and not pg_visible_in_snapshot(t.xid, s.before)
        limit $2
    )
from (select pg_current_snapshot() as now, $1::text::pg_snapshot as before) as s";

const TELL: &str = "select pg_notify($1, '')";

/// Old rows: nobody's last look is so long ago, since nothing is kept for as long.
pub(crate) const SWEEP: &str = "
delete from marquee.touches where ctid = any (array(
    select ctid from marquee.touches where touched_at < now() - interval '10 minutes'
    order by xid limit $1 for update skip locked
))";
