//! What only the log in PostgreSQL can show: its offsets, its leases on a line that is cut.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use marquee_bus::{Bus, Error, embedded};
use marquee_testkit::{eventually, proxy};

use crate::harness::{Fixture, LEASE, PATIENCE, database, open, publish, text};

/// A host whose line to the database can be cut.
async fn behind_a_proxy(fixture: &Fixture) -> (marquee_testkit::Proxy, embedded::Embedded) {
    let config: tokio_postgres::Config = fixture.url().parse().unwrap();
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let proxy = proxy(SocketAddr::from(([127, 0, 0, 1], port))).await;
    let through = fixture
        .url()
        .replace(&format!(":{port}/"), &format!(":{}/", proxy.addr().port()));
    assert_ne!(through, fixture.url());
    let bus = open(&through).await;
    (proxy, bus)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_sees_a_hole_whoever_appends() {
    let fixture = Fixture::embedded().await;
    let buses = [open(fixture.url()).await, open(fixture.url()).await];
    let mut reader = fixture.subscribe(&buses[0]).await;
    let append = async |bus: &embedded::Embedded| {
        for _ in 0..30 {
            fixture.fill(bus, 20).await;
        }
    };
    let read = async {
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        let mut amount = 0;
        while amount < 1200 {
            let batch = reader.batch().await;
            let expected = next.entry(batch.assignment.partition.number).or_default();
            for record in &batch.records {
                assert_eq!(record.offset, *expected, "a hole");
                *expected += 1;
            }
            amount += batch.records.len();
            reader.commit(&batch).await;
        }
    };
    tokio::join!(append(&buses[0]), append(&buses[1]), read);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_fails_in_time_when_the_database_is_gone_and_works_when_it_is_back() {
    let fixture = Fixture::embedded().await;
    let (proxy, bus) = behind_a_proxy(&fixture).await;
    fixture.fill(&bus, 10).await;
    proxy.cut();
    let asked_at = std::time::Instant::now();
    let results = bus.publish(vec![fixture.record("movie", "lost")]).await;
    assert!(
        matches!(results[0], Err(Error::Unavailable(_))),
        "{results:?}"
    );
    assert!(asked_at.elapsed() < Duration::from_secs(11));
    assert!(bus.ping().await.is_err());
    proxy.heal();
    eventually(PATIENCE, "the database is back", async || {
        bus.ping().await.is_ok()
    })
    .await;
    publish(&bus, vec![fixture.record("movie", "after")]).await;
    let mut reader = fixture.subscribe(&bus).await;
    let read = reader.read(11).await;
    assert!(read.iter().any(|(_, record)| text(record) == "after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_member_drops_what_it_holds_before_another_gets_it() {
    let fixture = Fixture::embedded().await;
    let (proxy, cut_off) = behind_a_proxy(&fixture).await;
    let bus = open(fixture.url()).await;
    fixture.fill(&bus, 40).await;
    let mut first = fixture.subscribe(&cut_off).await;
    first.hold(4).await;
    let batch = first.batch().await;
    let mut second = fixture.subscribe(&bus).await;
    crate::harness::share(&mut first, &mut second, 2).await;
    proxy.cut();
    let cut_at = std::time::Instant::now();
    while !first.held.is_empty() {
        first.step().await;
    }
    assert!(cut_at.elapsed() < LEASE, "{:?}", cut_at.elapsed());
    assert!(
        second.held.len() < 4,
        "it was taken over before it was dropped"
    );
    let committed = first.subscription.commit(&batch.assignment, 1).await;
    assert!(matches!(committed, Err(Error::Fenced(_))), "{committed:?}");
    second.hold(4).await;
    // Back again, it takes part anew.
    proxy.heal();
    crate::harness::share(&mut first, &mut second, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_refused_when_another_has_the_lease_although_nobody_told_the_member() {
    let fixture = Fixture::embedded().await;
    let bus = open(fixture.url()).await;
    fixture.fill(&bus, 40).await;
    let mut reader = fixture.subscribe(&bus).await;
    let batch = reader.batch().await;
    let number = batch.assignment.partition.number;
    let database = database(fixture.url());
    let connection = || database.connection();
    // As the member that comes after its lease has run out, while this one stands still.
    let taken = connection()
        .await
        .unwrap()
        .execute(
            "update marquee_bus.leases
            set owner = gen_random_uuid(), epoch = epoch + 1, lease_until = now() + interval '1 minute'
            where partition = $1",
            &[&number],
        )
        .await;
    assert_eq!(taken.unwrap(), 1);
    let committed = reader.subscription.commit(&batch.assignment, 1).await;
    assert!(matches!(committed, Err(Error::Fenced(_))), "{committed:?}");
    let rows = connection()
        .await
        .unwrap()
        .query(
            "select committed from marquee_bus.leases where partition = $1",
            &[&number],
        )
        .await
        .unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_of_four_partitions_each_have_one() {
    let fixture = Fixture::embedded().await;
    let bus = open(fixture.url()).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(fixture.subscribe(&bus).await);
    }
    let shared = async {
        loop {
            let mut held: Vec<usize> = readers.iter().map(|reader| reader.held.len()).collect();
            held.sort_unstable();
            if held == [1, 1, 2] {
                return;
            }
            let steps = readers.iter_mut().map(|reader| Box::pin(reader.step()));
            futures::future::select_all(steps).await;
        }
    };
    tokio::time::timeout(PATIENCE, shared).await.unwrap();
}

/// Until no such host is left, the function stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_the_release_before_shares_with_one_of_this_release() {
    let fixture = Fixture::embedded().await;
    let bus = open(fixture.url()).await;
    let mut reader = fixture.subscribe(&bus).await;
    reader.hold(4).await;
    let member = uuid::Uuid::now_v7();
    let old = async {
        let client = database(fixture.url());
        let mut connection = client.connection().await.unwrap();
        let sql = "select b.partition, b.epoch from marquee_bus.topics t
                   cross join marquee_bus.beat($1, t.id, $2, '4 s', $3, $4) b where t.name = $5";
        let (mut held, mut epochs) = (Vec::<i32>::new(), Vec::<i64>::new());
        while held.len() < 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let rows = connection
                .query(
                    sql,
                    &[&fixture.group, &member, &held, &epochs, &fixture.topic],
                )
                .await
                .unwrap();
            held = rows.iter().map(|row| row.get(0)).collect();
            epochs = rows.iter().map(|row| row.get(1)).collect();
        }
        held
    };
    let new = async {
        loop {
            reader.step().await;
        }
    };
    let held = tokio::select! {
        held = tokio::time::timeout(PATIENCE, old) => held.unwrap(),
        () = new => unreachable!(),
    };
    assert_eq!(reader.held.len(), 2);
    assert!(held.iter().all(|number| !reader.held.contains_key(number)));
    // It died.
    reader.hold(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_another_host_come_without_waiting_for_a_hint() {
    let fixture = Fixture::embedded().await;
    let bus = open(fixture.url()).await;
    let mut reader = fixture.subscribe(&bus).await;
    reader.hold(4).await;
    // Appended by hand: no hint is sent.
    let client = database(fixture.url());
    let mut connection = client.connection().await.unwrap();
    let sql = "select marquee_bus.append(array[t.id], array[0], array['movie'], array[''::bytea], array['x'::bytea])
               from marquee_bus.topics t where t.name = $1";
    connection.query(sql, &[&fixture.topic]).await.unwrap();
    let read = reader.read(1).await;
    assert_eq!(text(&read[0].1), "x");
}
