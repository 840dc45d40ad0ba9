//! A key that is blocked goes on: the one place where the next of its messages becomes due.

use marquee_database::{
    Unit,
    seeded::{Bug, slip},
};

use crate::Error;

/// A consumer's view of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) consumer: String,
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) source: String,
}

impl Key {
    /// So many messages less hold the key, which the caller has locked. Its numbers up to `seq` were applied, are parked
    /// or will not come. The first of the others becomes due if it was not, unless it is dead or a number before it is
    /// missing; it takes over with how many `unsettled` deliveries the one before it went alone.
    pub(crate) async fn advance(
        &self,
        unit: &mut Unit,
        removed: usize,
        seq: Option<i64>,
        unsettled: i32,
    ) -> Result<(), Error> {
        let removed = i32::try_from(removed).unwrap_or(i32::MAX);
        let advance = slip(
            Bug::UnblockForgets,
            ADVANCE,
            "next_attempt_at = now(),",
            "next_attempt_at = null,",
        );
        unit.execute(
            &advance,
            &[
                &self.consumer,
                &self.topic,
                &self.key,
                &self.source,
                &removed,
                &seq,
                &unsettled,
            ],
        )
        .await
        .map(drop)
        .map_err(Error::of_own_statement)
    }
}

/// $1 to $4 the key, $5 messages that are gone, $6 the last number that is done with, $7 what the next one takes over.
const ADVANCE: &str = "
with state as (
    select greatest(last_seq, $6) as last_seq from marquee.key_state
    where consumer = $1 and topic = $2 and key = $3 and source = $4
), head as (
    select p.id from marquee.parked p
    where p.consumer = $1 and p.topic = $2 and p.key = $3 and p.source = $4 and p.ordered
    order by coalesce(p.seq, 0), p.id limit 1
), promoted as (
    update marquee.parked p set next_attempt_at = now(), unsettled = $7
    from head h, state s
    where p.id = h.id and p.state = 'parked' and p.next_attempt_at is null
        and (p.seq is null or p.seq <= s.last_seq + 1)
    returning p.seq
)
update marquee.key_state
set parked = parked - $5, last_seq = greatest(last_seq, $6, (select seq from promoted))
where consumer = $1 and topic = $2 and key = $3 and source = $4";
