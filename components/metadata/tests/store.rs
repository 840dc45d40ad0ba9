//! The statements of `store`, on a real PostgreSQL with the host's schema and the service's.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure is a failed test"
)]

use std::path::Path;

use marquee_database::{Config, Connection, Database, Migrations, Secret};
use metadata::{
    domain::{NewMovie, PageQuery},
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
        let config = Config::new("metadata", Secret::new(server.url()));
        let database = Database::new(&config).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/metadata");
        let own = Migrations::from_folder("metadata", &folder).unwrap();
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

    /// The rows of the statement: whether it was kept, and the id that has the title.
    async fn insert(&self, title: &str) -> Vec<(bool, Uuid)> {
        insert(&mut self.connection().await, title).await
    }

    async fn count(&self, table: &str) -> i64 {
        let sql = format!("select count(*) from {table}");
        let rows = self.connection().await.query(&sql, &[]).await.unwrap();
        rows[0].get(0)
    }

    /// Every title of a query, page by page.
    async fn walk(&self, prefix: Option<&str>, limit: u32) -> Vec<String> {
        let mut connection = self.connection().await;
        let (mut all, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = PageQuery::parse(prefix, after.as_deref(), limit).unwrap();
            let start = page.start().as_str();
            let count = i64::from(limit) + 1;
            let rows = match page.prefix().upper_bound() {
                Some(bound) => {
                    connection
                        .query(store::PAGE_BELOW, &[&start, &count, &bound])
                        .await
                }
                None => connection.query(store::PAGE, &[&start, &count]).await,
            };
            let titles: Vec<String> = rows.unwrap().iter().map(|row| row.get(1)).collect();
            let (titles, next) = page.cut(titles, |title| title);
            all.extend(titles);
            match next {
                Some(_) => after = next,
                None => return all,
            }
        }
    }
}

async fn insert(connection: &mut Connection, title: &str) -> Vec<(bool, Uuid)> {
    let new = NewMovie::parse(title, "about", "somebody").unwrap();
    let movie = new.with_id(Uuid::now_v7());
    let rows = connection
        .query(
            store::INSERT,
            &[
                &movie.id,
                &movie.title,
                &new.title_key().as_str(),
                &movie.description,
                &movie.director,
                &movie.created_event(),
            ],
        )
        .await
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn a_movie_and_its_event_are_kept_by_one_statement() {
    let fixture = Fixture::new().await;
    let [(true, id)] = fixture.insert("  Alien ").await[..] else {
        panic!("it was not kept");
    };
    let mut connection = fixture.connection().await;
    let rows = connection.query(store::BY_ID, &[&id]).await.unwrap();
    assert_eq!(rows[0].get::<_, &str>(1), "Alien");
    let sql =
        "select topic, key, seq, convert_from(value, 'UTF8')::jsonb ->> 'type' from marquee.outbox";
    let rows = connection.query(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, &str>(0), "metadata");
    assert_eq!(rows[0].get::<_, &str>(1), id.to_string());
    assert_eq!(rows[0].get::<_, i64>(2), 1);
    assert_eq!(rows[0].get::<_, &str>(3), "movie.created");
}

#[tokio::test]
async fn a_title_that_is_taken_in_another_case_names_its_movie_and_publishes_nothing() {
    let fixture = Fixture::new().await;
    let [(true, id)] = fixture.insert("Amélie").await[..] else {
        panic!("it was not kept");
    };
    for title in ["Amélie", "AMÉLIE", " ame\u{301}lie\n"] {
        assert_eq!(fixture.insert(title).await, [(false, id)], "{title}");
    }
    assert_eq!(fixture.count("movies").await, 1);
    assert_eq!(fixture.count("marquee.outbox").await, 1);
}

#[tokio::test]
async fn a_title_that_is_taken_while_the_statement_waits_is_found_by_the_second_one() {
    let fixture = Fixture::new().await;
    let mut first = fixture.connection().await;
    first.batch("begin").await.unwrap();
    let [(true, id)] = insert(&mut first, "Alien").await[..] else {
        panic!("it was not kept");
    };
    let mut second = fixture.connection().await;
    let (rows, ()) = futures::join!(insert(&mut second, "ALIEN"), async {
        let waiting = async || {
            let sql = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
            let rows = fixture.connection().await.query(sql, &[]).await.unwrap();
            rows[0].get::<_, i64>(0) == 1
        };
        let deadline = std::time::Duration::from_secs(4);
        marquee_testkit::eventually(deadline, "the second insert waits", waiting).await;
        first.batch("commit").await.unwrap();
    });
    assert_eq!(rows, []);
    let rows = second.query(store::HOLDER, &[&"alien"]).await.unwrap();
    assert_eq!(rows[0].get::<_, Uuid>(0), id);
    assert_eq!(fixture.count("marquee.outbox").await, 1);
}

#[tokio::test]
async fn of_many_that_keep_one_title_at_once_one_does() {
    let fixture = Fixture::new().await;
    let kept = futures::future::join_all((0..20).map(|_| fixture.insert("Alien"))).await;
    let kept = kept.iter().flatten().filter(|(new, _)| *new).count();
    assert_eq!(kept, 1);
    assert_eq!(fixture.count("movies").await, 1);
    assert_eq!(fixture.count("marquee.outbox").await, 1);
}

#[tokio::test]
async fn a_walk_shows_every_movie_once_in_the_order_of_titles_whatever_the_length_of_a_page() {
    let fixture = Fixture::new().await;
    let mut titles: Vec<String> = (0..230).map(|n| format!("Movie {n:03}")).collect();
    titles.extend(["alien", "Zorro", "Émile", "100%"].map(str::to_owned));
    for title in &titles {
        fixture.insert(title).await;
    }
    titles.sort_by_key(|title| metadata::domain::TitleKey::of(title));
    for limit in [1, 2, 77, 100] {
        assert_eq!(fixture.walk(None, limit).await, titles, "{limit}");
    }
    let movies: Vec<_> = titles
        .iter()
        .filter(|title| title.starts_with("Movie 1"))
        .cloned()
        .collect();
    assert_eq!(fixture.walk(Some("mOVIE 1"), 7).await, movies);
}

#[tokio::test]
async fn what_a_pattern_would_take_for_a_sign_is_itself_in_a_prefix() {
    let fixture = Fixture::new().await;
    for title in [
        r"100% A", "100 B", "1_0", "110", r"a\b", "ab", "aB%c", "$1", "'; --",
    ] {
        fixture.insert(title).await;
    }
    let check = async |prefix: &str, titles: &[&str]| {
        assert_eq!(fixture.walk(Some(prefix), 10).await, titles, "{prefix}");
    };
    check("100%", &["100% A"]).await;
    check("1_", &["1_0"]).await;
    check("%", &[]).await;
    check("_", &[]).await;
    check(r"a\", &[r"a\b"]).await;
    check("ab", &["ab", "aB%c"]).await;
    check("$", &["$1"]).await;
    check("'", &["'; --"]).await;
    check("\u{10ffff}", &[]).await;
}

#[tokio::test]
async fn the_index_serves_the_prefix_whatever_the_plan() {
    let fixture = Fixture::new().await;
    let mut connection = fixture.connection().await;
    let sql = format!(
        "set enable_seqscan = off; set plan_cache_mode = force_generic_plan; prepare page as {}",
        store::PAGE_BELOW
    );
    connection.batch(&sql).await.unwrap();
    let rows = connection
        .query("explain execute page ('a', 10, 'b')", &[])
        .await
        .unwrap();
    let plan: String = rows
        .iter()
        .map(|row| row.get::<_, String>(0) + "\n")
        .collect();
    assert!(plan.contains("movies_title_key_key"), "{plan}");
    assert!(
        plan.contains("Index Cond: ((title_key >= $1) AND (title_key < $3))"),
        "{plan}"
    );
    assert!(!plan.contains("Sort"), "{plan}");
    connection.discard();
}
