//! Listening for notifications on a connection of its own.
//!
//! Promise: while `next` waits, what was notified is seen; a connection that broke is said so. It never opens a
//! transaction. Not here: trying again. A notification is a hint: those who listen also look by themselves.

use std::pin::Pin;

use futures::{Stream, StreamExt as _, stream};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Socket, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::Error;

/// A connection that listens to one channel.
pub struct Listener {
    database: String,
    messages: Messages,
    /// Kept, since the connection ends with its client.
    _client: Client,
}

type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, tokio_postgres::Error>> + Send>>;

impl Listener {
    pub(crate) async fn open(
        database: &str,
        config: &Config,
        tls: Option<&MakeRustlsConnect>,
        channel: &str,
    ) -> Result<Self, Error> {
        let connected = match tls {
            Some(tls) => connect(config, tls.clone()).await,
            None => connect(config, NoTls).await,
        };
        let (client, mut messages) =
            connected.map_err(|error| Error::from_driver(database, error))?;
        // The channel is an identifier and cannot be a parameter.
        let sql = format!("listen \"{}\"", channel.replace('"', "\"\""));
        {
            let mut listening = std::pin::pin!(client.batch_execute(&sql));
            loop {
                tokio::select! {
                    result = &mut listening => {
                        result.map_err(|error| Error::from_driver(database, error))?;
                        break;
                    }
                    // The statement's own answer comes through here too.
                    message = messages.next() => drop(heard(database, message)?),
                }
            }
        }
        Ok(Self {
            database: database.to_owned(),
            messages,
            _client: client,
        })
    }

    /// The payload of the next notification. Cancel-safe.
    pub async fn next(&mut self) -> Result<String, Error> {
        loop {
            let message = self.messages.next().await;
            if let Some(payload) = heard(&self.database, message)? {
                return Ok(payload);
            }
        }
    }
}

async fn connect<T>(config: &Config, tls: T) -> Result<(Client, Messages), tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, mut connection) = config.connect(tls).await?;
    let messages = stream::poll_fn(move |context| connection.poll_message(context));
    Ok((client, Box::pin(messages)))
}

fn heard(
    database: &str,
    message: Option<Result<AsyncMessage, tokio_postgres::Error>>,
) -> Result<Option<String>, Error> {
    match message {
        Some(Ok(AsyncMessage::Notification(notification))) => {
            Ok(Some(notification.payload().to_owned()))
        }
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(Error::from_driver(database, error)),
        None => Err(Error::Unavailable {
            database: database.to_owned(),
            reason: "the listening connection was closed".to_owned(),
        }),
    }
}
