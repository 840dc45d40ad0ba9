//! A database with the host's schema and the component's, and the component's statements by what they are for.

use std::path::Path;

use marquee_database::{Config, Connection, Database, Migrations, Secret};
use marquee_guest::sql::Param;
use metadata::{
    domain::{Key, Movie, NewMovie, Part, Selection, Sort},
    store::{Statement, commands, queries},
};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

pub(crate) struct Fixture {
    pub(crate) database: Database,
    // Dropped last: the connections must be gone before the database is.
    _server: marquee_testkit::TestDatabase,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let fixture = Self::empty().await;
        fixture.migrate("").await;
        fixture
    }

    /// With the host's schema alone.
    pub(crate) async fn empty() -> Self {
        let server = marquee_testkit::database().await;
        let config = Config::new("metadata", Secret::new(server.url()));
        let database = Database::new(&config).unwrap();
        marquee_delivery::migrations()
            .unwrap()
            .apply(&database)
            .await
            .unwrap();
        Self {
            database,
            _server: server,
        }
    }

    /// Apply the component's migrations whose names begin so, and which are missing.
    pub(crate) async fn migrate(&self, beginning: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/metadata");
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with(beginning) {
                files.push((name, std::fs::read_to_string(path).unwrap()));
            }
        }
        let files: Vec<_> = files
            .iter()
            .map(|(name, sql)| (name.as_str(), sql.as_str()))
            .collect();
        let own = Migrations::built_in("metadata", &files).unwrap();
        own.apply(&self.database).await.unwrap();
    }

    pub(crate) async fn connection(&self) -> Connection {
        self.database.connection().await.unwrap()
    }

    pub(crate) async fn send(&self, statement: Statement) -> Vec<Row> {
        send(&mut self.connection().await, statement).await.unwrap()
    }

    /// `new` and the id, `exists` and the id of the other, `reused`, or `meanwhile`.
    pub(crate) async fn create(&self, title: &str, year: Option<u16>) -> String {
        self.create_with(&new(title, year), None).await
    }

    pub(crate) async fn create_with(&self, new: &NewMovie, key: Option<&str>) -> String {
        let id = Uuid::now_v7();
        let key = key.map(|key| Key::parse(key).unwrap());
        let rows = self.send(commands::insert(new, id, key.as_ref())).await;
        outcome(&rows[0], id)
    }

    pub(crate) async fn create_many(&self, movies: &[(&str, Option<u16>)]) -> Vec<String> {
        self.create_many_with(movies, None).await.unwrap()
    }

    /// Nothing where the statement fails.
    pub(crate) async fn create_many_with(
        &self,
        movies: &[(&str, Option<u16>)],
        key: Option<&str>,
    ) -> Option<Vec<String>> {
        let key = key.map(|key| Key::parse(key).unwrap());
        let places = |key: Key| (0..movies.len()).map(move |n| key.of_place(n).unwrap());
        let keys: Option<Vec<_>> = key.map(|key| places(key).collect());
        let movies: Vec<_> = movies
            .iter()
            .map(|(title, year)| (Uuid::now_v7(), new(title, *year)))
            .collect();
        let statement = commands::insert_many(&movies, keys.as_deref());
        let rows = send(&mut self.connection().await, statement).await.ok()?;
        let outcomes = rows.iter().zip(&movies);
        Some(outcomes.map(|(row, (id, _))| outcome(row, *id)).collect())
    }

    /// A movie that is created.
    pub(crate) async fn movie(&self, title: &str, year: Option<u16>) -> Uuid {
        let outcome = self.create(title, year).await;
        let id = outcome
            .strip_prefix("new ")
            .unwrap_or_else(|| panic!("{title}: {outcome}"));
        id.parse().unwrap()
    }

    pub(crate) async fn get(&self, id: Uuid) -> Option<Movie> {
        self.send(queries::one(id)).await.first().map(movie)
    }

    /// `done`, `exists` and the id, `meanwhile` and the version, or `unknown`.
    pub(crate) async fn replace(&self, movie: &Movie, renamed: bool) -> String {
        let rows = self.send(commands::update(movie, renamed)).await;
        let row = &rows[0];
        match row.get::<_, Option<Uuid>>("holder") {
            Some(id) => format!("exists {id}"),
            None => left(row),
        }
    }

    pub(crate) async fn delete(&self, id: Uuid, expected: Option<u64>) -> String {
        left(&self.send(commands::remove(id, expected)).await[0])
    }

    /// Type and version of the events of a movie, in their order.
    pub(crate) async fn events(&self, id: Uuid) -> Vec<String> {
        let sql = "
            select (v.event ->> 'type') || ' ' || coalesce(v.event ->> 'version', '-')
            from marquee.outbox as o
            cross join lateral (select convert_from(o.value, 'UTF8')::jsonb as event) as v
            where o.topic = 'metadata' and o.key = $1
            order by o.seq";
        let id = id.to_string();
        let rows = self.connection().await.query(sql, &[&id]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let sql = format!("select count(*) from {table}");
        let rows = self.connection().await.query(&sql, &[]).await.unwrap();
        rows[0].get(0)
    }

    /// The titles of a list, page by page.
    pub(crate) async fn walk(&self, list: &List<'_>, limit: u32) -> Vec<String> {
        let (mut all, mut after) = (Vec::new(), None::<String>);
        loop {
            let selection = list.selection(after.as_deref(), limit);
            let (movies, next) = selection.cut(self.page(&selection).await);
            assert!(movies.len() <= usize::try_from(limit).unwrap());
            all.extend(movies.into_iter().map(|movie| movie.title));
            match next {
                Some(_) => after = next,
                None => return all,
            }
        }
    }

    /// What one page reads.
    pub(crate) async fn page(&self, selection: &Selection) -> Vec<(Part, Movie)> {
        let mut found = Vec::new();
        let enough = usize::try_from(selection.limit()).unwrap() + 1;
        for part in queries::parts(selection) {
            let statement = queries::stretch(selection, *part, enough - found.len());
            let rows = self.send(statement).await;
            found.extend(rows.iter().map(|row| (*part, movie(row))));
        }
        found
    }

    /// The titles that are near a query, the nearest first.
    pub(crate) async fn near(&self, query: &str) -> Vec<String> {
        let list = List {
            query: Some(query),
            sort: Sort::Relevance,
            ..List::default()
        };
        let selection = list.selection(None, 100);
        let rows = self.send(queries::like(&selection)).await;
        let Some(words) = rows[0].get::<_, Option<String>>("words") else {
            return Vec::new();
        };
        let rows = self.send(queries::near(&selection, &words, 100)).await;
        rows.iter().map(|row| row.get("title")).collect()
    }

    /// Wait until another statement waits for a lock.
    pub(crate) async fn until_one_waits(&self) {
        let waiting = async || {
            let sql = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
            let rows = self.connection().await.query(sql, &[]).await.unwrap();
            rows[0].get::<_, i64>(0) == 1
        };
        let deadline = std::time::Duration::from_secs(4);
        marquee_testkit::eventually(deadline, "one waits", waiting).await;
    }
}

/// Which list.
#[derive(Clone, Copy)]
pub(crate) struct List<'a> {
    pub(crate) query: Option<&'a str>,
    pub(crate) prefix: Option<&'a str>,
    pub(crate) year: Option<u16>,
    pub(crate) sort: Sort,
}

impl Default for List<'_> {
    fn default() -> Self {
        Self {
            query: None,
            prefix: None,
            year: None,
            sort: Sort::Title,
        }
    }
}

impl List<'_> {
    pub(crate) fn selection(&self, after: Option<&str>, limit: u32) -> Selection {
        Selection::parse(self.query, self.prefix, self.year, self.sort, after, limit).unwrap()
    }
}

pub(crate) fn new(title: &str, year: Option<u16>) -> NewMovie {
    NewMovie::parse(title, year, "about", "somebody").unwrap()
}

pub(crate) async fn send(
    connection: &mut Connection,
    statement: Statement,
) -> Result<Vec<Row>, marquee_database::Error> {
    let params = statement.params.into_iter().map(param);
    let params: Vec<Box<dyn ToSql + Sync + Send>> = params.collect();
    let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| &**param as _).collect();
    connection.query(statement.sql, &params).await
}

pub(crate) fn outcome(row: &Row, fresh: Uuid) -> String {
    if row.get("is_reused") {
        return "reused".to_owned();
    }
    let id: Option<Uuid> = row.get("id");
    match (id, row.get::<_, Option<Uuid>>("holder")) {
        (Some(id), _) if id == fresh => format!("new {id}"),
        (Some(id), _) => format!("again {id}"),
        (None, Some(holder)) => format!("exists {holder}"),
        (None, None) => "meanwhile".to_owned(),
    }
}

pub(crate) fn movie(row: &Row) -> Movie {
    let number = |name| row.get::<_, i64>(name).unsigned_abs();
    let year: Option<i16> = row.get("year");
    Movie {
        id: row.get("id"),
        title: row.get("title"),
        year: year.map(|year| year.try_into().unwrap()),
        description: row.get("description"),
        director: row.get("director"),
        version: number("version"),
        created_at_ms: number("created_at_ms"),
    }
}

/// As the host gives a guest's parameters to PostgreSQL.
pub(crate) fn param(param: Param) -> Box<dyn ToSql + Sync + Send> {
    match param {
        Param::DbNull => Box::new(Null),
        Param::Boolean(value) => Box::new(value),
        Param::Int32(value) => Box::new(value),
        Param::Int64(value) => Box::new(value),
        Param::Str(value) => Box::new(value),
        Param::Uuid(value) => Box::new(value.parse::<Uuid>().unwrap()),
        Param::Binary(value) => Box::new(value),
        Param::ArrayStr(values) => Box::new(values),
        Param::ArrayInt32(values) => Box::new(values),
        other => panic!("{other:?}"),
    }
}

/// Null of whatever type.
#[derive(Debug)]
struct Null;

impl ToSql for Null {
    fn to_sql(
        &self,
        _: &tokio_postgres::types::Type,
        _: &mut tokio_postgres::types::private::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(tokio_postgres::types::IsNull::Yes)
    }

    fn accepts(_: &tokio_postgres::types::Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

fn left(row: &Row) -> String {
    match (row.get("is_done"), row.get::<_, Option<i64>>("version")) {
        (true, _) => "done".to_owned(),
        (false, Some(version)) => format!("meanwhile {version}"),
        (false, None) => "unknown".to_owned(),
    }
}
