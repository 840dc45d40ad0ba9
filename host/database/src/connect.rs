//! Opening connections.
//!
//! Promise: a connection lives on the runtime that the database was made on, whoever asked for it. Whoever needs the first
//! one may be a thread of low priority that rests most of the time; whoever uses it later is not to wait for that.

use deadpool_postgres::Connect;
use futures::{future, future::BoxFuture};
use tokio::{runtime::Handle, task::JoinHandle};
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
}

impl Connect for Connector {
    fn connect(&self, config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        let (config, tls, here) = (config.clone(), self.tls.clone(), self.runtime.clone());
        let connecting = self.runtime.spawn(async move {
            match tls {
                Some(tls) => open(&here, &config, tls).await,
                None => open(&here, &config, NoTls).await,
            }
        });
        let connecting = AbortOnDropHandle::new(connecting);
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime stops, and whoever waits with it.
                    Err(_) => future::pending().await,
                },
            }
        })
    }
}

async fn open<T>(
    runtime: &Handle,
    config: &Config,
    tls: T,
) -> Result<(Client, JoinHandle<()>), Error>
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
