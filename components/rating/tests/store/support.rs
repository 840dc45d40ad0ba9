//! A database of the test's own with the host's schema and the service's, and acts.

use std::{path::Path, time::Duration};

use marquee_database::{Config, Migrations, Secret};
use marquee_delivery::audit::Check;
use tokio_postgres::types::ToSql;

pub(crate) use marquee_database::{Connection, Database};
pub(crate) use rating::{
    domain::{Change, Event, newest},
    store,
};
pub(crate) use uuid::Uuid;

pub(crate) struct Fixture {
    pub(crate) database: Database,
    // Dropped last: the connections must be gone before the database is.
    _server: marquee_testkit::TestDatabase,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let fixture = Self::before(1).await;
        fixture.migrate().await;
        fixture
    }

    /// With the service's migrations before this one only.
    pub(crate) async fn before(number: u32) -> Self {
        let server = marquee_testkit::database().await;
        let config = Config::new("rating", Secret::new(server.url()));
        let database = Database::new(&config).unwrap();
        let host = marquee_delivery::migrations().unwrap();
        host.apply(&database).await.unwrap();
        let fixture = Self {
            database,
            _server: server,
        };
        let mut files: Vec<_> = std::fs::read_dir(folder())
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        let earlier: Vec<(String, String)> = files
            .iter()
            .take(usize::try_from(number - 1).unwrap())
            .map(|file| {
                let name = file.file_name().unwrap().to_str().unwrap();
                (name.to_owned(), std::fs::read_to_string(file).unwrap())
            })
            .collect();
        let earlier: Vec<(&str, &str)> = earlier
            .iter()
            .map(|(name, sql)| (name.as_str(), sql.as_str()))
            .collect();
        Migrations::built_in("rating", &earlier)
            .unwrap()
            .apply(&fixture.database)
            .await
            .unwrap();
        fixture
    }

    /// Apply the rest of the service's migrations.
    pub(crate) async fn migrate(&self) {
        let own = Migrations::from_folder("rating", &folder(), Some(&folder().join("audit.sql")))
            .unwrap();
        own.apply(&self.database).await.unwrap();
    }

    pub(crate) async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Vec<tokio_postgres::Row> {
        self.connection().await.query(sql, params).await.unwrap()
    }

    pub(crate) async fn connection(&self) -> Connection {
        self.database.connection().await.unwrap()
    }

    pub(crate) async fn know(&self, ids: &[&str]) {
        let kinds = vec!["movie"; ids.len()];
        let mut connection = self.connection().await;
        connection
            .query(store::KNOW, &[&kinds, &ids])
            .await
            .unwrap();
    }

    pub(crate) async fn apply(&self, events: &[Event]) -> Vec<String> {
        apply(&mut self.connection().await, events).await
    }

    /// What came of it.
    pub(crate) async fn submit(&self, event: &Event) -> String {
        let mut outcomes = self.submit_all(std::slice::from_ref(event)).await;
        outcomes.pop().unwrap()
    }

    /// What came of each.
    pub(crate) async fn submit_all(&self, events: &[Event]) -> Vec<String> {
        let events: Vec<&Event> = events.iter().collect();
        let rows = Columns::of(&events)
            .query(&mut self.connection().await, store::SUBMIT)
            .await;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Sum and count.
    pub(crate) async fn aggregate(&self, id: &str) -> Option<(i64, i64)> {
        let rows = self
            .query(store::AGGREGATES, &[&"movie", &[id].as_slice()])
            .await;
        rows.first().map(|row| (row.get(1), row.get(2)))
    }

    /// How often each value was given.
    pub(crate) async fn histogram(&self, id: &str) -> Option<Vec<i32>> {
        let rows = self.query(store::HISTOGRAM, &[&"movie", &id]).await;
        rows.first()
            .map(|row| (0..10).map(|index| row.get(index)).collect())
    }

    /// Until one session waits for another one's lock.
    pub(crate) async fn someone_waits(&self) {
        let waiting = async || {
            let sql = "select pid::text from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
            self.texts(sql).await.len() == 1
        };
        marquee_testkit::eventually(Duration::from_secs(4), "someone waits", waiting).await;
    }

    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.connection().await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// What the service's own audit finds.
    pub(crate) async fn audit(&self) -> Vec<String> {
        let text = std::fs::read_to_string(folder().join("audit.sql")).unwrap();
        let check = Check::new("audit.sql".to_owned(), &text).unwrap();
        check.verify(&self.database).await.unwrap();
        let found = check.findings(&self.database).await.unwrap();
        found.into_iter().map(|it| it.what).collect()
    }

    /// The aggregates are what the ratings come to, by the books.
    pub(crate) async fn check_books(&self) {
        assert_eq!(self.audit().await, Vec::<String>::new());
    }
}

/// Returns the records that are not known.
pub(crate) async fn apply(connection: &mut Connection, events: &[Event]) -> Vec<String> {
    let (unknown, _) = apply_on_time(connection, events).await;
    unknown
}

/// The same, and whether some act was ahead of the clock.
pub(crate) async fn apply_on_time(
    connection: &mut Connection,
    events: &[Event],
) -> (Vec<String>, bool) {
    let events = newest(events);
    let rows = Columns::of(&events).query(connection, store::APPLY).await;
    let (ahead, unknown): (Vec<_>, Vec<_>) = rows
        .iter()
        .partition(|row| row.get::<_, Option<i64>>(2).is_some());
    (
        unknown.iter().map(|row| row.get(1)).collect(),
        !ahead.is_empty(),
    )
}

/// Acts as the parameters of a statement.
pub(crate) struct Columns {
    kinds: Vec<String>,
    ids: Vec<String>,
    users: Vec<String>,
    values: Vec<Option<i32>>,
    times: Vec<i64>,
    event_ids: Vec<String>,
}

impl Columns {
    pub(crate) fn of(events: &[&Event]) -> Self {
        let events = || events.iter();
        Self {
            kinds: events()
                .map(|event| event.record().kind().to_owned())
                .collect(),
            ids: events()
                .map(|event| event.record().id().to_owned())
                .collect(),
            users: events().map(|event| event.user().to_owned()).collect(),
            values: events().map(|event| event.value().map(i32::from)).collect(),
            times: events()
                .map(|event| event.occurred_at_us().cast_signed())
                .collect(),
            event_ids: events().map(|event| event.id().to_string()).collect(),
        }
    }

    pub(crate) async fn query(
        &self,
        connection: &mut Connection,
        sql: &str,
    ) -> Vec<tokio_postgres::Row> {
        connection
            .query(
                sql,
                &[
                    &self.kinds,
                    &self.ids,
                    &self.users,
                    &self.values,
                    &self.times,
                    &self.event_ids,
                ],
            )
            .await
            .unwrap()
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/rating")
}

pub(crate) fn put(id: u128, record: &str, user: &str, value: u8, at: u64) -> Event {
    event(id, record, user, Change::Put(value), at)
}

pub(crate) fn delete(id: u128, record: &str, user: &str, at: u64) -> Event {
    event(id, record, user, Change::Delete, at)
}

pub(crate) fn event(id: u128, record: &str, user: &str, change: Change, at: u64) -> Event {
    let id = Uuid::from_u128(id).to_string();
    Event::parse(&id, "movie", record, user, change, at).unwrap()
}

/// This moment, in microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_micros()).unwrap()
}
