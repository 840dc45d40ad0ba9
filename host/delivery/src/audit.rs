//! Whether everything adds up: what the bus has, against what the consumers' databases say became of it.
//!
//! For each consumer and partition it is an identity and no estimate: every offset behind the position was applied, is a
//! duplicate, was kept, held nothing, or was lost to retention; and what was kept is still there, or has left by a door
//! that counts. All of it was written by the commits themselves, so it may be asked at any time, under load too.
//! Cost: five statements a database, over the positions and the parked messages, the blocked keys, the rows that wait in
//! the outbox, and all keys; and a question a partition to the bus.

mod outbox;
mod own;

use marquee_bus::{Bus, Partition};
use marquee_database::Database;
use serde::Serialize;
use tokio_postgres::Row;

use crate::{Error, consumers, outbox::Totals};

pub use own::{Check, CheckError};

/// What became of a partition's messages at one consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Whose.
    pub consumer: String,
    /// Of which topic.
    pub topic: String,
    /// Of which partition.
    pub partition: i32,
    /// The offset where counting began.
    pub from: i64,
    /// Everything before this offset is dealt with.
    pub position: i64,
    /// The bus's next offset; none where the bus did not answer, or there is none.
    pub end: Option<i64>,
    /// Kept since before counting began.
    pub carried: i64,
    /// Applied: at once, and after all.
    pub done: i64,
    /// Left out, since they were dealt with before.
    pub duplicates: i64,
    /// Not yet read.
    pub waiting: Option<i64>,
    /// To be retried, or waiting behind one that is.
    pub parked: i64,
    /// A person decides.
    pub dead: i64,
    /// Set aside by a person.
    pub skipped: i64,
    /// Thrown away by a person.
    pub discarded: i64,
    /// Dropped by the bus's retention before they were read.
    pub lost: i64,
    /// Offsets without a message.
    pub holes: i64,
    /// Moved past by a host of an older version, which did not count.
    pub uncounted: i64,
}

/// Something that does not add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: `rating: ratings/3`.
    pub place: String,
    /// What, with its figures.
    pub what: String,
}

/// What an audit of one database came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// By consumer, topic and partition.
    pub accounts: Vec<Account>,
    /// What became of what was published.
    pub outbox: Totals,
    /// What does not add up. Empty: all is well.
    pub findings: Vec<Finding>,
}

/// Audit a database's consumers. The bus is asked after the database, so that no position can be beyond its end.
pub async fn audit(database: &Database, bus: Option<&dyn Bus>) -> Result<Audit, Error> {
    let mut connection = database.connection().await?;
    let rows = connection.query(ACCOUNTS, &[]).await?;
    let mut audit = Audit::default();
    let mut names = Vec::new();
    for row in &rows {
        names.push(row.get("log"));
        let (account, found) = account(row);
        let place = account.place();
        let found = found.into_iter().map(|what| Finding {
            place: place.clone(),
            what,
        });
        audit.findings.extend(found);
        audit.accounts.push(account);
    }
    for row in connection.query(KEYS, &[]).await? {
        let (consumer, topic, key): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let (said, there): (i64, i64) = (row.get(3), row.get(4));
        audit.findings.push(Finding {
            place: format!("{consumer}: {topic}"),
            what: format!("messages that are said to hold key {key:?}: {said}, and there: {there}"),
        });
    }
    let (totals, found) = outbox::audit(&mut connection).await?;
    audit.outbox = totals;
    audit.findings.extend(found);
    drop(connection);
    if let Some(bus) = bus {
        audit.compare(bus, &names).await;
    }
    Ok(audit)
}

/// Take everything as it stands: what was lost or does not add up is accepted, and from now on counted from here. What
/// stays wrong in itself (a position beyond the log) stays a finding.
pub async fn accept(database: &Database, actor: &str) -> Result<(), Error> {
    let mut unit = database.unit();
    unit.execute(ACCEPT, &[&actor]).await?;
    unit.commit().await?;
    Ok(())
}

impl Audit {
    /// What is not read yet, and whether the positions are within the logs that they are kept of.
    async fn compare(&mut self, bus: &dyn Bus, names: &[Option<String>]) {
        let partition = |account: &Account| Partition {
            topic: account.topic.clone(),
            number: account.partition,
        };
        let partitions = self.accounts.iter().map(partition).collect();
        let logs = consumers::logs(Some(bus), partitions).await;
        let known = self.accounts.iter_mut().zip(names).zip(logs);
        for ((account, name), log) in known {
            let Some(log) = log else {
                continue;
            };
            let (position, end) = (account.position, log.end);
            account.end = Some(end);
            account.waiting = Some((end - position).max(0));
            let what = match name {
                Some(name) if !log.is(name) => format!(
                    "the position is {position} of log {name:?}, and the bus has log {:?}: what is in it is not read yet",
                    log.id
                ),
                _ if position > end => {
                    format!(
                        "the position is {position}, and the log ends at {end}: it is another log, or lost its end"
                    )
                }
                _ => continue,
            };
            let place = account.place();
            self.findings.push(Finding { place, what });
        }
    }
}

impl Account {
    fn place(&self) -> String {
        format!("{}: {}/{}", self.consumer, self.topic, self.partition)
    }
}

fn account(row: &Row) -> (Account, Vec<String>) {
    let number = |name| row.get::<_, i64>(name);
    let [records, kept, retried] = ["records", "kept", "retried"].map(number);
    let [from, position, holes] = ["counted_from", "position", "holes"].map(number);
    let [lost, uncounted, duplicates] = ["lost", "uncounted", "duplicates"].map(number);
    let [parked, dead, skipped, discarded] = ["parked", "dead", "skipped", "discarded"].map(number);
    let carried = number("carried");
    // Between two hosts' versions: what the older one moved past since.
    let uncounted = uncounted + position - number("counted_at");
    let mut found = Vec::new();
    let counted = from + records + holes + lost + uncounted;
    if counted != position {
        found.push(format!(
            "the position is {position}, and counted is {counted}: from {from} on messages {records}, holes {holes}, \
             lost {lost}, uncounted {uncounted}"
        ));
    }
    let there = parked + dead + skipped;
    let expected = kept + carried - retried - discarded;
    if there != expected {
        found.push(format!(
            "messages parked, dead or skipped: {there}, and expected: {expected} (kept {}, applied after all {retried}, \
             discarded {discarded})",
            kept + carried
        ));
    }
    if lost > 0 {
        found.push(format!(
            "messages that the bus's retention dropped before they were read: {lost}"
        ));
    }
    let account = Account {
        consumer: row.get("consumer"),
        topic: row.get("topic"),
        partition: row.get("partition"),
        from,
        position,
        end: None,
        carried,
        done: records - duplicates - kept + retried,
        duplicates,
        waiting: None,
        parked,
        dead,
        skipped,
        discarded,
        lost,
        holes,
        uncounted,
    };
    (account, found)
}

/// The function is in the schema, so that it is there without a host too. $1 actor.
const ACCEPT: &str = "
with done as (select marquee.recount())
insert into marquee.actions (actor, action, consumer, topic, key) select $1, 'accept', '', '', '' from done";

const ACCOUNTS: &str = "
select p.*, coalesce(l.retried, 0) as retried, coalesce(l.discarded, 0) as discarded,
    coalesce(k.parked, 0) as parked, coalesce(k.dead, 0) as dead, coalesce(k.skipped, 0) as skipped
from marquee.positions as p
left join marquee.ledger as l using (consumer, topic, partition)
left join (
    select consumer, topic, partition,
        count(*) filter (where state = 'parked') as parked,
        count(*) filter (where state = 'dead') as dead,
        count(*) filter (where state = 'skipped') as skipped
    from marquee.parked where partition is not null group by 1, 2, 3
) as k using (consumer, topic, partition)
order by consumer, topic, partition";

/// Blocked keys whose count is not what stands there; at the most twenty.
const KEYS: &str = "
select coalesce(k.consumer, p.consumer), coalesce(k.topic, p.topic), coalesce(k.key, p.key),
    coalesce(k.parked, 0)::bigint, coalesce(p.there, 0)
from (select consumer, topic, key, source, parked from marquee.key_state where parked > 0) as k
full join (
    select consumer, topic, key, source, count(*) as there
    from marquee.parked where ordered group by 1, 2, 3, 4
) as p using (consumer, topic, key, source)
where coalesce(k.parked, 0) <> coalesce(p.there, 0)
limit 20";
