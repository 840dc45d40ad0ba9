//! The real binary, started for a test: on free ports, with databases and data of its own.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use marquee_testkit::{TestDatabase, eventually};

use crate::contract;

/// What a host needs that outlives it: its databases or data folder, its bus.
pub(crate) struct Setup {
    manifest: PathBuf,
    environment: BTreeMap<String, String>,
    data: tempfile::TempDir,
    /// Dropped with the test.
    _databases: Vec<TestDatabase>,
}

impl Setup {
    /// Databases on the run's PostgreSQL; the embedded bus in one of its own. Nobody is asked for a token.
    pub(crate) async fn databases() -> Self {
        let names = ["METADATA", "RATING", "USERS", "BUS"];
        let setup = Self::application("spin.toml", &names).await;
        setup.with("SPIN_VARIABLE_AUTH", "open")
    }

    /// Another application, with these databases.
    pub(crate) async fn application(manifest: impl Into<PathBuf>, names: &[&str]) -> Self {
        let mut environment = BTreeMap::new();
        let mut databases = Vec::new();
        for name in names {
            let database = marquee_testkit::database().await;
            environment.insert(format!("DATABASE_URL_{name}"), database.url().to_owned());
            databases.push(database);
        }
        // The test run's server gives up durability for speed.
        environment.insert("MARQUEE_ALLOW_UNSAFE_DATABASE".into(), "true".into());
        Self {
            manifest: manifest.into(),
            environment,
            data: data(),
            _databases: databases,
        }
    }

    /// The same, with Kafka as the bus.
    pub(crate) async fn kafka(brokers: &str) -> Self {
        let setup = Self::databases().await;
        setup.with("KAFKA_BROKERS", brokers)
    }

    /// Another release on the same databases and bus, with a data folder of its own.
    pub(crate) fn release(&self, manifest: &str) -> Self {
        Self {
            manifest: manifest.into(),
            environment: self.environment.clone(),
            data: data(),
            _databases: Vec::new(),
        }
    }

    /// Nothing configured: the host starts its own PostgreSQL.
    pub(crate) fn nothing() -> Self {
        Self {
            manifest: "spin.toml".into(),
            environment: BTreeMap::new(),
            data: data(),
            _databases: Vec::new(),
        }
        .with("SPIN_VARIABLE_AUTH", "open")
    }

    /// One more variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Where it keeps what it keeps.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// A database's URL.
    pub(crate) fn url(&self, name: &str) -> &str {
        &self.environment[&format!("DATABASE_URL_{name}")]
    }

    /// The server of a database.
    pub(crate) fn server(&self, name: &str) -> SocketAddr {
        let config: tokio_postgres::Config = self.url(name).parse().expect("a URL");
        let port = config.get_ports().first().copied();
        SocketAddr::from(([127, 0, 0, 1], port.expect("a port")))
    }

    /// A database is reached by this address.
    pub(crate) fn through(self, name: &str, addr: SocketAddr) -> Self {
        let url = self.url(name);
        let (before, database) = url.rsplit_once('/').expect("a URL of a database");
        let (before, _) = before.rsplit_once('@').expect("a user");
        let url = format!("{before}@{addr}/{database}");
        self.with(&format!("DATABASE_URL_{name}"), &url)
    }

    /// A connection to a database, as somebody beside the host has it. It ends with the client.
    pub(crate) async fn connect(&self, name: &str) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(self.url(name), tokio_postgres::NoTls)
            .await
            .expect("it answers");
        tokio::task::spawn(async { connection.await.expect("no error") });
        client
    }

    /// A verb of the command line beside, or instead of, a running host.
    pub(crate) fn verb(&self, arguments: &[&str]) -> std::process::Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// A verb that goes on until it is dropped.
    pub(crate) fn going_on(&self, arguments: &[&str]) -> Ongoing {
        let child = self.command(arguments).stdout(Stdio::piped()).spawn();
        Ongoing(child.expect("the binary runs"))
    }

    /// The same, whose errors nobody reads.
    pub(crate) fn speechless(&self, arguments: &[&str]) -> Ongoing {
        let mut command = self.command(arguments);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Ongoing(child.expect("the binary runs"))
    }

    /// Start a host that has to end by itself, with exit code 1: what it said of it.
    pub(crate) async fn refused(&self) -> String {
        let mut command = self.command(&[
            "up",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut refused = Ongoing(command.spawn().expect("the binary starts"));
        let mut status = None;
        eventually(Duration::from_secs(60), "it is refused", async || {
            status = refused.0.try_wait().expect("its state");
            status.is_some()
        })
        .await;
        let mut said = String::new();
        let stderr = refused.0.stderr.as_mut().expect("piped");
        stderr.read_to_string(&mut said).expect("text");
        assert_eq!(status.and_then(|status| status.code()), Some(1), "{said}");
        said
    }

    /// Start a host on free ports and wait until it serves.
    pub(crate) async fn start(&self) -> Host {
        self.start_at("127.0.0.1:0").await
    }

    /// Start a host on this address and wait until it serves.
    pub(crate) async fn start_at(&self, address: &str) -> Host {
        let mut host = self.launch(address, "127.0.0.1:0");
        eventually(Duration::from_secs(60), "the host serves", async || {
            assert!(
                host.child.try_wait().expect("its state").is_none(),
                "it ended:\n{}",
                host.log()
            );
            host.log().contains("try        ")
        })
        .await;
        host.url = host.said("serving");
        host.admin = host.said("health").trim_end_matches("/readyz").to_owned();
        // Its document is asked for without TLS.
        if self.manifest == Path::new("spin.toml") && host.url.starts_with("http:") {
            host.contract = Some(contract::hold(host.address()).await);
        }
        host
    }

    /// Start a host, and wait for nothing.
    pub(crate) fn launch(&self, address: &str, admin: &str) -> Host {
        let mut command = self.command(&["up", "--listen", address, "--admin-listen", admin]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (log, lines) = (Arc::new(Mutex::new(String::new())), Lines::default());
        let outputs: [(Box<dyn std::io::Read + Send>, Option<Lines>); 2] = [
            (Box::new(child.stdout.take().expect("piped")), None),
            (
                Box::new(child.stderr.take().expect("piped")),
                Some(lines.clone()),
            ),
        ];
        for (output, lines) in outputs {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let mut log = log.lock().expect("no panic");
                    log.push_str(&line);
                    log.push('\n');
                    if let Some(Lines(lines)) = &lines {
                        lines.lock().expect("no panic").push(line);
                    }
                }
            });
        }
        Host {
            child,
            log,
            lines,
            url: String::new(),
            admin: String::new(),
            contract: None,
        }
    }

    /// A verb, to be started. What is meant stands before its own verbs.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let (verb, rest) = arguments.split_at(1);
        let mut command = self.bare(verb);
        command.args(self.flags()).args(rest);
        command
    }

    /// What is meant: the manifest and the data.
    pub(crate) fn flags(&self) -> [OsString; 4] {
        let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let (manifest, data) = (root.join(&self.manifest), self.data.path());
        [
            "--manifest".into(),
            manifest.into(),
            "--data".into(),
            data.into(),
        ]
    }

    /// The program with these arguments and no others.
    pub(crate) fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_marquee"));
        command.args(arguments);
        for name in [
            "DATABASE_URL_METADATA",
            "DATABASE_URL_RATING",
            "DATABASE_URL_USERS",
            "DATABASE_URL_BUS",
            "KAFKA_BROKERS",
            "MARQUEE_ADMIN",
            "MARQUEE_ADMIN_TOKEN",
            "MARQUEE_ADMIN_TOKEN_FILE",
        ] {
            command.env_remove(name);
        }
        command.envs(&self.environment).stdin(Stdio::null());
        command
    }
}

/// A running verb. Dropped, it is killed.
pub(crate) struct Ongoing(Child);

impl Ongoing {
    /// Read its output up to a line that contains this.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let output = self.0.stdout.as_mut().expect("piped");
        // Byte by byte: what comes after the line is for the next call.
        let mut line = Vec::new();
        let mut byte = [0];
        while output.read(&mut byte).expect("its output") == 1 {
            line.push(byte[0]);
            if byte[0] == b'\n' {
                let said = String::from_utf8_lossy(&line).into_owned();
                if said.contains(text) {
                    return said;
                }
                line.clear();
            }
        }
        panic!("it ended without saying {text:?}");
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a host has written to standard error, line by line; also when it has ended.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// All so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }
}

/// A running host. Dropped, it is killed, and if the test is failing its log is shown.
pub(crate) struct Host {
    child: Child,
    log: Arc<Mutex<String>>,
    lines: Lines,
    /// Where it serves.
    pub(crate) url: String,
    /// Where it answers about its health.
    pub(crate) admin: String,
    contract: Option<contract::Held>,
}

impl Host {
    /// All that it has printed so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    /// The lines of its log alone.
    pub(crate) fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Its resident memory in KiB, and its open files and sockets.
    pub(crate) fn footprint(&self) -> (u64, usize) {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = std::fs::read_to_string(process.join("status")).expect("its status");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|line| line.split_whitespace().next());
        let handles = std::fs::read_dir(process.join("fd")).expect("its files");
        let memory = memory.expect("its memory").parse();
        (memory.expect("a number"), handles.count())
    }

    /// Without the scheme.
    pub(crate) fn address(&self) -> &str {
        let address = self.url.trim_start_matches("http://");
        address.trim_start_matches("https://")
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.contract = None;
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it has ended");
    }

    /// Ask it to end, as a terminal or a supervisor does, and wait.
    pub(crate) async fn stop(self, signal: &str) -> (ExitStatus, String) {
        self.stop_within(signal, Duration::from_secs(15)).await
    }

    /// The same, where it may have something else to do first.
    pub(crate) async fn stop_within(
        mut self,
        signal: &str,
        patience: Duration,
    ) -> (ExitStatus, String) {
        self.contract = None;
        self.signal(signal);
        self.ended(patience).await
    }

    /// Wait until it has ended.
    pub(crate) async fn ended(mut self, patience: Duration) -> (ExitStatus, String) {
        self.contract = None;
        let mut status = None;
        eventually(patience, "it ends", async || {
            status = self.child.try_wait().expect("its state");
            status.is_some()
        })
        .await;
        (status.expect("it has ended"), self.log())
    }

    /// Send it a signal, by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let mut kill = Command::new("kill");
        let sent = kill.args(["-s", name, &pid]).status().expect("kill");
        assert!(sent.success());
    }

    fn said(&self, what: &str) -> String {
        let log = self.log();
        let line = log
            .lines()
            .find(|line| line.starts_with(what))
            .expect("the summary has it");
        line[what.len()..].trim().to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Before the port is anybody's.
        self.contract = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the host's log\n{}", self.log());
        }
    }
}

/// Under the system's temporary folder, which a server's user may enter.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("others may enter");
    folder
}
