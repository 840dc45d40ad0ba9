//! Plans that were made while a table was empty, met by a full one. Counted in rows that were read, not in time.

use std::sync::Arc;

use marquee_bus::{Error, Outgoing};
use marquee_database::{Config, Database, Secret};
use marquee_delivery::{Verdict, outbox::Relay};
use marquee_testkit::eventually;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{SOON, SOURCE, ScriptedBus, World, consume, numbered, position};

/// A host with one connection, so that whatever it keeps for a statement is kept there.
fn host_with_one_connection(world: &World) -> Database {
    let mut config = Config::new(SOURCE, Secret::new(world.url()));
    config.pool_size = 1;
    config.acquire_timeout = SOON;
    Database::new(&config).unwrap()
}

/// A relay of such a host.
struct Relaying {
    host: Database,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Relaying {
    fn start(world: &World, bus: &Arc<ScriptedBus>) -> Self {
        let host = host_with_one_connection(world);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let to: Arc<ScriptedBus> = Arc::clone(bus);
        tasks.spawn(Relay::new(host.clone(), to).run(stop.clone()));
        Self { host, stop, tasks }
    }

    /// Its sessions are over, and have reported that so many rows were deleted.
    async fn ended(self, world: &World, deleted: i64) {
        self.stop.cancel();
        self.tasks.join_all().await;
        self.host.close().await;
        drop(self.host);
        eventually(SOON, "the sessions did not report", async || {
            let reported = "select n_tup_del from pg_stat_user_tables where relid = 'marquee.outbox'::regclass";
            world.number(reported).await == deleted
        })
        .await;
    }
}

/// As a table is that was vacuumed when it was empty, and not looked at since.
async fn vacuumed_while_empty(world: &World, table: &str) {
    let mut connection = world.db.connection().await.unwrap();
    for sql in [
        format!("alter table {table} set (autovacuum_enabled = false)"),
        format!("vacuum analyze {table}"),
    ] {
        connection.batch(&sql).await.unwrap();
    }
}

/// Rows that sequential scans have read. Sessions report within a second, or at their end.
async fn read_one_by_one(world: &World, table: &str) -> i64 {
    world
        .number(&format!(
            "select seq_tup_read from pg_stat_user_tables where relid = '{table}'::regclass"
        ))
        .await
}

#[tokio::test]
async fn the_relay_reads_a_full_outbox_by_its_index_whatever_it_had_planned() {
    let world = World::new().await;
    vacuumed_while_empty(&world, "marquee.outbox").await;
    let bus = ScriptedBus::working();
    let relaying = Relaying::start(&world, &bus);
    for number in 1..=10 {
        world.publish("warm", "x").await;
        eventually(SOON, "a message was not relayed", async || {
            bus.records().len() == number
        })
        .await;
    }
    world
        .query(
            "select marquee.publish('movies', 'k' || i % 500, null, 'x') from generate_series(1, 20000) as i",
            &[],
        )
        .await;
    eventually(SOON * 6, "the outbox was not relayed", async || {
        bus.records().len() == 20_010
    })
    .await;
    relaying.ended(&world, 20_010).await;
    let read = read_one_by_one(&world, "marquee.outbox").await;
    assert!(read < 40_000, "{read} rows were read one by one");
}

#[tokio::test]
async fn what_waits_behind_a_refused_message_is_not_looked_at() {
    let world = World::new().await;
    vacuumed_while_empty(&world, "marquee.outbox").await;
    let bus = ScriptedBus::new(|_, records| {
        let judge = |one: &Outgoing| match &*one.record.key {
            "held" => Err(Error::Refused("too large".to_owned())),
            _ => Ok(()),
        };
        records.iter().map(judge).collect()
    });
    let relaying = Relaying::start(&world, &bus);
    world.publish("held", "x").await;
    let held = "select count(*) from marquee.keys where held";
    eventually(SOON, "it was not refused", async || {
        world.number(held).await == 1
    })
    .await;
    for _ in 0..20 {
        let behind =
            "select marquee.publish('movies', 'held', null, 'x') from generate_series(1, 500)";
        world.query(behind, &[]).await;
    }
    for number in 1..=50 {
        // In every shard.
        world.publish(&format!("k{number}"), "x").await;
        eventually(SOON, "a message was not relayed", async || {
            bus.records().len() == number
        })
        .await;
    }
    relaying.ended(&world, 50).await;
    let looked_at = world
        .number(
            "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relid = 'marquee.outbox'::regclass",
        )
        .await;
    assert!(looked_at < 10_000, "{looked_at} rows were looked at");
}

#[tokio::test]
async fn a_consumer_finds_its_keys_by_the_index_whatever_it_had_planned() {
    let world = World::new().await;
    for table in ["marquee.key_state", "marquee.parked", "marquee.inbox"] {
        vacuumed_while_empty(&world, table).await;
    }
    let host = host_with_one_connection(&world);
    let mut at = position(&host).await;
    let judge = |message: &marquee_delivery::Message| match message.key.as_str() {
        "slow" => Verdict::Retry("not yet".to_owned()),
        _ => Verdict::Done,
    };
    for offset in 0..10_i64 {
        let records = [
            numbered(2 * offset, "warm", offset + 1),
            numbered(2 * offset + 1, "slow", offset + 1),
        ];
        consume(&host, &mut at, &records, judge).await.unwrap();
    }
    world
        .query(
            "insert into marquee.key_state (consumer, source, topic, key, last_seq)
             select 'rating', 'metadata', 'movies', 'k' || i, 1 from generate_series(1, 50000) as i",
            &[],
        )
        .await;
    world
        .query(
            "insert into marquee.parked (consumer, source, topic, key, seq, event_id, value, reason, ordered)
             select 'rating', 'metadata', 'movies', 'k' || i, 1, gen_random_uuid(), '', 'retry', true
             from generate_series(1, 20000) as i",
            &[],
        )
        .await;
    for batch in 0..10_i64 {
        let records: Vec<_> = (0..200)
            .map(|index| {
                numbered(
                    20 + batch * 200 + index,
                    &format!("k{}", 30_000 + batch * 200 + index),
                    2,
                )
            })
            .collect();
        consume(&host, &mut at, &records, judge).await.unwrap();
    }
    host.close().await;
    drop(host);
    eventually(SOON, "the sessions did not report", async || {
        let reported =
            "select n_tup_upd from pg_stat_user_tables where relid = 'marquee.key_state'::regclass";
        world.number(reported).await >= 2_000
    })
    .await;
    for table in ["marquee.key_state", "marquee.parked"] {
        let read = read_one_by_one(&world, table).await;
        assert!(
            read < 200_000,
            "{read} rows of {table} were read one by one"
        );
    }
}
