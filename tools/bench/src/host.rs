//! A host of its own for a run: on free ports, with a data folder that goes with it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::UnixStream;

/// Ends when it is dropped, and everything that it started with it.
pub(crate) struct Host {
    child: Child,
    data: Arc<TempDir>,
    /// Where it serves.
    pub(crate) address: String,
    /// Where it tells of its health.
    pub(crate) health: String,
}

impl Host {
    /// Start it and wait until it serves.
    pub(crate) async fn start(program: &Path, manifest: &Path) -> anyhow::Result<Self> {
        Self::start_with(program, manifest, &[]).await
    }

    /// The same with these variables, such as databases that are there already.
    pub(crate) async fn start_with(
        program: &Path,
        manifest: &Path,
        environment: &[(String, String)],
    ) -> anyhow::Result<Self> {
        Self::start_in(program, manifest, environment, &data()?).await
    }

    /// The same with the data of one before it.
    pub(crate) async fn start_in(
        program: &Path,
        manifest: &Path,
        environment: &[(String, String)],
        data: &Arc<TempDir>,
    ) -> anyhow::Result<Self> {
        let own = data.path().join("log");
        if own.exists() {
            // That of the one before; the one before that is history.
            fs::rename(&own, data.path().join("log.before"))?;
        }
        let log = fs::File::create(own)?;
        let child = Command::new(program)
            .args([
                "up",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(data.path())
            .arg("--manifest")
            .arg(manifest)
            // Where an application knows of tokens, the load needs none.
            .env("SPIN_VARIABLE_AUTH", "open")
            // A load may be sent for many clients.
            .env("MARQUEE_TRUSTED_PROXIES", "1")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started; build it first", program.display()))?;
        let mut host = Self {
            child,
            data: Arc::clone(data),
            address: String::new(),
            health: String::new(),
        };
        let begun = Instant::now();
        loop {
            let log = host.log()?;
            let said = |what: &str| log.lines().find_map(|line| line.strip_prefix(what));
            if let (Some(url), Some(health), true) =
                (said("serving"), said("health"), log.contains("\ntry "))
            {
                let place = |url: &str| url.trim().trim_start_matches("http://").to_owned();
                host.address = place(url);
                host.health = place(health).trim_end_matches("/readyz").to_owned();
                return Ok(host);
            }
            if let Some(status) = host.child.try_wait()? {
                bail!("the host ended with {status}:\n{log}");
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "the host does not serve:\n{log}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Send it a signal: `KILL`, `STOP`, `CONT` or `TERM`.
    pub(crate) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status()?;
        ensure!(sent.success(), "the host takes no signal {signal}");
        Ok(())
    }

    /// All that it has said.
    pub(crate) fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.data.path().join("log"))?)
    }

    /// Where another host finds the databases of this one; nothing where they were given to it too.
    pub(crate) fn databases(&self) -> Vec<(String, String)> {
        let socket = self.data.path().join("postgres/socket");
        if !socket.exists() {
            return Vec::new();
        }
        let socket = socket.display().to_string().replace('/', "%2F");
        let url = |name: &str| {
            let variable = format!("DATABASE_URL_{}", name.to_uppercase());
            (
                variable,
                format!("postgres://postgres@{socket}:5432/{name}"),
            )
        };
        let names = ["metadata", "rating", "users", "bus", "releases"];
        names.map(url).into()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory, in KiB.
    pub(crate) fn memory_kib(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("its memory is not known")?.parse()?)
    }

    /// Its open files and sockets.
    pub(crate) fn handles(&self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// A call of the admin API. It must succeed.
    pub(crate) async fn admin(
        &self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Vec<u8>,
    ) -> anyhow::Result<Bytes> {
        let socket: PathBuf = self.data.path().join("admin.sock");
        let stream = UnixStream::connect(socket).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut driving = tokio::task::JoinSet::new();
        driving.spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, kind)
            .body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "{path}: {status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }
}

/// The program of a host: this one, or the one beside the bench.
pub(crate) fn program(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    match given {
        Some(program) => Ok(program.to_owned()),
        None => Ok(std::env::current_exe()?.with_file_name("marquee")),
    }
}

/// A folder for the data of a host.
pub(crate) fn data() -> anyhow::Result<Arc<TempDir>> {
    let data = tempfile::tempdir()?;
    // The embedded PostgreSQL may run as another user.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(data.path(), open)?;
    Ok(Arc::new(data))
}

impl Drop for Host {
    fn drop(&mut self) {
        // A signal that it heeds, so that its PostgreSQL ends with it.
        let pid = self.child.id().to_string();
        for signal in ["TERM", "CONT"] {
            let _ = Command::new("kill").args(["-s", signal, &pid]).status();
        }
        // It bounds its own end.
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
