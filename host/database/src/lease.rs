//! Leases: numbered parts of something (an outbox's shards, a topic's partitions), shared out evenly among the members
//! that live, on PostgreSQL's clock.
//!
//! Promise: by the database's word a part has one holder at a time, and each holding another epoch: what an older holder
//! writes late is refused where the writer compares owner and epoch. A holder believes in a lease for 70 % of its length, on
//! its own monotonic clock and from before it asked; another gets the part only after all of it. Bound: one statement a
//! call, one row a part. Not here: what a holder does before it gives a part back.

use std::time::{Duration, Instant};

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{Database, Error};

/// Where it is written. A part has owner, epoch and `lease_until`, of which the first and the last have defaults that
/// say that nobody holds it; a member has `alive_until`.
#[derive(Debug)]
pub struct Table {
    /// The table of the parts, with a row for each.
    pub parts: &'static str,
    /// The column of a part's number.
    pub part: &'static str,
    /// What its holder is told of a part beside: an expression, a bigint.
    pub told: &'static str,
    /// The table of the members.
    pub members: &'static str,
    /// The column of a member's name.
    pub member: &'static str,
    /// A member's row: columns, values and key. $1 is its name, $2 for how many seconds it lives.
    pub row: &'static str,
    /// Which rows of both tables are meant; the values are $6 and on.
    pub scope: &'static str,
}

/// One that takes part.
pub struct Member {
    name: Uuid,
    ttl: Duration,
    scope: Vec<Box<dyn ToSql + Send + Sync>>,
    beat: String,
}

/// What a member holds by the database's word.
#[derive(Debug)]
pub struct Held {
    /// By the parts' numbers.
    pub leases: Vec<Lease>,
    /// As many as there would be if all held evenly. What is above is the member's to give back.
    pub share: usize,
}

/// That a part is held.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// The part's number.
    pub part: i32,
    /// Which holding of the part it is.
    pub epoch: i64,
    /// As [`Table::told`].
    pub told: i64,
    /// To be believed until then, unless it is confirmed again.
    pub trusted_until: Instant,
}

impl Member {
    /// A member by a name that nobody else has. `ttl` is how long a lease lasts, `scope` the values of [`Table::scope`].
    pub fn new(
        table: &Table,
        scope: Vec<Box<dyn ToSql + Send + Sync>>,
        name: Uuid,
        ttl: Duration,
    ) -> Self {
        let beat = BEAT
            .replace("{parts}", table.parts)
            .replace("{part}", table.part)
            .replace("{told}", table.told)
            .replace("{members}", table.members)
            .replace("{member}", table.member)
            .replace("{row}", table.row)
            .replace("{scope}", table.scope);
        Self {
            name,
            ttl,
            scope,
            beat,
        }
    }

    /// By what name parts are held.
    pub fn name(&self) -> Uuid {
        self.name
    }

    /// How long to wait from one beat to the next. Two may fail.
    pub fn pause(&self) -> Duration {
        self.ttl / 5
    }

    /// It lives: keep what it knows to hold (parts and epochs), let go of anything else, and take what is free of its
    /// share.
    pub async fn beat(&self, database: &Database, known: &[(i32, i64)]) -> Result<Held, Error> {
        self.ask(database, self.ttl, known, true).await
    }

    /// As [`Self::beat`], and take nothing.
    pub async fn keep(&self, database: &Database, known: &[(i32, i64)]) -> Result<Held, Error> {
        self.ask(database, self.ttl, known, false).await
    }

    /// It ends: let go of everything.
    pub async fn leave(&self, database: &Database) -> Result<(), Error> {
        let left = self.ask(database, Duration::ZERO, &[], false).await;
        left.map(drop)
    }

    async fn ask(
        &self,
        database: &Database,
        ttl: Duration,
        known: &[(i32, i64)],
        take: bool,
    ) -> Result<Held, Error> {
        let trusted_until = Instant::now() + ttl.mul_f64(TRUSTED);
        let seconds = ttl.as_secs_f64();
        let (parts, epochs): (Vec<i32>, Vec<i64>) = known.iter().copied().unzip();
        let mut params: Vec<&(dyn ToSql + Sync)> =
            vec![&self.name, &seconds, &parts, &epochs, &take];
        for value in &self.scope {
            params.push(&**value);
        }
        let mut connection = database.connection().await?;
        let rows = connection.query(&self.beat, &params).await?;
        let share = rows.first().map_or(0, |row| row.get::<_, i64>(3));
        let leases = rows.iter().map(|row| Lease {
            part: row.get(0),
            epoch: row.get(1),
            told: row.get(2),
            trusted_until,
        });
        Ok(Held {
            leases: leases.collect(),
            share: usize::try_from(share).unwrap_or(0),
        })
    }
}

/// The rest is for clocks that run unevenly and for statements under way.
const TRUSTED: f64 = 0.7;

/// $1 member, $2 seconds, $3 and $4 parts and epochs that it knows, $5 whether to take what is free.
///
/// Each row of the parts is changed once at most: what is kept is known, what is taken or released is not. The member is
/// written before anything is taken, since its share counts it; and parts are taken after what is kept is locked, and
/// past what others have locked, so members never wait for each other in a circle. The first few by name have one more
/// where it does not come out even. Members that nobody has heard of for an hour are forgotten, in whatever scope.
const BEAT: &str = "
with me as (
    insert into {members} {row} do update set alive_until = excluded.alive_until
    returning 1
), forgotten as (
    delete from {members} where alive_until < now() - interval '1 hour' and {member} <> $1
), known as (
    select * from unnest($3::integer[], $4::bigint[]) as known (part, epoch)
), kept as (
    update {parts} set lease_until = now() + make_interval(secs => $2)
    where {scope} and owner = $1 and ({part}, epoch) in (select part, epoch from known)
    returning {part}::integer as part, epoch, {told} as told
), share as (
    select total / living + (earlier < total % living)::integer as most
    from (
        select (select count(*) from me) + count(*) as living, count(*) filter (where {member} < $1) as earlier
        from {members} where {scope} and {member} <> $1 and alive_until > now()
    ) as m, (
        select count(*) as total from {parts} where {scope}
    ) as p
), free as (
    select {part} as part from {parts}
    where {scope} and (owner is null or owner = $1 or lease_until <= now())
        and ({part}, epoch) not in (select part, epoch from known)
    order by {part}
    limit case when $5 then greatest(0, (select most from share) - (select count(*) from kept)) else 0 end
    for update skip locked
), taken as (
    update {parts} as p set owner = $1, epoch = p.epoch + 1, lease_until = now() + make_interval(secs => $2)
    from free where {scope} and p.{part} = free.part
    returning p.{part}::integer as part, p.epoch, {told} as told
), released as (
    update {parts} set owner = default, lease_until = default
    where {scope} and owner = $1 and ({part}, epoch) not in (select part, epoch from known)
        and {part} not in (select part from taken)
)
select part, epoch, told, (select most from share)
from (select * from kept union all select * from taken) as held
order by part";
