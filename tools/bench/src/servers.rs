//! What the verbs with servers of their own share: which bus, and a connection beside all pools.

use std::ops::Deref;

use clap::ValueEnum;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

/// Which bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bus {
    Embedded,
    Kafka,
}

/// A connection to a database, and what drives it.
pub(crate) struct Connected {
    client: Client,
    _driving: JoinSet<Result<(), tokio_postgres::Error>>,
}

impl Connected {
    pub(crate) async fn to(url: &str) -> anyhow::Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        Ok(Self {
            client,
            _driving: driving,
        })
    }
}

impl Deref for Connected {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}
