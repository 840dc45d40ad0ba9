//! Migrations beside sessions that keep what they change.

use std::time::{Duration, Instant};

use marquee_database::{Database, Migrations, migrate::MigrateError};
use marquee_testkit::eventually;

use crate::support::{SOON, World};

#[tokio::test]
async fn a_migration_waits_for_a_dump_and_nobody_waits_behind_it() {
    let world = World::new().await;
    world
        .query("select marquee.publish('movies', 'k', null, 'x')", &[])
        .await;
    let mut dump = world.db.connection().await.unwrap();
    dump.batch("begin; lock table marquee.outbox in access share mode")
        .await
        .unwrap();
    let sql = "alter table marquee.outbox add column more integer";
    let migrations = Migrations::built_in("more", &[("0001_more.sql", sql)]).unwrap();
    let (applied, ()) = tokio::join!(migrations.apply(&world.db), async {
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            let asked_at = Instant::now();
            world
                .query("select marquee.publish('movies', 'k', null, 'x')", &[])
                .await;
            let waited = asked_at.elapsed();
            assert!(waited < Duration::from_secs(2), "it stood for {waited:?}");
        }
        dump.batch("commit").await.unwrap();
    });
    assert_eq!(applied.unwrap(), ["0001_more"]);
    assert_eq!(
        world.number("select count(more) from marquee.outbox").await,
        0
    );
}

#[tokio::test]
async fn a_migration_that_fails_leaves_no_lock() {
    let world = World::new().await;
    let migrations = Migrations::built_in("bad", &[("0001_bad.sql", "select 1 / 0")]).unwrap();
    assert!(migrations.apply(&world.db).await.is_err());
    eventually(SOON, "the lock is given back", async || {
        let locks = "select count(*) from pg_locks where locktype = 'advisory'
            and database = (select oid from pg_database where datname = current_database())";
        world.number(locks).await == 0
    })
    .await;
}

/// A folder with migrations, as a checkout has it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(self, name: &str, text: &str) -> Self {
        std::fs::write(self.0.path().join(name), text).unwrap();
        self
    }

    fn read(&self) -> Migrations {
        Migrations::from_folder("own", self.0.path(), None).expect("well named")
    }

    async fn apply(&self, database: &Database) -> Result<Vec<String>, MigrateError> {
        let migrations = Migrations::from_folder("own", self.0.path(), None)?;
        migrations.apply(database).await
    }

    /// An error and its causes, of a folder that is refused.
    async fn refused(&self, database: &Database) -> String {
        let error = self.apply(database).await.expect_err("it is refused");
        marquee_database::chain(&error)
    }
}

#[tokio::test]
async fn neither_a_byte_order_mark_nor_other_line_ends_make_another_file() {
    let world = World::new().await;
    let lines = ["create table marked (", "    text text", ");", ""];
    let (lf, crlf) = (lines.join("\n"), lines.join("\r\n"));
    let folder = Folder::new().with("0001_marked.sql", &format!("\u{feff}{crlf}"));
    assert_eq!(folder.apply(&world.db).await.unwrap(), ["0001_marked"]);
    let again = [
        lf.clone(),
        format!("\u{feff}{lf}"),
        crlf.clone(),
        format!("{}\n{}", lines[0], lines[1..].join("\r\n")),
    ];
    for text in &again {
        let folder = Folder::new().with("0001_marked.sql", text);
        let applied = folder.apply(&world.db).await.unwrap();
        assert!(applied.is_empty(), "{text:?}");
    }
    // The server is told the same, whatever the line ends: what a function's body says, for instance.
    let body = "create function two_lines() returns text language sql as $$\r\nselect 'x'\r\n$$";
    let folder = folder.with("0002_function.sql", body);
    folder.apply(&world.db).await.unwrap();
    let returns =
        "select count(*) from pg_proc where proname = 'two_lines' and strpos(prosrc, chr(13)) > 0";
    assert_eq!(world.number(returns).await, 0);
}

#[tokio::test]
async fn what_earlier_releases_recorded_of_a_file_is_that_file_still() {
    let world = World::new().await;
    let (lf, crlf) = ("select 1;\nselect 2;\n", "select 1;\r\nselect 2;\r\n");
    let mixed = "select 1;\r\nselect 2;\n";
    let folder = |text| Folder::new().with("0001_former.sql", text);
    folder(lf).apply(&world.db).await.unwrap();
    // Of the whole text, as it was when it was applied.
    for (recorded, accepted) in [
        (lf, &[lf, crlf, mixed][..]),
        (crlf, &[lf, crlf, mixed]),
        (mixed, &[mixed]),
    ] {
        let record =
            "update marquee.migrations set checksum = encode(sha256(convert_to($1, 'utf8')), 'hex')
            where owner = 'own'";
        world.query(record, &[&recorded]).await;
        for text in accepted {
            let applied = folder(text).apply(&world.db).await;
            assert_eq!(applied.unwrap(), [""; 0], "{recorded:?} {text:?}");
        }
        let other = folder("select 1;\nselect 3;\n").refused(&world.db).await;
        assert!(other.contains("was applied with other content"), "{other}");
    }
}

#[tokio::test]
async fn what_a_file_says_of_itself_may_be_said_after_it_was_applied() {
    let world = World::new().await;
    let sql = "select 1;\n";
    let (apart, expands) = ("-- marquee: no transaction", "-- marquee: expand");
    let folder =
        |first: &str, sql: &str| Folder::new().with("0001_first.sql", &format!("{first}{sql}"));
    let database = &world.db;
    for (applied, later) in [
        (String::new(), format!("{expands}\n")),
        (format!("{apart}\n"), format!("{expands}, no transaction\n")),
        (format!("{apart}\r\n"), format!("{apart},contract\r\n")),
    ] {
        let first = folder(&applied, sql);
        assert_eq!(first.apply(database).await.unwrap(), ["0001_first"]);
        // In both directions: hosts of the release before have the file without it.
        for said in [&later, &applied, &later] {
            let done = folder(said, sql).apply(database).await;
            assert_eq!(done.unwrap(), [""; 0], "{applied:?} {said:?}");
            let other = folder(said, "select 2;\n").refused(database).await;
            assert!(other.contains("was applied with other content"), "{other}");
        }
        let refused = folder("-- its first line\n", sql).refused(database).await;
        assert!(refused.contains("was applied with other"), "{refused}");
        world
            .query("delete from marquee.migrations where owner = 'own'", &[])
            .await;
    }
    // Nothing of it is in the record, so what was applied with it is the same file to a host that has it without.
    let marked = folder(&format!("{expands}\n"), sql);
    assert_eq!(marked.apply(database).await.unwrap(), ["0001_first"]);
    let recorded = "select count(*) from marquee.migrations
        where owner = 'own' and checksum = encode(sha256(convert_to(E'select 1;\\n', 'utf8')), 'hex')";
    assert_eq!(world.number(recorded).await, 1);
}

#[tokio::test]
async fn a_file_that_ends_its_transaction_is_refused_before_anything_is_run() {
    let world = World::new().await;
    let first = ("0001_first.sql", "create table first (n int);");
    for (text, line, statement) in [
        (
            "create table t (n int);\ncommit;\ncreate table u (n int);",
            2,
            "commit",
        ),
        (
            "-- From elsewhere.\nBEGIN;\ncreate table t (n int);\nEND;",
            2,
            "BEGIN",
        ),
        ("select 1;\n\nrollback", 3, "rollback"),
        ("start transaction;", 1, "start transaction"),
        (
            "select 1; prepare transaction 'x'",
            1,
            "prepare transaction 'x'",
        ),
        (
            "-- marquee: no transaction\nbegin;\nselect 1;\ncommit",
            2,
            "begin",
        ),
    ] {
        let folder = Folder::new()
            .with(first.0, first.1)
            .with("0002_ends.sql", text);
        let said = folder.refused(&world.db).await;
        let place = format!("migration own/0002_ends.sql:{line}: `{statement}`");
        assert!(said.contains(&place), "{text}: {said}");
        let tables = "select count(*) from pg_class where relname in ('first', 't', 'u')";
        assert_eq!(world.number(tables).await, 0, "{text}");
    }
    // What only looks like it is none of it.
    let text = "create function ends() returns int language plpgsql as $$ begin\n  return 1; -- ;commit;\nend; $$;
        savepoint here; insert into marquee.migrations values ('x', 1, ';commit;', ''); rollback to here;
        create function begins() returns int begin atomic; select 1; end;";
    let folder = Folder::new().with("0001_ends.sql", text);
    assert_eq!(folder.apply(&world.db).await.unwrap(), ["0001_ends"]);
}

#[tokio::test]
async fn an_index_is_made_concurrently_by_a_marked_file_while_another_host_waits() {
    let world = World::new().await;
    let other = world.another_host();
    let index = "create index concurrently if not exists t_n on t (n);";
    let folder = Folder::new()
        .with("0001_t.sql", "create table t (n int);")
        .with("0002_t_n.sql", index);
    // Without the mark the server refuses it, and the error says what to write.
    let said = folder.refused(&world.db).await;
    assert!(said.contains("-- marquee: no transaction"), "{said}");

    let folder = folder.with(
        "0002_t_n.sql",
        &format!("-- marquee: no transaction\n{index}\nvacuum t;\n"),
    );
    // Both wait, so that one does while the other makes the index.
    let mut third = world.db.connection().await.unwrap();
    third
        .batch("select pg_advisory_lock(7305803100242)")
        .await
        .unwrap();
    let (one, two, ()) = tokio::join!(folder.apply(&world.db), folder.apply(&other), async {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database()
            and query like '%advisory%' and pid <> pg_backend_pid()";
        eventually(SOON, "both wait", async || world.number(waiting).await == 3).await;
        third.discard();
    });
    let applied = [one.unwrap(), two.unwrap()].concat();
    assert_eq!(applied, ["0002_t_n"]);
    let valid = "select count(*) from pg_index where indexrelid = 't_n'::regclass and indisvalid";
    assert_eq!(world.number(valid).await, 1);
    let wrong = Folder::new().with("0003_wrong.sql", "-- marquee: no transactions\nselect 1");
    let said = wrong.refused(&world.db).await;
    assert!(said.contains("own/0003_wrong.sql:1"), "{said}");
}

#[tokio::test]
async fn a_marked_file_that_fails_half_way_says_where_and_which_index_it_left_and_is_run_again() {
    let world = World::new().await;
    let text = "-- marquee: no transaction
create table if not exists twice (n int);
insert into twice select 1 where (select count(*) < 2 from twice);
insert into twice select 1 where (select count(*) < 2 from twice);
create unique index concurrently if not exists twice_n on twice (n);
";
    let folder = Folder::new().with("0001_twice.sql", text);
    let half = "index twice_n is half made and serves nobody: `drop index concurrently twice_n`";
    let said = folder.refused(&world.db).await;
    assert!(said.contains("own/0001_twice.sql:5 failed"), "{said}");
    assert!(said.contains(half), "{said}");
    // `if not exists` passes it over, which does not make it whole.
    let said = folder.refused(&world.db).await;
    assert!(
        said.contains("is not done") && said.contains(half),
        "{said}"
    );

    let mut connection = world.db.connection().await.unwrap();
    for mend in [
        "drop index concurrently twice_n",
        "update twice set n = 2 where ctid = (select min(ctid) from twice)",
    ] {
        connection.batch(mend).await.unwrap();
    }
    assert_eq!(folder.apply(&world.db).await.unwrap(), ["0001_twice"]);
    assert_eq!(folder.apply(&world.db).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_marked_file_waits_for_a_dump_and_nobody_waits_behind_it() {
    let world = World::new().await;
    let mut dump = world.db.connection().await.unwrap();
    dump.batch("begin; lock table marquee.outbox in access share mode")
        .await
        .unwrap();
    let text = "-- marquee: no transaction\nalter table marquee.outbox add column if not exists more integer;";
    let folder = Folder::new().with("0001_more.sql", text);
    let (applied, ()) = tokio::join!(folder.apply(&world.db), async {
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            let asked_at = Instant::now();
            let publish = "select marquee.publish('movies', 'k', null, 'x')";
            world.query(publish, &[]).await;
            let waited = asked_at.elapsed();
            assert!(waited < Duration::from_secs(2), "it stood for {waited:?}");
        }
        dump.batch("commit").await.unwrap();
    });
    assert_eq!(applied.unwrap(), ["0001_more"]);
}

#[tokio::test]
async fn what_a_file_sets_of_its_session_is_not_there_for_whoever_is_next() {
    let world = World::new().await;
    let text = "set search_path = ''; set lock_timeout = 1; create table public.dumped (n int);";
    let folder = Folder::new().with("0001_dump.sql", text);
    folder.apply(&world.db).await.unwrap();
    assert_eq!(world.number("select count(*) from dumped").await, 0);
}

#[tokio::test]
async fn a_release_runs_what_says_that_it_expands_and_what_takes_away_waits_until_it_is_asked_for()
{
    let world = World::new().await;
    let folder = Folder::new().with("0001_t.sql", "create table t (n int, old int);");
    folder.apply(&world.db).await.unwrap();
    let expand = "-- marquee: expand\nalter table t add column new int;";
    let contract = "-- marquee: contract\nalter table t drop column old;";
    let folder = folder
        .with("0002_new.sql", expand)
        .with("0003_not_old.sql", contract)
        .with("0004_more.sql", "alter table t add column more int;");
    let refused = folder.read().expand(&world.db).await.unwrap_err();
    let said = marquee_database::chain(&refused);
    assert!(said.contains("own/0004_more.sql does not say"), "{said}");
    let columns = "select count(*) from information_schema.columns where table_name = 't'";
    assert_eq!(world.number(columns).await, 2, "nothing was run");

    let more = "-- marquee: expand, no transaction\nalter table t add column more int;";
    let folder = folder.with("0004_more.sql", more);
    let early = folder.read().contract(&world.db).await.unwrap_err();
    let said = marquee_database::chain(&early);
    assert!(
        said.contains("own/0002_new.sql was not applied yet"),
        "{said}"
    );
    let (migrations, other) = (folder.read(), world.another_host());
    let (one, two) = tokio::join!(migrations.expand(&world.db), migrations.expand(&other));
    let mut applied = [one.unwrap(), two.unwrap()].concat();
    applied.sort();
    assert_eq!(applied, ["0002_new", "0004_more"], "each once");
    // Nor does a start.
    assert_eq!(folder.apply(&world.db).await.unwrap(), [""; 0]);
    assert_eq!(world.number(columns).await, 4);
    assert_eq!(migrations.newest_contraction().unwrap(), Some(3));
    assert_eq!(migrations.newest(), 4);
    assert_eq!(
        migrations.contract(&world.db).await.unwrap(),
        ["0003_not_old"]
    );
    assert_eq!(world.number(columns).await, 3);
}
