//! The server: its folder, its process, its databases.
//!
//! Layout of the folder: `data` (PostgreSQL's own), `lock` (who uses it), `log`, and the socket's folder, which is
//! elsewhere where the path would be too long for a socket. `data` is there when it is whole: a cluster is made as `making-...`
//! and renamed.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio_postgres::NoTls;

use crate::{Error, Programs, programs::major, user::User};

/// How a server is to be.
#[derive(Debug, Clone)]
pub struct Options {
    folder: PathBuf,
    port: Option<u16>,
    is_durable: bool,
}

impl Options {
    /// A durable server in this folder, on a unix socket.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            port: None,
            is_durable: true,
        }
    }

    /// Listen on this port of the loopback interface too, without passwords. For tests.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Give up durability for speed. For tests that do not crash the machine.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.is_durable = false;
        self
    }
}

/// A running server. Dropped without [`Server::stop`], it is told to stop, and nobody waits for that. That of a host that was
/// killed goes on by itself, and is found by the next start.
#[derive(Debug)]
pub struct Server {
    programs: Programs,
    user: User,
    options: Options,
    socket: PathBuf,
    child: Option<Child>,
    was_adopted: bool,
    /// Whether it goes on when this is dropped.
    is_left: bool,
    /// Held as long as the folder is used.
    _lock: File,
}

impl Server {
    /// Start a server in its folder, made where it is missing; take over one that runs there already.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let user = User::choose()?;
        let folder = absolute(&options.folder)?;
        std::fs::create_dir_all(&folder).map_err(|error| Error::Folder {
            path: folder.clone(),
            reason: error.to_string(),
        })?;
        let lock = lock(&folder)?;
        let data = folder.join("data");
        let version = std::fs::read_to_string(data.join("PG_VERSION")).ok();
        let version = version.as_deref().and_then(major);
        let programs = Programs::find_for(version)?;
        let socket = socket_folder(&folder);
        user.make_folder(&socket)?;
        let options = Options { folder, ..options };
        let mut server = Self {
            programs,
            user,
            options,
            socket,
            child: None,
            was_adopted: false,
            is_left: false,
            _lock: lock,
        };
        match version {
            None => server.initialise(&data).await?,
            Some(version) => server.fits(version).await?,
        }
        if server.is_running(&data).await {
            server.was_adopted = true;
            return Ok(server);
        }
        if let Err(error) = server.spawn(&data).await {
            // What was begun is ended, and this is the error that counts.
            let _ = server.stop_in_mode("immediate").await;
            return Err(error);
        }
        Ok(server)
    }

    /// Whether the programs can read data of this version.
    async fn fits(&self, data: u32) -> Result<(), Error> {
        let programs = self.programs.version().await?;
        if programs == data {
            return Ok(());
        }
        let folder = self.options.folder.clone();
        Err(Error::OtherVersion {
            folder,
            data,
            programs,
        })
    }

    /// Where a database of the server is, for a client on this machine: by TCP where a port was asked for.
    pub fn url(&self, database: &str) -> String {
        match self.options.port {
            Some(port) => format!("postgres://{USER}@127.0.0.1:{port}/{database}"),
            None => socket_url(&self.socket, database),
        }
    }

    /// Make a database where it is missing.
    pub async fn create_database(&self, name: &str) -> Result<(), Error> {
        let client = self.connect().await?;
        let exists = client
            .query_opt("select 1 from pg_database where datname = $1", &[&name])
            .await?;
        if exists.is_none() {
            let quoted = name.replace('"', "\"\"");
            client
                .batch_execute(&format!("create database \"{quoted}\""))
                .await?;
        }
        Ok(())
    }

    /// Whether it ran before this start, left by a host that was killed.
    pub fn was_adopted(&self) -> bool {
        self.was_adopted
    }

    /// Let it go on without its host, as when that is killed. For tests.
    pub fn leave(mut self) {
        self.is_left = true;
    }

    /// Stop it: connections are ended, everything is written, at most eight seconds.
    pub async fn stop(self) -> Result<(), Error> {
        self.stop_in_mode("fast").await
    }

    /// Stop it as a crash would: nothing is written that was not written. For tests.
    pub async fn stop_immediately(self) -> Result<(), Error> {
        self.stop_in_mode("immediate").await
    }

    async fn stop_in_mode(mut self, mode: &str) -> Result<(), Error> {
        let mut command = self.user.command(&self.programs.path("pg_ctl"));
        command
            .args(["stop", "-w", "-t", "8", "-m", mode, "-D"])
            .arg(self.options.folder.join("data"));
        run("pg_ctl", command).await?;
        self.is_left = true;
        if let Some(mut child) = self.child.take() {
            // It has ended; this only takes the process off the table.
            let _ = child.wait().await;
        }
        Ok(())
    }

    async fn initialise(&self, data: &Path) -> Result<(), Error> {
        let mut command = self.user.command(&self.programs.path("initdb"));
        command.args([
            "--username",
            USER,
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--no-instructions",
        ]);
        if !self.options.is_durable {
            command.arg("--no-sync");
        }
        let folder = &self.options.folder;
        let failed = |error: std::io::Error| Error::Folder {
            path: folder.clone(),
            reason: error.to_string(),
        };
        // What was killed left its part behind, and may still be writing there.
        for entry in std::fs::read_dir(folder).map_err(failed)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(MAKING) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        let making = folder.join(format!("{MAKING}{now}"));
        self.user.make_folder(&making)?;
        command.arg("-D").arg(&making).kill_on_drop(true);
        run("initdb", command).await?;
        // An empty one may be there, of a version that made it first; one with something in it is not passed over.
        std::fs::rename(&making, data).map_err(failed)?;
        if self.options.is_durable {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(failed)?;
        }
        Ok(())
    }

    async fn spawn(&mut self, data: &Path) -> Result<(), Error> {
        let log = self.options.folder.join("log");
        let open = || File::options().create(true).append(true).open(&log);
        let failed = |error: std::io::Error| Error::Folder {
            path: log.clone(),
            reason: error.to_string(),
        };
        let (out, err) = (open().map_err(failed)?, open().map_err(failed)?);
        let mut command = self.user.command(&self.programs.path("postgres"));
        command
            .arg("-D")
            .arg(data)
            .arg("-k")
            .arg(&self.socket)
            .args(["-p", &self.port().to_string()]);
        let listen = if self.options.port.is_some() {
            "127.0.0.1"
        } else {
            ""
        };
        let mut set = vec![
            format!("listen_addresses={listen}"),
            "max_connections=200".to_owned(),
            // Short statements only: compiling them costs more than it gains.
            "jit=off".to_owned(),
            // What is read comes from memory or from a disk without heads: any row costs about what the next one does.
            "random_page_cost=1.1".to_owned(),
        ];
        if !self.options.is_durable {
            set.extend(
                [
                    "fsync=off",
                    "synchronous_commit=off",
                    "full_page_writes=off",
                ]
                .map(str::to_owned),
            );
        }
        for setting in set {
            command.arg("-c").arg(setting);
        }
        command.stdout(Stdio::from(out)).stderr(Stdio::from(err));
        let child = command.spawn().map_err(|error| Error::Program {
            program: "postgres",
            output: error.to_string(),
        })?;
        let child = self.child.insert(child);
        let deadline = Instant::now() + READY;
        loop {
            if connect(&self.socket, self.options.port).await.is_ok() {
                return Ok(());
            }
            let ended = child.try_wait().ok().flatten().is_some();
            if ended || Instant::now() > deadline {
                return Err(Error::Silent {
                    tail: tail(&log),
                    log,
                });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether a server runs in the folder and answers. One that was left in the middle of its start, its recovery or
    /// its stop is waited for, until it answers or has ended.
    async fn is_running(&self, data: &Path) -> bool {
        let deadline = Instant::now() + READY;
        while let Some(process) = process_of(data) {
            if self.connect().await.is_ok() {
                return true;
            }
            if !is_postgres(process) || Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    async fn connect(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        connect(&self.socket, self.options.port).await
    }

    fn port(&self) -> u16 {
        self.options.port.unwrap_or(PORT)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        let begun = self.child.as_ref().and_then(Child::id);
        let found = || process_of(&self.options.folder.join("data")).filter(|it| is_postgres(*it));
        let process = begun.or_else(found).and_then(|id| i32::try_from(id).ok());
        if let Some(process) = process.and_then(Pid::from_raw) {
            // As "fast" is: sessions are ended and everything is written.
            let _ = kill_process(process, Signal::INT);
        }
    }
}

/// Whose process id the folder names. It may be long gone, after a crash.
fn process_of(data: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Whether this process is a PostgreSQL, where the system says so in `/proc`.
fn is_postgres(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/comm"))
        .is_ok_and(|name| name.starts_with("postgres"))
}

async fn connect(
    socket: &Path,
    port: Option<u16>,
) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let url = match port {
        Some(port) => format!("postgres://{USER}@127.0.0.1:{port}/postgres"),
        None => socket_url(socket, "postgres"),
    };
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    // It ends when the client is dropped, a few lines on.
    #[expect(
        clippy::disallowed_methods,
        reason = "owned by the client's life, which is one call"
    )]
    tokio::spawn(connection);
    Ok(client)
}

fn socket_url(socket: &Path, database: &str) -> String {
    let path: String = socket.to_string_lossy().bytes().map(percent).collect();
    format!("postgres://{USER}@{path}:{PORT}/{database}")
}

fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// A socket's path has at most 107 bytes, its name here 13.
fn socket_folder(folder: &Path) -> PathBuf {
    let inside = folder.join("socket");
    if inside.as_os_str().len() <= 90 {
        return inside;
    }
    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    std::env::temp_dir().join(format!("marquee-{:016x}", hasher.finish()))
}

fn absolute(folder: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(folder).map_err(|error| Error::Folder {
        path: folder.to_owned(),
        reason: error.to_string(),
    })
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let failed = |error: std::io::Error| Error::Folder {
        path: path.clone(),
        reason: error.to_string(),
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::InUse(folder.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

async fn run(program: &'static str, mut command: Command) -> Result<(), Error> {
    let output = command.output().await.map_err(|error| Error::Program {
        program,
        output: error.to_string(),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Error::Program {
        program,
        output: last_lines(&text),
    })
}

fn tail(log: &Path) -> String {
    last_lines(&std::fs::read_to_string(log).unwrap_or_default())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(5)..)
        .unwrap_or_default()
        .join(" | ")
}

/// What the folder of a cluster that is not made yet begins with.
const MAKING: &str = "making-";
/// The one role of a server that only one person uses.
const USER: &str = "postgres";
/// Names the socket's file; no port is opened for it.
const PORT: u16 = 5432;
/// After a crash it replays its log first.
const READY: Duration = Duration::from_secs(60);
