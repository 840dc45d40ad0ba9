//! PostgreSQL for tests: one server a process (or a run), one database a test.

use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use marquee_embedded::{Options, Server};
use tokio::sync::OnceCell;
use tokio_postgres::NoTls;

use crate::guardian::{self, Guardian};

/// An empty database of a test's own. It goes with this value, and whoever is still connected to it is cut off.
pub struct TestDatabase {
    url: String,
    name: String,
    /// Where statements about databases are sent.
    server: String,
}

impl TestDatabase {
    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it is called on the server.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, statement) = (
            self.server.clone(),
            format!("drop database if exists {} with (force)", self.name),
        );
        // A runtime of its own: the test's may be at its end. What fails here is swept with the run's folder.
        let drop = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                runtime.block_on(async {
                    if let Ok((client, connection)) = tokio_postgres::connect(&server, NoTls).await
                    {
                        tokio::task::spawn(connection);
                        let _ = client.batch_execute(&statement).await;
                    }
                });
            }
        });
        let _ = drop.join();
    }
}

/// A new database on the server that all tests of the run share.
pub async fn database() -> TestDatabase {
    let base = shared().await;
    let name = format!("test_{}", uuid::Uuid::now_v7().simple());
    let client = connect(&at(&base, "postgres")).await;
    client
        .batch_execute(&format!("create database {name}"))
        .await
        .expect("a database of the test's own");
    TestDatabase {
        url: at(&base, &name),
        name,
        server: at(&base, "postgres"),
    }
}

/// A server of the test's own, durable, that it may stop and start.
pub struct PostgresServer {
    server: Option<Server>,
    port: u16,
    folder: tempfile::TempDir,
    _guardian: Guardian,
}

/// Start a server for one test.
pub async fn postgres() -> PostgresServer {
    start(folder()).await
}

async fn start(folder: tempfile::TempDir) -> PostgresServer {
    let port = crate::free_port();
    let guardian = guard(folder.path());
    let options = Options::new(folder.path()).with_port(port);
    let server = Server::start(options)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    PostgresServer {
        server: Some(server),
        port,
        folder,
        _guardian: guardian,
    }
}

impl PostgresServer {
    /// Stop as a crash would.
    pub async fn stop_immediately(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop_immediately().await.expect("it stops");
        }
    }

    /// Start again, on the same port, with the same data.
    pub async fn start(&mut self) {
        if self.server.is_none() {
            let options = Options::new(self.folder.path()).with_port(self.port);
            self.server = Some(Server::start(options).await.expect("it starts again"));
        }
    }

    /// A standby that has what this server has now, and will not have what comes: its stream is interrupted.
    pub async fn standby(&self) -> Self {
        let folder = folder();
        let (ours, data) = (self.folder.path().join("data"), folder.path().join("data"));
        run(Command::new("pg_basebackup")
            .args([
                "--checkpoint",
                "fast",
                "--dbname",
                &self.url("postgres"),
                "--pgdata",
            ])
            .arg(&data));
        std::fs::write(data.join("standby.signal"), "").expect("a file");
        run(Command::new("chown")
            .arg("--recursive")
            .arg("--reference")
            .args([&ours, &data]));
        start(folder).await
    }

    /// Where a database of it is, whether or not it runs.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Make a database.
    pub async fn create_database(&self, name: &str) {
        let server = self.server.as_ref().expect("it runs");
        server.create_database(name).await.expect("a database");
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // The guardian would do it at the end of the process; a test that is over needs its server no longer.
        let _ = Command::new("sh")
            .arg("-c")
            .arg(kill(self.folder.path()))
            .status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("it comes with PostgreSQL");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// The URL of the run's server, without a database's name.
async fn shared() -> String {
    static SERVER: OnceCell<(String, Option<Guardian>)> = OnceCell::const_new();
    let (url, _) = SERVER
        .get_or_init(|| async {
            if let Ok(url) = std::env::var("DATABASE_URL_TEST") {
                return (url, None);
            }
            let (url, guardian) = start_shared().await;
            (url, Some(guardian))
        })
        .await;
    url.clone()
}

/// A server for a whole process or run: quick instead of durable. It ends with the guardian.
pub(crate) async fn start_shared() -> (String, Guardian) {
    sweep();
    let folder = folder().keep();
    let guardian = guard(&folder);
    let port = crate::free_port();
    let options = Options::new(&folder).with_port(port).volatile();
    let server = Server::start(options)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    // It goes on by itself until the guardian ends it.
    server.leave();
    (format!("postgres://postgres@127.0.0.1:{port}"), guardian)
}

/// Start what `with-servers` keeps for a run.
pub async fn for_a_run() -> (String, impl Sized) {
    start_shared().await
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir()
        .expect("a temporary folder");
    // The server may run as another user.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
        .expect("others may enter");
    folder
}

fn guard(folder: &Path) -> Guardian {
    guardian::after_this_process(&format!("{}; rm -rf '{}'", kill(folder), folder.display()))
}

/// SIGQUIT is PostgreSQL's immediate shutdown.
fn kill(folder: &Path) -> String {
    let pid = folder.join("data/postmaster.pid");
    format!(
        "p=$(head -n 1 '{0}' 2>/dev/null) && kill -QUIT \"$p\" 2>/dev/null; \
         i=0; while [ -e '{0}' ] && [ $i -lt 100 ]; do sleep 0.05; i=$((i+1)); done",
        pid.display()
    )
}

/// Folders of runs whose guardian was killed too.
fn sweep() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let age = entry
            .metadata()
            .ok()
            .and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
        if is_ours && age.is_some_and(|age| age.as_secs() > 6 * 3600) {
            let _ = Command::new("sh")
                .arg("-c")
                .arg(kill(&entry.path()))
                .status();
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Drop databases that runs which were killed have left on a server that outlives its runs: those a day old. What fails
/// is left to the next run.
pub async fn sweep_databases(base: &str) {
    let client = connect(&at(base, "postgres")).await;
    let names = client
        .query(OLD_DATABASES, &[])
        .await
        .unwrap_or_else(|error| panic!("the databases cannot be listed: {error}"));
    for row in names {
        let name: String = row.get(0);
        let _ = client
            .batch_execute(&format!("drop database if exists {name}"))
            .await;
    }
}

fn at(base: &str, database: &str) -> String {
    let (base, query) = base
        .split_once('?')
        .map_or((base, String::new()), |(base, query)| {
            (base, format!("?{query}"))
        });
    let scheme = base.find("://").map_or(0, |at| at + 3);
    let path = base[scheme..]
        .find('/')
        .map_or(base.len(), |at| scheme + at);
    format!("{}/{database}{query}", &base[..path])
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .unwrap_or_else(|error| {
            panic!("the PostgreSQL of DATABASE_URL_TEST cannot be reached: {error}")
        });
    tokio::task::spawn(connection);
    client
}

const PREFIX: &str = "marquee-test-";
/// The first 48 bits of a UUIDv7 are the milliseconds since 1970.
const OLD_DATABASES: &str = "
    select datname::text from pg_database
    where datname ~ '^test_[0-9a-f]{32}$'
      and ('x0000' || substr(datname, 6, 12))::bit(64)::bigint
          < extract(epoch from now() - interval '1 day') * 1000";
