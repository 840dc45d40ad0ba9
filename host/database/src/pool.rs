//! A database and its pooled connections.
//!
//! Bounds: `pool_size` connections, `acquire_timeout` for one of them, `statement_timeout` and a little for an answer,
//! whether the server is there to keep it or not. One that was opened before the server was found to be read only is
//! not used again: its session may stay so when others can write. What drives connections lives on the runtime that the
//! database was made on.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use deadpool::{Status, managed::QueueMode};
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime,
};
use tokio::runtime::Handle;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::{
    Config, Connection, Error, Listener, Unit,
    cancel::Pace,
    connect::{Connector, Left},
    error::{chain, is_of_the_session, is_read_only, is_stale},
    known::Known,
    shared::Shared,
    telemetry::Tally,
    tls,
};

/// One database: cheap to clone, shared by all who use it.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    name: String,
    pool: Pool,
    /// From what it was made.
    config: Config,
    /// How long a statement's answer is waited for: the server's own bound does not help where it cannot be reached.
    patience: Duration,
    sessions: Arc<Mutex<Sessions>>,
    known: Known,
    shared: Shared,
    cancels: Pace,
    /// Connections that are not the pool's yet.
    left: Arc<Left>,
    tally: Tally,
    /// For connections that are not the pool's.
    postgres: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
    /// Where connections live, and what is done for them.
    runtime: Handle,
    /// Owns the short tasks that end statements nobody waits for any more.
    reapers: TaskTracker,
}

/// Which sessions may be used again.
#[derive(Default)]
struct Sessions {
    /// None that is older.
    since: Option<Instant>,
    /// Whether those that are opened now can only read, as far as is known.
    read_only: bool,
}

impl Database {
    /// Prepare a pool. Nothing is connected yet. Its connections will live on the async runtime that this is called on.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let bad = |reason: String| Error::Url {
            database: config.name.clone(),
            reason,
        };
        let runtime = Handle::try_current().map_err(|error| bad(error.to_string()))?;
        let (mut postgres, root_file) = parse(config.url.reveal()).map_err(bad)?;
        postgres.connect_timeout(config.acquire_timeout);
        // Set for the whole session when it starts, so that they cost no round trip later.
        let mut options = postgres.get_options().unwrap_or_default().to_owned();
        for (name, value) in session(config) {
            options.push_str(&format!(" -c {name}={value}"));
        }
        postgres.options(options.trim_start());
        notice_silence(&mut postgres);
        if postgres.get_application_name().is_none() {
            postgres.application_name("marquee");
        }

        let tls = if postgres.get_ssl_mode() == SslMode::Require {
            Some(tls::connector(root_file.as_deref()).map_err(bad)?)
        } else {
            postgres.ssl_mode(SslMode::Disable);
            None
        };
        let left = Arc::new(Left::default());
        let connector = Connector {
            runtime: runtime.clone(),
            tls: tls.clone(),
            patience: config.acquire_timeout,
            left: Arc::clone(&left),
        };
        let manager_config = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_connect(postgres.clone(), connector, manager_config);
        let sessions = Arc::new(Mutex::new(Sessions::default()));
        let of_now = Arc::clone(&sessions);
        let pool = Pool::builder(manager)
            .max_size(config.pool_size)
            .pre_recycle(Hook::sync_fn(move |_, metrics| {
                let since = of_now.lock().unwrap_or_else(PoisonError::into_inner).since;
                match since.is_some_and(|since| metrics.created < since) {
                    true => Err(HookError::message("of before")),
                    false => Ok(()),
                }
            }))
            // What was used last has its statements prepared and the server's caches warm; others rest.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(config.acquire_timeout))
            .create_timeout(Some(config.acquire_timeout))
            .build()
            .map_err(|error| Error::Url {
                database: config.name.clone(),
                reason: error.to_string(),
            })?;
        Ok(Self(Arc::new(Inner {
            name: config.name.clone(),
            pool,
            config: config.clone(),
            patience: config.statement_timeout + ON_THE_WAY,
            sessions,
            known: Known::default(),
            shared: Shared::default(),
            cancels: Pace::default(),
            left,
            tally: Tally::default(),
            postgres,
            tls,
            runtime,
            reapers: TaskTracker::new(),
        })))
    }

    /// What the manifest calls it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A connection outside any transaction: each statement stands alone.
    pub async fn connection(&self) -> Result<Connection, Error> {
        let begun = Instant::now();
        let object = self.0.pool.get().await;
        self.0.tally.waited(begun.elapsed(), object.is_ok());
        let object = object.map_err(|error| self.pool_error(error))?;
        if object.statement_cache.size() > STATEMENTS_CACHED {
            object.statement_cache.clear();
        }
        Ok(Connection::new(object, self.clone(), self.0.patience))
    }

    /// A unit of work. Nothing is sent, and no connection taken, before its first statement.
    pub fn unit(&self) -> Unit {
        Unit::new(self.clone())
    }

    /// Listen to a channel, on a connection beside the pool's. It breaks with the server; then listen anew.
    pub async fn listen(&self, channel: &str) -> Result<Listener, Error> {
        Listener::open(self.name(), &self.0.postgres, self.0.tls.as_ref(), channel).await
    }

    /// Whether the database answers now, and a new session can write.
    pub async fn ping(&self) -> Result<(), Error> {
        // What an old session is, others need not be.
        match self.asked_to_write().await {
            Err(Error::ReadOnly { .. }) => self.asked_to_write().await,
            asked => asked,
        }
    }

    async fn asked_to_write(&self) -> Result<(), Error> {
        let mut connection = self.connection().await?;
        let rows = connection.query(READ_ONLY, &[]).await?;
        let reason = match rows.first().map(|row| (row.get(0), row.get(1))) {
            Some((true, _)) => "the server is a standby",
            Some((_, true)) => "default_transaction_read_only is on",
            _ => {
                let mut sessions = self.sessions();
                if std::mem::take(&mut sessions.read_only) {
                    sessions.since = connection.opened();
                }
                return Ok(());
            }
        };
        self.found_read_only();
        Err(Error::ReadOnly {
            database: self.name().to_owned(),
            reason,
        })
    }

    /// A session could not write: none that is open now is used again, and none that is opened before others can.
    fn found_read_only(&self) {
        let mut sessions = self.sessions();
        sessions.since = Some(Instant::now());
        sessions.read_only = true;
        drop(sessions);
        self.0.left.clear();
        self.0.shared.retire();
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.0
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections in use and the most there can be.
    pub fn usage(&self) -> (usize, usize) {
        let status = self.pool();
        (
            status.size.saturating_sub(status.available),
            status.max_size,
        )
    }

    /// How the pool is.
    pub(crate) fn pool(&self) -> Status {
        self.0.pool.status()
    }

    /// What is counted.
    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// Give no more connections, and wait until the last reaper is done.
    pub async fn close(&self) {
        self.0.pool.close();
        self.0.left.clear();
        self.0.reapers.close();
        self.0.reapers.wait().await;
    }

    /// The same database with so many connections of its own.
    pub(crate) fn beside(&self, connections: usize) -> Result<Self, Error> {
        Self::new(&Config {
            pool_size: connections,
            ..self.0.config.clone()
        })
    }

    /// The settings that each session asks for at its start, by their names in lower case.
    pub(crate) fn session(&self) -> [(&'static str, String); 3] {
        session(&self.0.config)
    }

    pub(crate) fn driver_error(&self, error: tokio_postgres::Error) -> Error {
        Error::from_driver(&self.0.name, error)
    }

    fn pool_error(&self, error: PoolError) -> Error {
        match error {
            PoolError::Backend(error) => match self.driver_error(error) {
                // A server that refuses the connection (password, missing database) says so in a database error.
                Error::Statement { database, source } => Error::Unavailable {
                    database,
                    reason: chain(&source),
                },
                other => other,
            },
            other => Error::Unavailable {
                database: self.0.name.clone(),
                reason: match other {
                    PoolError::Timeout(_) => "no free connection in time".to_owned(),
                    other => chain(&other),
                },
            },
        }
    }

    /// What is wrong with the session after this error, or with all of them, so that it is not used again.
    pub(crate) fn spoils(&self, error: &tokio_postgres::Error) -> bool {
        if is_stale(error) {
            // What else was prepared before the same change is as stale, on every connection.
            self.0.pool.manager().statement_caches.clear();
        }
        if is_read_only(error) {
            self.found_read_only();
        }
        is_stale(error) || is_of_the_session(error)
    }

    /// No answer came in time.
    pub(crate) fn silent(&self) -> Error {
        Error::Unavailable {
            database: self.name().to_owned(),
            reason: "the server did not answer in time".to_owned(),
        }
    }

    pub(crate) fn closed(&self) -> Error {
        Error::Unavailable {
            database: self.name().to_owned(),
            reason: "the connection was closed".to_owned(),
        }
    }

    pub(crate) fn known(&self) -> &Known {
        &self.0.known
    }

    /// Wait until the server may be asked to end something that nobody waits for.
    pub(crate) async fn turn_to_cancel(&self) {
        self.0.cancels.turn().await;
    }

    pub(crate) fn lines(&self) -> &Shared {
        &self.0.shared
    }

    pub(crate) fn patience(&self) -> Duration {
        self.0.patience
    }

    pub(crate) fn statement_timeout(&self) -> Duration {
        self.0.config.statement_timeout
    }

    /// Whether whoever asks for a connection now has to wait.
    pub(crate) fn is_exhausted(&self) -> bool {
        let status = self.pool();
        status.available == 0 && status.size >= status.max_size
    }

    /// Whether somebody waits for a connection.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.pool().waiting > 0
    }

    /// Do something on the threads that connections live on, to its end or until the caller goes away: whoever reads an
    /// answer that others wait behind is to have its turn when it comes.
    pub async fn drive<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match AbortOnDropHandle::new(self.0.runtime.spawn(work)).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime stops, and the caller with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// How other connections to the same server are opened.
    pub(crate) fn postgres(&self) -> (&tokio_postgres::Config, Option<MakeRustlsConnect>) {
        (&self.0.postgres, self.0.tls.clone())
    }

    /// Do what is left to do for a connection that nobody waits for.
    pub(crate) fn reap(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.reapers.spawn_on(work, &self.0.runtime);
    }
}

fn session(config: &Config) -> [(&'static str, String); 3] {
    let ms = |timeout: Duration| timeout.as_millis().to_string();
    [
        ("statement_timeout", ms(config.statement_timeout)),
        (
            "idle_in_transaction_session_timeout",
            ms(config.idle_in_transaction_timeout),
        ),
        ("timezone", "UTC".to_owned()),
    ]
}

/// The driver's configuration, and the file of certificates to trust. tokio-postgres does not know
/// `sslrootcert`, nor libpq's stricter modes; ours verifies always, which is what those ask for.
fn parse(url: &str) -> Result<(tokio_postgres::Config, Option<String>), String> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        let config = url
            .parse()
            .map_err(|error: tokio_postgres::Error| chain(&error))?;
        return Ok((config, None));
    }
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut root_file = None;
    let mut kept = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "sslrootcert" => root_file = Some(value.into_owned()),
            "sslmode" if value == "verify-ca" || value == "verify-full" => {
                kept.push("sslmode=require".to_owned());
            }
            _ => kept.push(format!(
                "{name}={}",
                url::form_urlencoded::byte_serialize(value.as_bytes())
                    .collect::<String>()
                    .replace('+', "%20")
            )),
        }
    }
    let config = format!("{base}?{}", kept.join("&"))
        .parse()
        .map_err(|error: tokio_postgres::Error| chain(&error))?;
    Ok((config, root_file))
}

/// A server that went without a word is noticed in a minute at most, also by a connection that waits for nothing.
fn notice_silence(config: &mut tokio_postgres::Config) {
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    if config.get_keepalives_interval().is_none() {
        config
            .keepalives_idle(SILENCE)
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3);
    }
}

const READ_ONLY: &str =
    "select pg_is_in_recovery(), current_setting('transaction_read_only')::boolean";
/// For an answer's way, beside the time that the server takes for it.
const ON_THE_WAY: Duration = Duration::from_secs(5);
/// How long sent data may stay unacknowledged, and a connection silent before it is probed.
const SILENCE: Duration = Duration::from_secs(30);
/// Statements kept prepared on a connection. A component that builds SQL as it goes would fill the server's
/// memory otherwise; past this the cache starts anew.
const STATEMENTS_CACHED: usize = 256;
