//! A database of the test's own with the schema in it, records as the bus hands them over, a consumer whose effects
//! are rows, and a bus that remembers and fails as told.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use marquee_bus::{BatchLimits, Bus, Incoming, Log, Outgoing, Partition, Record, Subscription};
use marquee_database::{Config, Database, Secret, Unit};
use marquee_delivery::{
    Consumer, Error, Message, Verdict,
    apply::{Opened, Stretch},
    consume::{Position, Receipt, Settled, Summary},
    retry::{self, Claimed, Due},
};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

pub(crate) const TOPIC: &str = "movies";
pub(crate) const SOURCE: &str = "metadata";
/// Longer than a test.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A database with the schema `marquee` and a table of effects.
pub(crate) struct World {
    pub(crate) db: Database,
    url: String,
    _server: Option<marquee_testkit::TestDatabase>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let server = marquee_testkit::database().await;
        let mut world = Self::at(server.url());
        world._server = Some(server);
        world.make_tables().await;
        world
    }

    /// A database on a server of the test's own, as it is.
    pub(crate) fn at(url: &str) -> Self {
        Self {
            db: open(url),
            url: url.to_owned(),
            _server: None,
        }
    }

    /// The schema, and the table of effects.
    pub(crate) async fn make_tables(&self) {
        let migrations = marquee_delivery::migrations().unwrap();
        migrations.apply(&self.db).await.unwrap();
        let mut connection = self.db.connection().await.unwrap();
        connection.batch(EFFECTS).await.unwrap();
    }

    /// The same database, as another host sees it.
    pub(crate) fn another_host(&self) -> Database {
        open(&self.url)
    }

    /// Where the database is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The same name, and nothing in it.
    pub(crate) async fn make_anew(&self) {
        let name = self.url.rsplit('/').next().unwrap();
        let mut config = Config::new(
            "postgres",
            Secret::new(self.url().replace(name, "postgres")),
        );
        config.pool_size = 1;
        let server = Database::new(&config).unwrap();
        let mut server = server.connection().await.unwrap();
        for what in ["drop", "create"] {
            let force = if what == "drop" { "with (force)" } else { "" };
            let sql = format!("{what} database {name} {force}");
            server.batch(&sql).await.unwrap();
        }
    }

    /// A host whose statements wait for 300 ms at the most.
    pub(crate) fn impatient_host(&self) -> Database {
        let mut config = Config::new(SOURCE, Secret::new(self.url()));
        config.statement_timeout = Duration::from_millis(300);
        Database::new(&config).unwrap()
    }

    pub(crate) async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Vec<tokio_postgres::Row> {
        self.db
            .connection()
            .await
            .unwrap()
            .query(sql, params)
            .await
            .unwrap()
    }

    /// The one number that a query answers.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.query(sql, &[]).await[0].get(0)
    }

    pub(crate) async fn publish(&self, key: &str, value: &str) -> i64 {
        self.query(PUBLISH, &[&TOPIC, &key, &value.as_bytes()])
            .await[0]
            .get(0)
    }

    /// Whose numbers the keys of what is published have.
    pub(crate) async fn source(&self) -> String {
        let rows = self.query("select id::text from marquee.source", &[]).await;
        rows[0].get(0)
    }

    /// The payloads that took effect, in the order of their commits.
    pub(crate) async fn effects(&self) -> Vec<String> {
        self.query("select what from effects order by id", &[])
            .await
            .iter()
            .map(|row| row.get(0))
            .collect()
    }

    /// `key`'s last_seq and parked.
    pub(crate) async fn key_state(&self, source: &str, key: &str) -> (i64, i32) {
        let rows = self
            .query(
                "select last_seq, parked from marquee.key_state where source = $1 and key = $2",
                &[&source, &key],
            )
            .await;
        rows.first().map_or((0, 0), |row| (row.get(0), row.get(1)))
    }

    /// What is kept: (payload, state, reason, attempts, whether it is due or will be).
    pub(crate) async fn kept(&self) -> Vec<(String, String, String, i32, bool)> {
        self.query(
            "select convert_from(value, 'UTF8'), state, reason, attempts, next_attempt_at is not null
             from marquee.parked order by coalesce(seq, 0), id",
            &[],
        )
        .await
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)))
        .collect()
    }

    /// Nothing has to wait for its time.
    pub(crate) async fn make_due(&self) {
        self.query(
            "update marquee.parked set next_attempt_at = now() where next_attempt_at is not null",
            &[],
        )
        .await;
    }

    /// Every key's count of parked messages is the number of those that hold it, and only the first of a key is due.
    pub(crate) async fn check(&self) {
        let wrong = self
            .query(
                "select key, source, k.parked, count(p.id)
                 from marquee.key_state k
                 full join marquee.parked p using (consumer, topic, key, source)
                 where coalesce(p.ordered, true)
                 group by key, source, k.parked
                 having coalesce(k.parked, 0) <> count(p.id)",
                &[],
            )
            .await;
        assert!(wrong.is_empty(), "counts are wrong: {wrong:?}");
        let early = self
            .number(
                "select count(*) from marquee.parked p where ordered and next_attempt_at is not null and exists (
                    select from marquee.parked q
                    where q.consumer = p.consumer and q.topic = p.topic and q.key = p.key and q.source = p.source
                        and q.ordered and (coalesce(q.seq, 0), q.id) < (coalesce(p.seq, 0), p.id))",
            )
            .await;
        assert_eq!(
            early, 0,
            "a message is due that is not the first of its key"
        );
    }

    /// Wait until a session of this database waits for a lock.
    pub(crate) async fn someone_waits(&self) {
        marquee_testkit::eventually(SOON, "no session came to wait for a lock", async || {
            self.number(WAITING).await > 0
        })
        .await;
    }

    /// Wait until none does any more.
    pub(crate) async fn nobody_waits(&self) {
        marquee_testkit::eventually(SOON, "a session still waits for a lock", async || {
            self.number(WAITING).await == 0
        })
        .await;
    }
}

const WAITING: &str = "
select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

fn open(url: &str) -> Database {
    let mut config = Config::new(SOURCE, Secret::new(url));
    config.pool_size = 24;
    config.acquire_timeout = Duration::from_secs(20);
    Database::new(&config).unwrap()
}

/// Publish in a unit.
pub(crate) async fn publish_in(unit: &mut Unit, key: &str, value: &str) -> i64 {
    unit.query(PUBLISH, &[&TOPIC, &key, &value.as_bytes()])
        .await
        .unwrap()[0]
        .get(0)
}

pub(crate) fn consumer() -> Consumer {
    Consumer::new("rating")
}

pub(crate) fn partition() -> Partition {
    Partition {
        topic: TOPIC.to_owned(),
        number: 0,
    }
}

pub(crate) fn event(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A record that came through an outbox; its payload is `key` and number.
pub(crate) fn numbered(offset: i64, key: &str, seq: i64) -> Incoming {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{key}{seq}").as_bytes());
    record(
        offset,
        key,
        &format!("{key}{seq}"),
        &[
            ("marquee-event-id", &id.to_string()),
            ("marquee-seq", &seq.to_string()),
            ("marquee-source", SOURCE),
            ("traceparent", "00-abc"),
        ],
    )
}

/// A record that somebody published without an outbox.
pub(crate) fn plain(offset: i64, key: &str, id: u128, value: &str) -> Incoming {
    record(
        offset,
        key,
        value,
        &[("marquee-event-id", &event(id).to_string())],
    )
}

pub(crate) fn record(offset: i64, key: &str, value: &str, headers: &[(&str, &str)]) -> Incoming {
    Incoming {
        offset,
        published_at_ms: 1_700_000_000_123,
        record: Record {
            key: key.to_owned(),
            value: Bytes::from(value.to_owned()),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Bytes::from((*value).to_owned())))
                .collect(),
        },
    }
}

pub(crate) async fn position(db: &Database) -> Position {
    Position::load(db, "rating", &partition()).await.unwrap()
}

/// Write an effect for each message that is done.
pub(crate) async fn apply(unit: &mut Unit, messages: &[Message], verdicts: &[Verdict]) {
    for (message, verdict) in messages.iter().zip(verdicts) {
        if *verdict == Verdict::Done {
            let what = String::from_utf8(message.value.to_vec()).unwrap();
            unit.execute("insert into effects (what) values ($1)", &[&what])
                .await
                .unwrap();
        }
    }
}

/// Go through a batch as the module's documentation says, with a component that judges each message by itself.
pub(crate) async fn consume(
    db: &Database,
    position: &mut Position,
    records: &[Incoming],
    judge: impl Fn(&Message) -> Verdict,
) -> Result<Vec<Summary>, Error> {
    let mut work = vec![records.to_vec()];
    let mut summaries = Vec::new();
    while let Some(batch) = work.pop() {
        let fresh = position.fresh(&batch);
        if fresh.is_empty() {
            continue;
        }
        let mut unit = db.unit();
        let receipt = Receipt::open(&mut unit, &consumer(), position, fresh, 1).await?;
        let messages = receipt.messages();
        let verdicts: Vec<Verdict> = messages.iter().map(&judge).collect();
        apply(&mut unit, &messages, &verdicts).await;
        match receipt.settle(&mut unit, &verdicts).await? {
            Settled::Written(summary) => {
                unit.commit().await?;
                position.advance(&summary);
                summaries.push(summary);
            }
            Settled::Split(first) => {
                unit.rollback().await;
                let (before, after) = fresh.split_at(first);
                work.push(after.to_vec());
                work.push(before.to_vec());
            }
        }
    }
    Ok(summaries)
}

/// Claim all that is due.
pub(crate) async fn claim(db: &Database) -> Vec<Claimed> {
    let mut all = Vec::new();
    while let Some(due) = retry::claim(db, &consumer(), TOPIC, LEASE).await.unwrap() {
        if let Due::Run(claimed) = due {
            all.push(claimed);
        }
    }
    all
}

/// Begin to deliver a claimed run.
pub(crate) async fn open_run(
    unit: &mut Unit,
    claimed: &Claimed,
    limit: usize,
) -> Result<Opened, Error> {
    let stretch = Stretch::Parked { claimed, limit };
    stretch.open(unit, &consumer()).await
}

/// What a claimed run would be.
pub(crate) async fn run_of(db: &Database, claimed: &Claimed) -> Vec<Message> {
    let mut unit = db.unit();
    let opened = open_run(&mut unit, claimed, claimed.most()).await.unwrap();
    let messages = opened.messages();
    unit.rollback().await;
    messages
}

/// Deliver a claimed run, of which every message is judged by itself.
pub(crate) async fn deliver_run(
    db: &Database,
    claimed: &Claimed,
    judge: impl Fn(&Message) -> Verdict,
) -> Result<Summary, Error> {
    let mut limit = claimed.most();
    loop {
        let mut unit = db.unit();
        let opened = open_run(&mut unit, claimed, limit).await?;
        let messages = opened.messages();
        let verdicts: Vec<Verdict> = messages.iter().map(&judge).collect();
        apply(&mut unit, &messages, &verdicts).await;
        match opened.settle(&mut unit, &verdicts).await? {
            Settled::Written(summary) => {
                unit.commit().await?;
                return Ok(summary);
            }
            Settled::Split(first) => {
                unit.rollback().await;
                limit = first;
            }
        }
    }
}

/// Deliver a claimed run, of which all get the same verdict.
pub(crate) async fn deliver(
    db: &Database,
    claimed: &Claimed,
    verdict: Verdict,
) -> Result<Summary, Error> {
    deliver_run(db, claimed, |_| verdict.clone()).await
}

/// What a bus is to say to the records of one call.
type Script = dyn Fn(usize, &[Outgoing]) -> Vec<Result<(), marquee_bus::Error>> + Send + Sync;

/// A bus that keeps what it acknowledged, in order, and fails as its script says. For failures that a real bus cannot
/// be told to have.
pub(crate) struct ScriptedBus {
    taken: Mutex<Vec<Outgoing>>,
    calls: AtomicUsize,
    script: Box<Script>,
}

impl ScriptedBus {
    /// The script is given the number of the call, from 0, and its records.
    pub(crate) fn new(
        script: impl Fn(usize, &[Outgoing]) -> Vec<Result<(), marquee_bus::Error>>
        + Send
        + Sync
        + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::new(Vec::new()),
            calls: AtomicUsize::new(0),
            script: Box::new(script),
        })
    }

    pub(crate) fn working() -> Arc<Self> {
        Self::new(|_, records| vec![Ok(()); records.len()])
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Payloads, in order.
    pub(crate) fn values(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        let value = |one: &Outgoing| String::from_utf8(one.record.value.to_vec()).unwrap();
        taken.iter().map(value).collect()
    }

    pub(crate) fn records(&self) -> Vec<Outgoing> {
        self.taken.lock().unwrap().clone()
    }

    /// What a consumer would read: offsets in the order of acknowledgement.
    pub(crate) fn as_read(&self) -> Vec<Incoming> {
        self.records()
            .into_iter()
            .zip(0..)
            .map(|(one, offset)| Incoming {
                offset,
                published_at_ms: 0,
                record: one.record,
            })
            .collect()
    }
}

#[async_trait]
impl Bus for ScriptedBus {
    async fn ensure_topic(&self, _: &str, partitions: i32) -> Result<i32, marquee_bus::Error> {
        Ok(partitions)
    }

    async fn publish(&self, records: Vec<Outgoing>) -> Vec<Result<(), marquee_bus::Error>> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let results = (self.script)(call, &records);
        let mut taken = self.taken.lock().unwrap();
        for (record, result) in records.into_iter().zip(&results) {
            if result.is_ok() {
                taken.push(record);
            }
        }
        results
    }

    async fn subscribe(
        &self,
        _: &str,
        _: &str,
        _: BatchLimits,
    ) -> Result<Arc<dyn Subscription>, marquee_bus::Error> {
        Err(marquee_bus::Error::Refused("only published to".to_owned()))
    }

    async fn log(&self, _: &Partition) -> Result<Log, marquee_bus::Error> {
        let end = i64::try_from(self.records().len()).unwrap();
        Ok(Log {
            id: "the log".to_owned(),
            begin: 0,
            end,
        })
    }

    async fn partitions(&self, _: &str) -> Result<i32, marquee_bus::Error> {
        Ok(1)
    }

    /// A record a millisecond.
    async fn offset_at(&self, at: &Partition, ms: i64) -> Result<i64, marquee_bus::Error> {
        Ok(ms.min(self.log(at).await?.end))
    }

    async fn ping(&self) -> Result<(), marquee_bus::Error> {
        Ok(())
    }

    fn system(&self) -> &'static str {
        "scripted"
    }

    fn describe(&self) -> String {
        "a scripted bus".to_owned()
    }

    async fn close(&self) {}
}

const EFFECTS: &str = "
create table effects (id bigint generated always as identity primary key, what text not null)";

const PUBLISH: &str = "select marquee.publish($1, $2, null, $3)";
