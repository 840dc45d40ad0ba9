//! What the verbs with servers of their own share: which bus, the movie system's databases, and a connection beside all
//! pools.

use std::ops::Deref;

use clap::ValueEnum;
use marquee_embedded::Server;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

/// Which bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bus {
    Embedded,
    Kafka,
}

/// The databases of the movie system on this server, as its host is told of them.
pub(crate) async fn movie_databases(server: &Server) -> anyhow::Result<Vec<(String, String)>> {
    let mut environment = Vec::new();
    for name in ["metadata", "rating", "users", "bus"] {
        server.create_database(name).await?;
        let variable = format!("DATABASE_URL_{}", name.to_ascii_uppercase());
        environment.push((variable, server.url(name)));
    }
    Ok(environment)
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
