//! What was sent, against what took effect.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use anyhow::bail;
use marquee_bus::{embedded, kafka};
use marquee_database::{Config, Database, Secret};
use marquee_delivery::audit::audit;
use tokio_postgres::Client;

use super::{PATIENCE, load::Sent, stage::Stage};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    acknowledged: usize,
    unknown: usize,
    applied: usize,
    lost: usize,
    doubled: usize,
    out_of_order: usize,
    miscounted: i64,
    left: i64,
    /// What the audit says, and where something is lost or doubled.
    pub(super) findings: Vec<String>,
}

impl Found {
    pub(super) fn holds(&self) -> bool {
        let wrong = self.lost + self.doubled + self.out_of_order;
        wrong == 0 && self.miscounted == 0 && self.left == 0 && self.findings.is_empty()
    }

    /// One thing that is wrong, where there is any.
    pub(super) fn first(&self) -> Option<String> {
        let figure = |number: i64, what: &str| (number != 0).then(|| format!("{number} {what}"));
        self.findings
            .first()
            .cloned()
            .or_else(|| figure(self.miscounted, "keys have a wrong total"))
            .or_else(|| figure(self.left, "events are not read, under way, parked or dead"))
    }

    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let row = |name: &str, figure: String| (name.to_owned(), figure);
        vec![
            row("events acknowledged", self.acknowledged.to_string()),
            row(
                "events without an answer, or refused",
                self.unknown.to_string(),
            ),
            row("events applied", self.applied.to_string()),
            row("acknowledged events lost", self.lost.to_string()),
            row("events applied twice", self.doubled.to_string()),
            row(
                "events out of the order of their key",
                self.out_of_order.to_string(),
            ),
            row("keys whose total is wrong", self.miscounted.to_string()),
            row(
                "events not read, under way, parked or dead",
                self.left.to_string(),
            ),
            row("findings of the audit", self.findings.len().to_string()),
        ]
    }
}

/// What can be seen to be wrong while it goes on.
pub(super) async fn so_far(stage: &Stage) -> anyhow::Result<()> {
    let client = stage.connect("counter").await?;
    client.batch_execute(ANALYZE).await?;
    let found = client.query(SO_FAR, &[]).await?;
    match found.first() {
        Some(row) => bail!("{}: {}", row.get::<_, String>(0), row.get::<_, String>(1)),
        None => Ok(()),
    }
}

/// Wait until nothing is under way, and compare.
pub(super) async fn proved(stage: &Stage, sent: &BTreeMap<String, Sent>) -> anyhow::Result<Found> {
    let client = &stage.connect("counter").await?;
    client.batch_execute(ANALYZE).await?;
    let url = |name: &str| Secret::new(stage.postgres.url(name));
    let database = Database::new(&Config::new("counter", url("counter")))?;
    let bus: Box<dyn marquee_bus::Bus> = match stage.brokers() {
        Some(brokers) => Box::new(kafka::Kafka::new(kafka::Config::new(brokers))?),
        None => {
            let bus = Database::new(&Config::new("bus", url("bus")))?;
            Box::new(embedded::Embedded::open(bus, embedded::Config::default()).await?)
        }
    };
    let begun = Instant::now();
    let mut found = Found::default();
    let audit = loop {
        let last = number(client, LAST).await?;
        let audit = audit(&database, Some(&*bus)).await?;
        let unread: i64 = audit.accounts.iter().filter_map(|it| it.waiting).sum();
        found.left = unread + number(client, LEFT).await?;
        let all = usize::try_from(last).unwrap_or_default() == sent.len();
        if (all && found.left == 0) || begun.elapsed() > PATIENCE {
            break audit;
        }
        tokio::time::sleep(LOOK).await;
    };
    let mut seen: HashMap<String, Vec<String>> = HashMap::new();
    for row in client
        .query("select key, tag from seen order by id", &[])
        .await?
    {
        seen.entry(row.get(0)).or_default().push(row.get(1));
        found.applied += 1;
    }
    for (key, sent) in sent {
        let seen = seen.remove(key).unwrap_or_default();
        compare(key, sent, &seen, &mut found);
    }
    for key in seen.keys() {
        found.findings.push(format!("{key}: nobody sent that"));
    }
    found.miscounted = number(client, MISCOUNTED).await?;
    for row in client.query(ORDER, &[]).await? {
        found.out_of_order += 1;
        let (key, number): (String, i64) = (row.get(0), row.get(1));
        let text = format!("{key}: number {number} was applied behind a later one");
        found.findings.push(text);
    }
    let rows = client.query(OUTBOX, &[]).await?;
    found.findings.extend(rows.iter().map(|row| {
        let (key, number): (String, i64) = (row.get(0), row.get(1));
        format!("{key}: number {number} was committed with its row, and is not applied once")
    }));
    let said = audit
        .findings
        .iter()
        .map(|it| format!("audit: {}: {}", it.place, it.what));
    found.findings.extend(said);
    Ok(found)
}

/// Acknowledged ones once and in the order in which they were sent, others at the most once: what nobody answered may have
/// been under way while the next was sent.
fn compare(key: &str, sent: &Sent, seen: &[String], found: &mut Found) {
    let acknowledged: HashMap<&str, usize> = sent
        .tags
        .iter()
        .enumerate()
        .filter(|(_, (_, acknowledged))| *acknowledged)
        .map(|(at, (tag, _))| (tag.as_str(), at))
        .collect();
    let mut times: HashMap<&str, usize> = HashMap::new();
    let mut last = None;
    for tag in seen {
        let again = times.entry(tag).or_default();
        *again += 1;
        let at = acknowledged.get(tag.as_str()).copied();
        if *again > 1 {
            found.doubled += 1;
            found
                .findings
                .push(format!("{key}: {tag} was applied {again} times"));
        } else if at.is_some() && at < last {
            found.out_of_order += 1;
            found
                .findings
                .push(format!("{key}: {tag} was applied behind a later one"));
        }
        last = last.max(at);
    }
    for (tag, acknowledged) in &sent.tags {
        found.acknowledged += usize::from(*acknowledged);
        found.unknown += usize::from(!acknowledged);
        if *acknowledged && !times.contains_key(tag.as_str()) {
            found.lost += 1;
            found
                .findings
                .push(format!("{key}: {tag} was acknowledged, and never applied"));
        }
    }
}

async fn number(client: &Client, sql: &str) -> anyhow::Result<i64> {
    Ok(client.query_one(sql, &[]).await?.get(0))
}

const LOOK: Duration = Duration::from_millis(200);

const LAST: &str = "select count(distinct key) from seen where tag like 'last-%'";

const LEFT: &str =
    "select (select count(*) from marquee.outbox) + (select count(*) from marquee.parked)";

const MISCOUNTED: &str = "
select count(*)
from counters as c
full join (select key, count(*) as total from seen group by key) as s using (key)
where (c.total, c.sum) is distinct from (s.total, s.total::bigint)";

/// A server that was killed has forgotten what changed, and does not analyze by itself. Of two columns together it believes
/// that few rows agree; by nested loops, the joins take minutes.
const ANALYZE: &str = "set enable_nestloop = off; analyze published, seen";

/// What was published with a row: the row is the truth, whatever the client heard.
const OUTBOX: &str = "
select p.key, p.number
from published as p
left join (select key, tag, count(*) as times from seen group by 1, 2) as s using (key, tag)
where s.times is distinct from 1
limit 20";

/// What is applied twice, what is missing below a number that is applied or came, and what is dead: in one snapshot.
const SO_FAR: &str = "
select key, tag || ' was applied ' || count(*) || ' times' as what
from seen group by key, tag having count(*) > 1
union all
select p.key, 'number ' || p.number || ' is not applied, and number ' || l.last || ' is'
from published as p
join (select key, max(number) as last from seen join published using (key, tag) group by key) as l using (key)
left join seen as s using (key, tag)
where p.number < l.last and s.tag is null
union all
select key, 'number ' || coalesce(seq::text, '') || ' is ' || state || ': ' || reason || coalesce(', ' || error, '')
from marquee.parked where state = 'dead' or reason = 'gap'
limit 1";

/// Their numbers are the order of their commits.
const ORDER: &str = "
select key, number
from (
    select s.key, p.number, lag(p.number) over (partition by s.key order by s.id) as before
    from seen as s join published as p using (key, tag)
) as numbered
where number < before
limit 20";
