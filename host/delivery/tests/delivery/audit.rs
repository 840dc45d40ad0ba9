//! The audit: all adds up whatever became of the messages, and a term that is changed behind its back is found.

use std::sync::Arc;

use marquee_delivery::{
    Verdict,
    audit::{Audit, Check, CheckError, accept, audit},
    consume::{Place, Why},
    messages,
    outbox::{Relay, Totals, rows},
};
use marquee_testkit::eventually;
use tokio_util::sync::CancellationToken;

use crate::support::{
    SOON, ScriptedBus, World, claim, consume, deliver, numbered, plain, position,
};

async fn of(world: &World) -> Audit {
    audit(&world.db, None).await.unwrap()
}

/// Applied, parked, dead, skipped, discarded, applied after all, a duplicate, a hole and a gap.
async fn eventful() -> World {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [
        plain(0, "", 1, "applied"),
        plain(1, "p", 2, "parked"),
        plain(2, "", 3, "dead"),
        plain(3, "", 4, "skipped"),
        plain(4, "", 5, "discarded"),
        plain(5, "r", 6, "retried"),
        plain(6, "", 1, "applied"),
        numbered(7, "a", 1),
        numbered(8, "a", 1),
        numbered(9, "a", 3),
        // The bus's own marks stood at 10 and 11.
        numbered(12, "a", 3),
    ];
    consume(&world.db, &mut at, &batch, |message| {
        match &message.value[..] {
            b"parked" | b"retried" => Verdict::Retry("not yet".to_owned()),
            b"dead" | b"skipped" | b"discarded" => Verdict::Reject("never".to_owned()),
            _ => Verdict::Done,
        }
    })
    .await
    .unwrap();
    let id = async |what: &str| {
        let sql = "select id from marquee.parked where convert_from(value, 'UTF8') = $1";
        world.query(sql, &[&what]).await[0].get::<_, i64>(0)
    };
    messages::skip(&world.db, id("skipped").await, "ada")
        .await
        .unwrap();
    messages::discard(&world.db, id("discarded").await, "ada")
        .await
        .unwrap();
    world
        .query(
            "update marquee.parked set next_attempt_at = now() where convert_from(value, 'UTF8') = 'retried'",
            &[],
        )
        .await;
    for claimed in claim(&world.db).await {
        deliver(&world.db, &claimed, Verdict::Done).await.unwrap();
    }
    // What a command parks came by no partition.
    world
        .query(
            "select marquee.park('rating', 'movies', 'm', gen_random_uuid(), null, 'v', 'unknown')",
            &[],
        )
        .await;
    world
}

#[tokio::test]
async fn whatever_became_of_the_messages_it_adds_up() {
    let world = eventful().await;
    let found = of(&world).await;
    assert_eq!(found.findings, []);
    let [account] = found.accounts.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!((account.from, account.position), (0, 13));
    let figures = [
        account.done,
        account.duplicates,
        account.parked,
        account.dead,
        account.skipped,
        account.discarded,
        account.holes,
    ];
    // The redelivered 3 is a duplicate of what is parked behind the gap.
    assert_eq!(figures, [3, 3, 2, 1, 1, 1, 2]);
    assert_eq!(figures.iter().sum::<i64>(), 13);
}

#[tokio::test]
async fn each_term_that_is_changed_behind_its_back_is_found() {
    let world = eventful().await;
    let keep = "create table kept as select * from marquee.positions";
    world.query(keep, &[]).await;
    for change in [
        "position = position + 1, counted_at = counted_at + 1",
        "position = position - 1, counted_at = counted_at - 1",
        "records = records + 1",
        "holes = holes - 1",
        "lost = lost + 1",
        "counted_from = counted_from + 1",
        "kept = kept - 1",
        "carried = carried + 1",
    ] {
        world
            .query(&format!("update marquee.positions set {change}"), &[])
            .await;
        assert_ne!(of(&world).await.findings, [], "{change}");
        world
            .query("with gone as (delete from marquee.positions) select 1", &[])
            .await;
        world
            .query("insert into marquee.positions select * from kept", &[])
            .await;
        assert_eq!(of(&world).await.findings, [], "{change}, undone");
    }
    for change in [
        "delete from marquee.parked where convert_from(value, 'UTF8') = 'dead'",
        "update marquee.ledger set retried = retried + 1",
        "update marquee.ledger set discarded = discarded - 1",
        "update marquee.key_state set parked = parked + 1 where key = 'p'",
        "update marquee.key_state set parked = 0 where key = 'p'",
    ] {
        let before = of(&world).await.findings;
        world.query(change, &[]).await;
        assert_ne!(of(&world).await.findings, before, "{change}");
    }
}

#[tokio::test]
async fn what_retention_took_is_counted_and_found() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[plain(0, "", 1, "x")], |_| {
        Verdict::Done
    })
    .await
    .unwrap();
    let to = Place {
        next: 41,
        log: None,
        why: Why::Lost,
    };
    let mut at = at.set(&world.db, &to).await.unwrap();
    consume(&world.db, &mut at, &[plain(41, "", 2, "y")], |_| {
        Verdict::Done
    })
    .await
    .unwrap();
    let found = of(&world).await;
    assert_eq!(found.accounts[0].lost, 40);
    assert_eq!(found.findings.len(), 1, "{found:?}");
    assert!(
        found.findings[0]
            .what
            .ends_with("before they were read: 40")
    );
}

#[tokio::test]
async fn what_a_host_that_does_not_count_moved_past_is_said_and_no_finding() {
    let world = eventful().await;
    // As the version before moves it.
    world
        .query("update marquee.positions set position = position + 5", &[])
        .await;
    let found = of(&world).await;
    assert_eq!((found.accounts[0].uncounted, found.findings.len()), (5, 0));
    let mut at = position(&world.db).await;
    consume(&world.db, &mut at, &[plain(18, "", 9, "z")], |_| {
        Verdict::Done
    })
    .await
    .unwrap();
    let found = of(&world).await;
    assert_eq!((found.accounts[0].uncounted, found.findings.len()), (5, 0));
    // What it applied after all it did not count either: once it is gone, that is put right.
    world
        .query(
            "delete from marquee.parked where convert_from(value, 'UTF8') = 'dead'",
            &[],
        )
        .await;
    assert_eq!(of(&world).await.findings.len(), 1);
    accept(&world.db, "ada").await.unwrap();
    assert_eq!(of(&world).await.findings, []);
    let by = "select actor from marquee.actions where action = 'accept'";
    assert_eq!(world.query(by, &[]).await[0].get::<_, &str>(0), "ada");
    // And from there on it counts.
    world.make_due().await;
    for claimed in claim(&world.db).await {
        deliver(&world.db, &claimed, Verdict::Done).await.unwrap();
    }
    consume(&world.db, &mut at, &[plain(19, "", 10, "more")], |_| {
        Verdict::Done
    })
    .await
    .unwrap();
    let found = of(&world).await;
    assert_eq!(found.findings, []);
    let account = &found.accounts[0];
    assert_eq!((account.from, account.carried, account.done), (19, 3, 2));
}

#[tokio::test]
async fn rows_that_wait_behind_nothing_are_found() {
    let world = World::new().await;
    world.publish("a", "a1").await;
    world.publish("a", "a2").await;
    world
        .query("update marquee.outbox set shard = -1 - shard", &[])
        .await;
    let found = of(&world).await;
    assert_eq!(found.findings.len(), 1, "{found:?}");
    assert!(found.findings[0].what.contains("2 rows of key \"a\""));
    let refuse = "update marquee.outbox set refused = 'too large', retry_at = now() where id = (select min(id) from marquee.outbox)";
    world.query(refuse, &[]).await;
    assert_eq!(of(&world).await.findings, []);
}

#[tokio::test]
async fn a_row_that_is_missing_in_the_outbox_is_found() {
    let world = World::new().await;
    for what in ["a1", "a2", "a3"] {
        world.publish("a", what).await;
    }
    world.publish("b", "b1").await;
    world.publish("", "without a number").await;
    // Of these keys: that numbers are missing as a whole is another finding.
    let of_keys = async || {
        let found = of(&world).await.findings.into_iter();
        let found = found.filter(|it| it.place == "outbox: movies");
        found.collect::<Vec<_>>()
    };
    world
        .query("create table kept as select * from marquee.outbox", &[])
        .await;
    assert_eq!(of(&world).await.findings, []);
    for change in [
        "delete from marquee.outbox where key = 'a' and seq = 2",
        "delete from marquee.outbox where key = 'a' and seq = 3",
        "update marquee.outbox set seq = 3 where key = 'a' and seq = 2",
        "update marquee.outbox set seq = 4 where key = 'a' and seq = 3",
        "update marquee.outbox set seq = 2 where key = 'b'",
    ] {
        world.query(change, &[]).await;
        let found = of_keys().await;
        assert_eq!(found.len(), 1, "{change}: {found:?}");
        world
            .query("with gone as (delete from marquee.outbox) select 1", &[])
            .await;
        let back = "insert into marquee.outbox overriding system value select * from kept";
        world.query(back, &[]).await;
    }
    for (change, findings) in [
        // The relay's way: from the front.
        ("delete from marquee.outbox where key = 'a' and seq = 1", 0),
        // Under a new source keys begin anew, beside what waits of the one before.
        ("select marquee.renew_source()", 0),
        ("select marquee.publish('movies', 'a', '{}', 'new')", 0),
        ("update marquee.keys set last_seq = 2 where key = 'a'", 1),
    ] {
        world.query(change, &[]).await;
        assert_eq!(of_keys().await.len(), findings, "{change}");
    }
}

/// Relays until `work` is done.
async fn relaying(world: &World, bus: Arc<ScriptedBus>, work: impl Future<Output = ()>) {
    let stop = CancellationToken::new();
    let relay = Relay::new(world.another_host(), bus).run(stop.clone());
    futures::join!(relay, async {
        work.await;
        stop.cancel();
    });
}

/// Relayed, discarded and waiting rows, with numbers and without.
async fn relayed() -> World {
    let world = World::new().await;
    let bus = ScriptedBus::new(|_, records| {
        let answer = |one: &marquee_bus::Outgoing| match &one.record.value[..] {
            b"large" => Err(marquee_bus::Error::Refused("too large".to_owned())),
            b"later" => Err(marquee_bus::Error::Unavailable("away".to_owned())),
            _ => Ok(()),
        };
        records.iter().map(answer).collect()
    });
    for (key, value) in [
        ("a", "1"),
        ("a", "2"),
        ("", "3"),
        ("b", "large"),
        ("b", "4"),
        ("c", "later"),
        ("d", "large"),
        ("d", "5"),
    ] {
        world.publish(key, value).await;
    }
    relaying(&world, bus, async {
    let is = async |sql: &str, wanted: i64| {
        eventually(SOON, sql, async || world.number(sql).await == wanted).await;
    };
    is(
        "select count(*) from marquee.outbox where refused is not null",
        2,
    )
    .await;
    // The one is thrown away, the other gets through when the bus is asked again.
    let large = "select id from marquee.outbox where refused is not null and key = 'b'";
    let large = world.number(large).await;
    rows::discard(&world.db, large, "ada").await.unwrap();
    world
        .query("update marquee.outbox set value = 'small', retry_at = now() where key = 'd' and refused is not null", &[])
        .await;
    is("select count(*) from marquee.outbox", 1).await;
    })
    .await;
    world
}

#[tokio::test]
async fn what_left_the_outbox_is_counted_and_what_left_it_otherwise_is_found() {
    let world = relayed().await;
    let found = of(&world).await;
    assert_eq!(found.findings, []);
    let totals = Totals {
        published: 8,
        relayed: 6,
        waiting: 1,
        refused: 0,
        discarded: 1,
        uncounted: false,
    };
    assert_eq!(found.outbox, totals);
    let overview = rows::overview(&world.db).await.unwrap();
    assert_eq!(overview.totals, totals);
    world
        .query(
            "create table kept as select * from marquee.outbox_ledger",
            &[],
        )
        .await;
    for change in [
        "numbered = numbered + 1",
        "carried = carried - 1",
        "source = ''",
    ] {
        world
            .query(&format!("update marquee.outbox_ledger set {change}"), &[])
            .await;
        let found = of(&world).await.findings;
        assert_eq!(found.len(), 1, "{change}: {found:?}");
        assert_eq!(found[0].place, "outbox", "{change}");
        world
            .query(
                "with gone as (delete from marquee.outbox_ledger) select 1",
                &[],
            )
            .await;
        world
            .query("insert into marquee.outbox_ledger select * from kept", &[])
            .await;
        assert_eq!(of(&world).await.findings, [], "{change}, undone");
    }
    // All of a key, so that nothing of it that waits has a gap.
    world
        .query("delete from marquee.outbox where key = 'c'", &[])
        .await;
    let found = of(&world).await.findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].what.contains("given out: 7; ") && found[0].what.ends_with("discarded: 6"),
        "{found:?}"
    );
    accept(&world.db, "ada").await.unwrap();
    assert_eq!(of(&world).await.findings, []);
}

#[tokio::test]
async fn under_a_new_source_numbers_are_counted_anew() {
    let world = relayed().await;
    world.publish("a", "old").await;
    world.query("select marquee.renew_source()", &[]).await;
    world.publish("a", "new").await;
    assert_eq!(of(&world).await.findings, []);
    relaying(&world, ScriptedBus::working(), async {
        eventually(SOON, "all is relayed", async || {
            world.number("select count(*) from marquee.outbox").await == 0
        })
        .await;
    })
    .await;
    let found = of(&world).await;
    assert_eq!(found.findings, []);
    assert_eq!((found.outbox.published, found.outbox.relayed), (10, 9));
    world.query("delete from marquee.outbox_ledger", &[]).await;
    assert!(of(&world).await.findings[0].what.contains("given out: 1; "));
}

#[tokio::test]
async fn beside_a_relay_that_does_not_count_nothing_is_compared() {
    let world = relayed().await;
    for sql in [
        "insert into marquee.relays (owner, alive_until, version) values (gen_random_uuid(), now() + interval '1 hour', 2)",
        "update marquee.shards set owner = (select owner from marquee.relays where version = 2) where shard = 3",
        // As it does.
        "delete from marquee.outbox where key = 'c'",
    ] {
        world.query(sql, &[]).await;
    }
    let found = of(&world).await;
    assert_eq!(found.findings, []);
    assert!(found.outbox.uncounted);
    // It is still there, and so is the mark.
    accept(&world.db, "ada").await.unwrap();
    assert!(of(&world).await.outbox.uncounted);
    world
        .query(
            "update marquee.shards set owner = null where shard = 3",
            &[],
        )
        .await;
    accept(&world.db, "ada").await.unwrap();
    let found = of(&world).await;
    assert_eq!((found.findings.len(), found.outbox.uncounted), (0, false));
    world
        .query(
            "update marquee.outbox_ledger set numbered = numbered + 1",
            &[],
        )
        .await;
    assert_eq!(of(&world).await.findings.len(), 1);
}

async fn own(world: &World, sql: &str) -> Vec<String> {
    let check = Check::new("own.sql".to_owned(), sql).unwrap();
    let found = check.findings(&world.db).await.unwrap();
    found
        .into_iter()
        .map(|it| format!("{}: {}", it.place, it.what))
        .collect()
}

#[tokio::test]
async fn each_row_of_an_applications_own_query_is_a_finding() {
    let world = World::new().await;
    assert_eq!(own(&world, "select 1 as one where false;\n").await, [""; 0]);
    let sql = "-- two\nwith pair as (values (1, null), (2, 'x'))\nselect column1 as \"left\", column2 from pair order by 1; -- done";
    let verified = Check::new("own.sql".to_owned(), sql).unwrap();
    assert!(
        verified.verify(&world.db).await.is_err(),
        "what stands behind the semicolon"
    );
    assert_eq!(
        own(&world, sql.strip_suffix(" -- done").unwrap()).await,
        [
            "own.sql: left: 1, column2: null",
            "own.sql: left: 2, column2: x"
        ]
    );
    let many = own(&world, "select * from generate_series(1, 150) as n").await;
    assert_eq!(many.len(), 101);
    assert_eq!(many[100], "own.sql: 150 rows differ; 100 are listed");
    let endless = own(&world, "select * from generate_series(1, 1000000) as n").await;
    assert_eq!(
        endless[100],
        "own.sql: more than 10000 rows differ; 100 are listed"
    );
    let failed = own(&world, "select 1 / 0 as nothing").await;
    assert!(
        failed[0].starts_with("own.sql: the query failed: "),
        "{failed:?}"
    );
    assert!(failed[0].contains("division by zero"), "{failed:?}");
}

#[tokio::test]
async fn an_applications_own_query_only_reads() {
    let world = World::new().await;
    world.query("create table counters (n integer)", &[]).await;
    world
        .query("create function count_up() returns integer language sql as 'insert into counters values (1) returning n'", &[])
        .await;
    for sql in ["", "  \n-- select 1\n\n"] {
        let refused = Check::new("own.sql".to_owned(), sql);
        assert!(matches!(refused, Err(CheckError::Empty(_))), "{sql:?}");
    }
    for sql in [
        "select from nowhere",
        "select 1; select 2",
        "select 1) as x; drop table counters; select * from (select 1",
        "insert into counters values (1) returning n",
        "with made as (insert into counters values (1) returning n) select n from made",
        "select n from counters for update",
        "select $1::integer",
        "commit",
        "vacuum",
    ] {
        let check = Check::new("own.sql".to_owned(), sql).unwrap();
        let refused = check.verify(&world.db).await;
        assert!(matches!(refused, Err(CheckError::Refused { .. })), "{sql}");
    }
    // What a function does is seen when it runs.
    let sql = "select count_up()";
    let check = Check::new("own.sql".to_owned(), sql).unwrap();
    check.verify(&world.db).await.unwrap();
    let found = own(&world, sql).await;
    assert!(found[0].contains("read-only transaction"), "{found:?}");
    assert_eq!(world.number("select count(*) from counters").await, 0);
}
