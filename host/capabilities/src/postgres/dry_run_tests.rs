//! Dry runs on a real PostgreSQL: what a guest would send does what it would do, and nothing of it stands.

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use marquee_runtime::{
    Call, Capability as _, Discarded, DryRun, Effects, Manner, Published, Transactor as _, View,
};

use super::{
    Postgres, Transactor,
    bindings::wit,
    client::Client,
    tests::{Bench, INSERT, ONE, PUBLISH, bench, text},
    transactions_tests::{done, number},
};

/// A call of which nothing stands.
struct Rehearsed {
    client: Client,
    lent: Box<dyn Discarded>,
    dry_run: DryRun,
}

fn begun(bench: &Bench, manner: Manner) -> Rehearsed {
    let id = "notes".parse().expect("a name");
    let granted = bench.client.granted.as_deref().expect("granted").clone();
    let grants = BTreeMap::from([(id, granted)]);
    let dry_run = DryRun::default();
    let deadline = Instant::now() + Duration::from_secs(20);
    let call = Call::new("test", deadline).as_dry_run(dry_run.clone());
    let id = "notes".parse().expect("a name");
    let lent = Transactor::new(grants.clone()).discard(&id, &call, manner);
    let lent = lent.expect("it has a database");
    let client = client(grants, &call.with_unit(lent.unit()));
    Rehearsed {
        client,
        lent,
        dry_run,
    }
}

/// What a guest would have in this call.
fn client(grants: BTreeMap<marquee_manifest::ComponentId, super::Granted>, call: &Call) -> Client {
    let capability = Postgres::new(grants);
    let id = "notes".parse().expect("a name");
    let view: View = capability.view(&capability.grant(&id).expect("granted"), call);
    *view.downcast::<Client>().expect("its view")
}

impl Rehearsed {
    async fn end(self, would_stand: bool) -> Effects {
        self.lent.end(would_stand).await;
        let late = self.client.execute(ONE, INSERT, text("late")).await;
        late.expect_err("what is left of the call has no transaction");
        self.dry_run.effects()
    }
}

async fn nothing_stands(bench: &Bench) {
    for table in ["notes", "marquee.outbox", "marquee.keys"] {
        assert_eq!(bench.count(table).await, 0, "{table}");
    }
    assert_eq!(bench.pokes.load(Ordering::SeqCst), 0);
    assert_eq!(bench.left_open().await, 0);
}

const COUNT: &str = "select count(*) from notes";

#[tokio::test]
async fn statements_stand_alone_or_in_the_guests_transactions_and_then_none_does() {
    let bench = bench().await;
    let call = begun(&bench, Manner::Alone);
    let client = &call.client;
    let insert = async |note: &str| client.execute(ONE, INSERT, text(note)).await;
    assert_eq!(insert("one").await.expect("inserted"), 1);
    insert("one").await.expect_err("it is there");
    client
        .query(ONE, "select no such thing", Vec::new())
        .await
        .expect_err("it cannot be prepared");
    assert_eq!(insert("two").await.expect("alone"), 1, "each stands alone");
    done(client, ONE, "begin isolation level serializable").await;
    insert("three").await.expect("inserted");
    done(client, ONE, "rollback").await;
    assert_eq!(number(client, COUNT).await, 2);
    done(client, ONE, "begin").await;
    insert("three").await.expect("inserted");
    insert("three").await.expect_err("it is there");
    insert("four")
        .await
        .expect_err("the transaction has failed");
    done(client, ONE, "commit").await;
    assert_eq!(
        number(client, COUNT).await,
        2,
        "a failed one is rolled back"
    );
    done(client, ONE, "begin").await;
    insert("three").await.expect("inserted");
    done(client, ONE, "savepoint here").await;
    insert("four").await.expect("inserted");
    done(client, ONE, "rollback to here").await;
    client
        .query(ONE, PUBLISH, text("key"))
        .await
        .expect("published");
    done(client, ONE, "commit").await;
    done(client, ONE, "commit").await;
    assert_eq!(number(client, COUNT).await, 3);
    for refused in [
        "set search_path = other",
        "listen here",
        "copy notes from stdin",
    ] {
        let answer = client.query(ONE, refused, Vec::new()).await;
        assert!(
            matches!(answer, Err(wit::Error::QueryFailed(_))),
            "{refused}: {answer:?}"
        );
    }
    // Begun, and not ended: it would not stand.
    done(client, ONE, "begin").await;
    insert("five").await.expect("inserted");
    assert_eq!(bench.count("notes").await, 0, "nobody else sees it");

    let effects = call.end(true).await;
    let published = Published {
        topic: "topic".to_owned(),
        key: "key".to_owned(),
        headers: BTreeMap::new(),
        value: "value".into(),
    };
    assert_eq!(effects.published, [published]);
    assert!(
        effects.written["public.notes"][0] >= 3,
        "{:?}",
        effects.written
    );
    assert_eq!(effects.written.len(), 1, "{:?}", effects.written);
    nothing_stands(&bench).await;
}

#[tokio::test]
async fn a_unit_stands_whole_or_not_at_all_and_then_not() {
    let bench = bench().await;
    for stands in [true, false] {
        let call = begun(&bench, Manner::Unit);
        let client = &call.client;
        client
            .execute(ONE, INSERT, text("one"))
            .await
            .expect("inserted");
        client
            .query(ONE, "begin", Vec::new())
            .await
            .expect_err("it is one");
        client
            .query(ONE, PUBLISH, text("key"))
            .await
            .expect("published");
        let effects = call.end(stands).await;
        let expected = match stands {
            true => BTreeMap::from([("public.notes".to_owned(), [1, 0, 0])]),
            false => BTreeMap::new(),
        };
        assert_eq!(effects.written, expected);
        assert_eq!(effects.published.len(), usize::from(stands));
        nothing_stands(&bench).await;
    }
    let call = begun(&bench, Manner::Unit);
    let client = &call.client;
    for expected in [true, false, false] {
        let answer = client.execute(ONE, INSERT, text("one")).await;
        assert_eq!(answer.is_ok(), expected);
    }
    assert_eq!(call.end(true).await, Effects::default());
    nothing_stands(&bench).await;
}

#[tokio::test]
async fn a_dry_run_gives_way_to_whoever_holds_a_lock_and_holds_none_when_it_is_dropped() {
    const UPDATE: &str = "update notes set note = note";
    let bench = bench().await;
    let real = &bench.client;
    real.execute(ONE, INSERT, text("one"))
        .await
        .expect("inserted");
    done(real, ONE, "begin").await;
    done(real, ONE, UPDATE).await;
    let call = begun(&bench, Manner::Alone);
    let begun_at = Instant::now();
    let answer = call.client.execute(ONE, UPDATE, Vec::new()).await;
    answer.expect_err("it does not wait for long");
    assert!(begun_at.elapsed() < Duration::from_millis(900));
    done(real, ONE, "rollback").await;
    assert!(call.end(true).await.gave_way);

    let call = begun(&bench, Manner::Alone);
    let rows = call.client.execute(ONE, UPDATE, Vec::new()).await;
    assert_eq!(rows.expect("nobody holds it"), 1);
    // Somebody waits for it, while it computes.
    let begun_at = Instant::now();
    tokio::select! {
        rows = real.execute(ONE, UPDATE, Vec::new()) => assert_eq!(rows.expect("its turn"), 1),
        () = async { loop { call.lent.look().await } } => {}
    }
    assert!(begun_at.elapsed() < Duration::from_secs(1), "it gives way");
    let answer = call.client.execute(ONE, UPDATE, Vec::new()).await;
    answer.expect_err("its transaction is over");
    assert!(call.end(true).await.gave_way);

    let call = begun(&bench, Manner::Alone);
    let rows = call.client.execute(ONE, UPDATE, Vec::new()).await;
    assert_eq!(rows.expect("nobody holds it"), 1);
    // As a call that is given up.
    drop(call);
    let rows = real.execute(ONE, UPDATE, Vec::new()).await;
    assert_eq!(rows.expect("nobody holds it"), 1);
}

#[tokio::test]
async fn without_a_transaction_that_is_rolled_back_a_dry_run_has_no_database() {
    let bench = bench().await;
    let granted = bench.client.granted.as_deref().expect("granted").clone();
    let grants = BTreeMap::from([("notes".parse().expect("a name"), granted)]);
    let deadline = Instant::now() + Duration::from_secs(20);
    let call = Call::new("test", deadline).as_dry_run(DryRun::default());
    let answer = client(grants, &call)
        .execute(ONE, INSERT, text("one"))
        .await;
    assert!(
        matches!(answer, Err(wit::Error::ConnectionFailed(_))),
        "{answer:?}"
    );
    nothing_stands(&bench).await;
}
