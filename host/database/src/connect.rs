//! Opening connections.
//!
//! Promise: a connection lives on the runtime that the database was made on, whoever asked for it. Whoever needs the first
//! one may be a thread of low priority that rests most of the time; whoever uses it later is not to wait for that.
//!
//! A server begins a process for each, and looks up much before it serves: milliseconds of its CPUs. So one that is being opened
//! for somebody who goes away goes on, and serves who asks next. Bounds: each began within the pool's bound, and is counted again
//! before another one begins, so there are never more than the pool may have; it takes `patience` at the most.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool_postgres::Connect;
use futures::{future, future::BoxFuture};
use tokio::{runtime::Handle, task::JoinHandle, time::timeout};
use tokio_postgres::{
    Client, Config, Error, NoTls, Socket,
    tls::{MakeTlsConnect, TlsConnect},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

/// Opens the pool's connections.
pub(crate) struct Connector {
    pub(crate) runtime: Handle,
    /// None: without TLS.
    pub(crate) tls: Option<MakeRustlsConnect>,
    /// How long one may take to open.
    pub(crate) patience: Duration,
    pub(crate) left: Arc<Left>,
}

/// What was being opened when whoever asked for it went away.
#[derive(Default)]
pub(crate) struct Left(Mutex<Vec<Opening>>);

type Opened = Result<(Client, JoinHandle<()>), Error>;
/// None: it took too long.
type Opening = AbortOnDropHandle<Option<Opened>>;

/// Somebody waits for it.
struct Waiting<'a> {
    left: &'a Left,
    opening: Option<Opening>,
}

impl Connect for Connector {
    fn connect(&self, config: &Config) -> BoxFuture<'_, Opened> {
        let config = config.clone();
        Box::pin(async move {
            while let Some(opening) = self.left.take() {
                if let Some(Ok((client, driver))) = self.wait(opening).await
                    && !client.is_closed()
                {
                    return Ok((client, driver));
                }
            }
            match self.wait(self.begin(config)).await {
                Some(opened) => opened,
                // The pool has as much patience, and says so.
                None => future::pending().await,
            }
        })
    }
}

impl Connector {
    fn begin(&self, config: Config) -> Opening {
        let (tls, here) = (self.tls.clone(), self.runtime.clone());
        let patience = self.patience;
        AbortOnDropHandle::new(self.runtime.spawn(async move {
            let opening = async {
                match tls {
                    Some(tls) => open(&here, &config, tls).await,
                    None => open(&here, &config, NoTls).await,
                }
            };
            timeout(patience, opening).await.ok()
        }))
    }

    async fn wait(&self, opening: Opening) -> Option<Opened> {
        let waiting = Waiting {
            left: &self.left,
            opening: Some(opening),
        };
        waiting.opened().await
    }
}

impl Left {
    /// None of them is used.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn take(&self) -> Option<Opening> {
        self.lock().pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Opening>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    async fn opened(mut self) -> Option<Opened> {
        let joined = self.opening.as_mut()?.await;
        self.opening = None;
        match joined {
            Ok(opened) => opened,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime stops, and whoever waits with it.
                Err(_) => future::pending().await,
            },
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(opening) = self.opening.take() {
            self.left.lock().push(opening);
        }
    }
}

async fn open<T>(runtime: &Handle, config: &Config, tls: T) -> Opened
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await?;
    // The pool owns it: it ends the task when it drops the client.
    let driver = runtime.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke; whoever waited for it is told");
        }
    });
    Ok((client, driver))
}
