//! The statements of `store`, on a real PostgreSQL with the host's schema and the service's.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is a failed test"
)]

use std::{collections::BTreeMap, path::Path};

use marquee_database::{Config, Connection, Database, Migrations, Secret};
use rating::{
    domain::{Change, Event, PageQuery, Position, Record, newest},
    store,
};
use uuid::Uuid;

struct Fixture {
    database: Database,
    // Dropped last: the connections must be gone before the database is.
    _server: marquee_testkit::TestDatabase,
}

impl Fixture {
    async fn new() -> Self {
        let server = marquee_testkit::database().await;
        let config = Config::new("rating", Secret::new(server.url()));
        let database = Database::new(&config).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/rating");
        let own = Migrations::from_folder("rating", &folder).unwrap();
        for migrations in [marquee_delivery::migrations().unwrap(), own] {
            migrations.apply(&database).await.unwrap();
        }
        Self {
            database,
            _server: server,
        }
    }

    async fn connection(&self) -> Connection {
        self.database.connection().await.unwrap()
    }

    async fn know(&self, ids: &[&str]) {
        let kinds = vec!["movie"; ids.len()];
        let mut connection = self.connection().await;
        connection
            .query(store::KNOW, &[&kinds, &ids])
            .await
            .unwrap();
    }

    async fn apply(&self, events: &[Event]) -> Vec<String> {
        apply(&mut self.connection().await, events).await
    }

    /// What came of it; where the record is not known, nothing.
    async fn submit(&self, event: &Event) -> &'static str {
        let value = event.value().map(i32::from);
        let rows = self
            .connection()
            .await
            .query(
                store::SUBMIT,
                &[
                    &event.id(),
                    &event.record().kind(),
                    &event.record().id(),
                    &event.user(),
                    &value,
                    &event.occurred_at_us().cast_signed(),
                ],
            )
            .await
            .unwrap();
        match rows.first().map(|row| row.get::<_, bool>(0)) {
            Some(true) => "applied",
            Some(false) => "duplicate",
            None => "unknown",
        }
    }

    /// Sum and count.
    async fn aggregate(&self, id: &str) -> Option<(i64, i64)> {
        let mut connection = self.connection().await;
        let rows = connection
            .query(store::AGGREGATE, &[&"movie", &id])
            .await
            .unwrap();
        rows.first().map(|row| (row.get(0), row.get(1)))
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.connection().await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The aggregates are what the ratings come to, by the books.
    async fn check_books(&self) {
        let wrong = self
            .texts(
                "select a.record_id from aggregated_ratings as a
                left join ratings as r using (record_type, record_id)
                group by a.record_type, a.record_id
                having a.rating_sum <> coalesce(sum(r.value), 0) or a.rating_count <> count(r.value)",
            )
            .await;
        assert_eq!(wrong, Vec::<String>::new());
    }
}

async fn apply(connection: &mut Connection, events: &[Event]) -> Vec<String> {
    let events = newest(events);
    let kinds: Vec<_> = events.iter().map(|event| event.record().kind()).collect();
    let ids: Vec<_> = events.iter().map(|event| event.record().id()).collect();
    let users: Vec<_> = events.iter().map(|event| event.user()).collect();
    let values: Vec<_> = events
        .iter()
        .map(|event| event.value().map(i32::from))
        .collect();
    let times: Vec<_> = events
        .iter()
        .map(|event| event.occurred_at_us().cast_signed())
        .collect();
    let event_ids: Vec<_> = events.iter().map(|event| event.id().to_string()).collect();
    let rows = connection
        .query(
            store::APPLY,
            &[&kinds, &ids, &users, &values, &times, &event_ids],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(1)).collect()
}

fn put(id: u128, record: &str, user: &str, value: u8, at: u64) -> Event {
    event(id, record, user, Change::Put(value), at)
}

fn delete(id: u128, record: &str, user: &str, at: u64) -> Event {
    event(id, record, user, Change::Delete, at)
}

fn event(id: u128, record: &str, user: &str, change: Change, at: u64) -> Event {
    let id = Uuid::from_u128(id).to_string();
    Event::parse(&id, "movie", record, user, change, at).unwrap()
}

mod batches {
    use super::*;

    #[tokio::test]
    async fn a_movie_that_becomes_known_again_keeps_its_ratings() {
        let fixture = Fixture::new().await;
        fixture.know(&["a", "b", "a"]).await;
        fixture.apply(&[put(1, "a", "u", 7, 1)]).await;
        fixture.know(&["a", "c"]).await;
        assert_eq!(fixture.aggregate("a").await, Some((7, 1)));
        assert_eq!(fixture.aggregate("c").await, Some((0, 0)));
        assert_eq!(fixture.aggregate("x").await, None);
    }

    #[tokio::test]
    async fn a_second_rating_of_a_user_replaces_the_first() {
        let fixture = Fixture::new().await;
        fixture.know(&["a"]).await;
        fixture
            .apply(&[put(1, "a", "u", 7, 1), put(2, "a", "v", 2, 1)])
            .await;
        assert_eq!(fixture.aggregate("a").await, Some((9, 2)));
        fixture.apply(&[put(3, "a", "u", 10, 2)]).await;
        assert_eq!(fixture.aggregate("a").await, Some((12, 2)));
        fixture.check_books().await;
    }

    #[tokio::test]
    async fn what_is_stale_or_comes_again_changes_nothing() {
        let fixture = Fixture::new().await;
        fixture.know(&["a"]).await;
        let standing = put(5, "a", "u", 7, 10);
        fixture.apply(std::slice::from_ref(&standing)).await;
        for event in [
            put(6, "a", "u", 1, 9),
            delete(7, "a", "u", 9),
            put(4, "a", "u", 1, 10),
            standing,
        ] {
            fixture.apply(std::slice::from_ref(&event)).await;
            assert_eq!(fixture.aggregate("a").await, Some((7, 1)), "{event:?}");
        }
        fixture.apply(&[put(6, "a", "u", 1, 10)]).await;
        assert_eq!(fixture.aggregate("a").await, Some((1, 1)));
    }

    #[tokio::test]
    async fn a_delete_takes_the_rating_away_and_outlives_a_stale_put() {
        let fixture = Fixture::new().await;
        fixture.know(&["a", "b"]).await;
        fixture.apply(&[put(1, "a", "u", 7, 1)]).await;
        fixture
            .apply(&[delete(2, "a", "u", 5), delete(3, "b", "u", 5)])
            .await;
        assert_eq!(fixture.aggregate("a").await, Some((0, 0)));
        fixture
            .apply(&[put(4, "a", "u", 9, 4), put(5, "b", "u", 9, 4)])
            .await;
        assert_eq!(fixture.aggregate("a").await, Some((0, 0)));
        assert_eq!(fixture.aggregate("b").await, Some((0, 0)));
        fixture.apply(&[delete(6, "a", "u", 6)]).await;
        fixture.apply(&[put(7, "a", "u", 9, 7)]).await;
        assert_eq!(fixture.aggregate("a").await, Some((9, 1)));
        fixture.check_books().await;
    }

    #[tokio::test]
    async fn a_record_that_is_not_known_is_named_and_the_others_are_applied() {
        let fixture = Fixture::new().await;
        fixture.know(&["a"]).await;
        let unknown = fixture
            .apply(&[
                put(1, "a", "u", 7, 1),
                put(2, "x", "u", 7, 1),
                put(3, "x", "v", 7, 1),
            ])
            .await;
        assert_eq!(unknown, ["x"]);
        assert_eq!(fixture.aggregate("a").await, Some((7, 1)));
        assert_eq!(fixture.aggregate("x").await, None);
        let rows = fixture.texts("select record_id from ratings").await;
        assert_eq!(rows, ["a"]);
    }

    #[tokio::test]
    async fn any_order_and_any_split_come_to_the_same() {
        let fixture = Fixture::new().await;
        let records = ["a", "b", "c"];
        let users = ["u", "v", "w", "x"];
        let events: Vec<Event> = (0..120_u128)
            .map(|n| {
                let mixed = usize::try_from(n * 7919 % 1009).unwrap();
                let (record, user) = (records[mixed % 3], users[mixed / 3 % 4]);
                let at = u64::try_from(mixed % 17).unwrap();
                match mixed % 11 {
                    value @ 1..=10 => put(n, record, user, u8::try_from(value).unwrap(), at),
                    _ => delete(n, record, user, at),
                }
            })
            .collect();
        let mut expected = BTreeMap::from(records.map(|record| (record, (0, 0))));
        for event in newest(&events) {
            if let Some(value) = event.value() {
                let (sum, count) = expected.get_mut(event.record().id()).unwrap();
                *sum += i64::from(value);
                *count += 1;
            }
        }
        for size in [1, 7, 120] {
            let mut connection = fixture.connection().await;
            connection
                .batch("truncate ratings, aggregated_ratings")
                .await
                .unwrap();
            fixture.know(&records).await;
            for part in events.chunks(size).rev() {
                fixture.apply(part).await;
            }
            for (record, aggregate) in &expected {
                assert_eq!(
                    fixture.aggregate(record).await,
                    Some(*aggregate),
                    "{size} {record}"
                );
            }
        }
    }

    #[tokio::test]
    async fn batches_at_once_on_the_same_records_wait_for_each_other_and_lose_nothing() {
        let fixture = Fixture::new().await;
        let ids: Vec<String> = (0..12).map(|n| format!("r{n}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        fixture.know(&ids).await;
        // Eight at a time over the same records in other orders, each also touching rows that the others insert.
        let batches = (0..8_u128).map(|worker| {
            let fixture = &fixture;
            let ids = &ids;
            async move {
                let mut connection = fixture.connection().await;
                for round in 0..20_u128 {
                    let mut events: Vec<Event> = (0..12_usize)
                        .map(|n| {
                            let id = worker * 1_000 + round * 12 + n as u128;
                            let user = format!("u{}", (worker + round) % 5);
                            let at = u64::try_from(round * 10 + worker).unwrap();
                            match (round + worker) % 4 {
                                0 => delete(id, ids[n], &user, at),
                                value => put(id, ids[n], &user, u8::try_from(value).unwrap(), at),
                            }
                        })
                        .collect();
                    events.rotate_left(usize::try_from(worker).unwrap());
                    apply(&mut connection, &events).await;
                }
            }
        });
        futures::future::join_all(batches).await;
        fixture.check_books().await;
        let users = fixture
            .texts("select distinct user_id from ratings order by 1")
            .await;
        assert_eq!(users, ["u0", "u1", "u2", "u3", "u4"]);
    }

    #[tokio::test]
    async fn a_rating_that_was_inserted_while_the_batch_waited_is_replaced_by_the_difference() {
        let fixture = Fixture::new().await;
        fixture.know(&["a"]).await;
        let mut first = fixture.connection().await;
        first.batch("begin").await.unwrap();
        apply(&mut first, &[put(1, "a", "u", 3, 1)]).await;
        let second = [put(2, "a", "u", 10, 2)];
        let (_, ()) = futures::join!(fixture.apply(&second), async {
            let waiting = async || {
                let sql = "select pid::text from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
                fixture.texts(sql).await.len() == 1
            };
            let deadline = std::time::Duration::from_secs(4);
            marquee_testkit::eventually(deadline, "the second batch waits", waiting).await;
            first.batch("commit").await.unwrap();
        });
        assert_eq!(fixture.aggregate("a").await, Some((10, 1)));
        fixture.check_books().await;
    }
}

mod erasing {
    use super::*;

    async fn erase(connection: &mut Connection, users: &[&str]) {
        connection.query(store::ERASE, &[&users]).await.unwrap();
    }

    #[tokio::test]
    async fn all_ratings_of_the_user_go_and_the_aggregates_follow() {
        let fixture = Fixture::new().await;
        fixture.know(&["a", "b", "c"]).await;
        fixture
            .apply(&[
                put(1, "a", "u", 7, 1),
                put(2, "b", "u", 3, 1),
                put(3, "a", "v", 2, 1),
                put(4, "c", "u", 9, 1),
                delete(5, "c", "u", 2),
            ])
            .await;
        let mut connection = fixture.connection().await;
        for _ in 0..2 {
            erase(&mut connection, &["u", "nobody", "u"]).await;
            assert_eq!(fixture.aggregate("a").await, Some((2, 1)));
            assert_eq!(fixture.aggregate("b").await, Some((0, 0)));
            assert_eq!(fixture.aggregate("c").await, Some((0, 0)));
            let left = fixture.texts("select user_id from ratings").await;
            assert_eq!(left, ["v"]);
        }
        fixture.check_books().await;
    }

    #[tokio::test]
    async fn a_late_rating_of_an_erased_user_changes_nothing_and_waits_for_nothing() {
        let fixture = Fixture::new().await;
        fixture.know(&["a"]).await;
        erase(&mut fixture.connection().await, &["u"]).await;
        let unknown = fixture
            .apply(&[
                put(1, "a", "u", 7, 9),
                put(2, "x", "u", 7, 9),
                put(3, "a", "v", 2, 1),
            ])
            .await;
        assert_eq!(unknown, Vec::<String>::new());
        assert_eq!(fixture.submit(&put(4, "a", "u", 7, 10)).await, "applied");
        assert_eq!(fixture.aggregate("a").await, Some((2, 1)));
        assert_eq!(fixture.texts("select user_id from ratings").await, ["v"]);
        fixture.check_books().await;
    }

    /// Runs the one while the other's transaction is open, and commits that once the one waits.
    async fn at_once(fixture: &Fixture, mut open: Connection, other: impl Future<Output = ()>) {
        futures::join!(other, async {
            let waiting = async || {
                let sql = "select pid::text from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
                fixture.texts(sql).await.len() == 1
            };
            let deadline = std::time::Duration::from_secs(4);
            marquee_testkit::eventually(deadline, "the second one waits", waiting).await;
            open.batch("commit").await.unwrap();
        });
        assert_eq!(fixture.aggregate("a").await, Some((0, 0)));
        let left = fixture.texts("select user_id from ratings").await;
        assert_eq!(left, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_rating_on_its_way_when_the_user_is_erased_is_erased_too() {
        let fixture = Fixture::new().await;
        fixture.know(&["a"]).await;
        let mut rating = fixture.connection().await;
        rating.batch("begin").await.unwrap();
        apply(&mut rating, &[put(1, "a", "u", 7, 1)]).await;
        at_once(&fixture, rating, async {
            erase(&mut fixture.connection().await, &["u"]).await;
        })
        .await;
    }

    #[tokio::test]
    async fn a_rating_that_waits_for_the_erasing_sees_it() {
        let fixture = Fixture::new().await;
        fixture.know(&["a"]).await;
        for command in [false, true] {
            fixture
                .texts("delete from erased_users returning user_id")
                .await;
            let mut erasing = fixture.connection().await;
            erasing.batch("begin").await.unwrap();
            erase(&mut erasing, &["u"]).await;
            at_once(&fixture, erasing, async {
                let event = put(1, "a", "u", 7, 1);
                if command {
                    fixture.submit(&event).await;
                } else {
                    fixture.apply(&[event]).await;
                }
            })
            .await;
        }
    }
}

mod commands {
    use super::*;

    #[tokio::test]
    async fn an_event_counts_once() {
        let fixture = Fixture::new().await;
        fixture.know(&["a"]).await;
        let event = put(1, "a", "u", 7, 1);
        assert_eq!(fixture.submit(&event).await, "applied");
        assert_eq!(fixture.submit(&event).await, "duplicate");
        let other = put(1, "a", "v", 3, 2);
        assert_eq!(fixture.submit(&other).await, "duplicate");
        assert_eq!(fixture.aggregate("a").await, Some((7, 1)));
    }

    #[tokio::test]
    async fn an_event_that_is_sent_many_times_at_once_counts_once() {
        let fixture = Fixture::new().await;
        fixture.know(&["a"]).await;
        let event = put(1, "a", "u", 7, 1);
        let outcomes = futures::future::join_all((0..20).map(|_| fixture.submit(&event))).await;
        let applied = outcomes.iter().filter(|outcome| **outcome == "applied");
        assert_eq!(applied.count(), 1, "{outcomes:?}");
        assert_eq!(fixture.aggregate("a").await, Some((7, 1)));
    }

    #[tokio::test]
    async fn many_users_at_once_are_all_counted() {
        let fixture = Fixture::new().await;
        fixture.know(&["a"]).await;
        let events: Vec<_> = (0..50)
            .map(|n| put(n, "a", &format!("u{n}"), 3, 1))
            .collect();
        futures::future::join_all(events.iter().map(|event| fixture.submit(event))).await;
        assert_eq!(fixture.aggregate("a").await, Some((150, 50)));
        fixture.check_books().await;
    }

    #[tokio::test]
    async fn replacing_a_stale_one_and_a_delete_move_the_aggregate_as_in_a_batch() {
        let fixture = Fixture::new().await;
        fixture.know(&["a"]).await;
        let check = async |event: Event, aggregate: (i64, i64)| {
            assert_eq!(fixture.submit(&event).await, "applied", "{event:?}");
            assert_eq!(fixture.aggregate("a").await, Some(aggregate), "{event:?}");
        };
        check(put(1, "a", "u", 7, 10), (7, 1)).await;
        check(put(2, "a", "u", 4, 11), (4, 1)).await;
        check(put(3, "a", "u", 9, 10), (4, 1)).await;
        check(delete(4, "a", "u", 12), (0, 0)).await;
        check(put(5, "a", "u", 9, 11), (0, 0)).await;
        check(put(6, "a", "u", 9, 13), (9, 1)).await;
        fixture.check_books().await;
    }

    #[tokio::test]
    async fn a_rating_of_an_unknown_record_leaves_no_trace_until_the_record_is_known() {
        let fixture = Fixture::new().await;
        let event = put(1, "x", "u", 7, 1);
        for _ in 0..2 {
            assert_eq!(fixture.submit(&event).await, "unknown");
        }
        for table in ["marquee.inbox", "marquee.parked", "ratings"] {
            let sql = format!("select count(*)::text from {table}");
            assert_eq!(fixture.texts(&sql).await, ["0"], "{table}");
        }
        fixture.know(&["x"]).await;
        assert_eq!(fixture.submit(&event).await, "applied");
        assert_eq!(fixture.submit(&event).await, "duplicate");
        assert_eq!(fixture.aggregate("x").await, Some((7, 1)));
    }

    #[tokio::test]
    async fn a_command_that_is_rolled_back_leaves_nothing() {
        let fixture = Fixture::new().await;
        fixture.know(&["a"]).await;
        let event = put(1, "a", "u", 7, 1);
        let mut unit = fixture.database.unit();
        let rows = unit
            .query(
                store::SUBMIT,
                &[&event.id(), &"movie", &"a", &"u", &Some(7), &1_i64],
            )
            .await
            .unwrap();
        assert!(rows[0].get::<_, bool>(0));
        unit.rollback().await;
        assert_eq!(fixture.aggregate("a").await, Some((0, 0)));
        assert_eq!(fixture.submit(&event).await, "applied");
    }
}

mod queries {
    use super::*;

    #[tokio::test]
    async fn a_walk_shows_each_standing_rating_of_the_user_once_newest_first() {
        let fixture = Fixture::new().await;
        let ids: Vec<String> = (0..230).map(|n| format!("r{n:03}")).collect();
        let refs: Vec<&str> = ids.iter().map(String::as_str).collect();
        fixture.know(&refs).await;
        // Three at a time have the same moment.
        let mut events: Vec<Event> = (0..230_u128)
            .zip(&ids)
            .map(|(n, id)| put(n, id, "u", 5, u64::try_from(n / 3).unwrap()))
            .collect();
        events.push(put(1_000, "r007", "v", 5, 500));
        fixture.apply(&events).await;
        fixture.apply(&[delete(1_001, "r100", "u", 900)]).await;
        let mut expected: Vec<_> = events
            .iter()
            .filter(|event| event.user() == "u" && event.record().id() != "r100")
            .map(|event| (event.occurred_at_us(), event.record().id().to_owned()))
            .collect();
        expected.sort();
        expected.reverse();
        for limit in [1, 50, 100] {
            let mut connection = fixture.connection().await;
            let (mut all, mut after) = (Vec::new(), None::<String>);
            loop {
                let page = PageQuery::parse("u", after.as_deref(), limit).unwrap();
                let (at, kind, id) = page.after().map_or((i64::MAX, "", ""), |after| {
                    let at = after.occurred_at_us.cast_signed();
                    (at, after.record.kind(), after.record.id())
                });
                let count = i64::from(limit) + 1;
                let rows = connection
                    .query(store::BY_USER, &[&page.user(), &at, &kind, &id, &count])
                    .await
                    .unwrap();
                let found = rows.iter().map(|row| {
                    let at = row.get::<_, i64>(3).cast_unsigned();
                    assert_eq!(row.get::<_, i16>(2), 5);
                    (at, row.get::<_, String>(1))
                });
                let (found, next) = page.cut(found.collect(), |(at, id)| Position {
                    occurred_at_us: *at,
                    record: Record::parse("movie", id).unwrap(),
                });
                all.extend(found);
                match next {
                    Some(_) => after = next,
                    None => break,
                }
            }
            assert_eq!(all, expected, "{limit}");
        }
    }

    #[tokio::test]
    async fn the_index_serves_a_page_without_sorting() {
        let fixture = Fixture::new().await;
        let mut connection = fixture.connection().await;
        let sql = format!(
            "set enable_seqscan = off; set enable_bitmapscan = off; set plan_cache_mode = force_generic_plan; prepare page as {}",
            store::BY_USER
        );
        connection.batch(&sql).await.unwrap();
        let rows = connection
            .query("explain execute page ('u', 1, 'movie', 'a', 10)", &[])
            .await
            .unwrap();
        let plan: String = rows
            .iter()
            .map(|row| row.get::<_, String>(0) + "\n")
            .collect();
        assert!(
            plan.contains("Index Scan Backward using ratings_user_id_idx"),
            "{plan}"
        );
        assert!(
            plan.contains(
                "Index Cond: ((user_id = $1) AND (ROW(occurred_at_us, record_type, record_id) < ROW"
            ),
            "{plan}"
        );
        assert!(!plan.contains("Sort"), "{plan}");
        connection.discard();
    }
}
