//! PostgreSQL and Kafka in containers, for a run of tests on a machine with a Docker engine.
//!
//! They end with the value that is returned, or with the process, even if it is killed. Their ports are on all interfaces of
//! the machine, as Docker has it, so PostgreSQL asks for a password of the run's own. Their images are those of Docker Hub, or
//! what `POSTGRES_IMAGE` and `KAFKA_IMAGE` name, as for `compose.yaml`.

use std::time::Duration;

use testcontainers::{
    ContainerAsync, GenericImage, ImageExt as _, core::IntoContainerPort as _,
    runners::AsyncRunner as _,
};
use tokio_postgres::NoTls;

use crate::{
    condition::eventually,
    free_port,
    guardian::{self, Guardian},
    kafka_server,
};

/// A running container.
pub struct Server {
    _container: ContainerAsync<GenericImage>,
    _guardian: Guardian,
}

impl From<ContainerAsync<GenericImage>> for Server {
    fn from(container: ContainerAsync<GenericImage>) -> Self {
        let end = format!("docker rm --force --volumes {}", container.id());
        Self {
            _container: container,
            _guardian: guardian::after_this_process(&end),
        }
    }
}

/// A PostgreSQL, quick instead of durable, and its URL without a database's name.
pub async fn postgres() -> (String, Server) {
    let password = uuid::Uuid::now_v7().simple().to_string();
    let port = free_port();
    let container = image("POSTGRES_IMAGE", POSTGRES)
        .with_mapped_port(port, 5432.tcp())
        .with_env_var("POSTGRES_PASSWORD", &password)
        .with_cmd([
            "postgres",
            "-c",
            "max_connections=200",
            "-c",
            "jit=off",
            "-c",
            "fsync=off",
            "-c",
            "synchronous_commit=off",
            "-c",
            "full_page_writes=off",
        ])
        .start()
        .await
        .unwrap_or_else(|error| {
            panic!("there is no container with PostgreSQL: {error}; {WAYS_OUT}")
        });
    let server = Server::from(container);
    let url = format!("postgres://postgres:{password}@127.0.0.1:{port}");
    // While it prepares its folder it listens on no port.
    eventually(START, "PostgreSQL answers", async || {
        tokio_postgres::connect(&format!("{url}/postgres"), NoTls)
            .await
            .is_ok()
    })
    .await;
    (url, server)
}

/// A broker in KRaft mode, and its address.
pub async fn kafka() -> (String, Server) {
    let port = free_port();
    let brokers = format!("127.0.0.1:{port}");
    let usual = format!("apache/kafka:{}", kafka_server::VERSION);
    let mut request = image("KAFKA_IMAGE", &usual)
        .with_mapped_port(port, 9092.tcp())
        .with_env_var(
            "KAFKA_LISTENERS",
            "PLAINTEXT://:9092,CONTROLLER://localhost:9093",
        )
        .with_env_var(
            "KAFKA_ADVERTISED_LISTENERS",
            format!("PLAINTEXT://{brokers}"),
        );
    for (name, value) in kafka_server::SETTINGS {
        let variable = format!("KAFKA_{}", name.replace('.', "_").to_uppercase());
        request = request.with_env_var(variable, *value);
    }
    let container = request
        .with_env_var("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093")
        .start()
        .await
        .unwrap_or_else(|error| panic!("there is no container with Kafka: {error}; {WAYS_OUT}"));
    let server = Server::from(container);
    let asked = brokers.clone();
    eventually(START, "Kafka answers", async || {
        let asked = asked.clone();
        tokio::task::spawn_blocking(move || kafka_server::answers(&asked))
            .await
            .expect("no panic")
    })
    .await;
    (brokers, server)
}

/// The one that a variable names, or the usual one.
fn image(variable: &str, usual: &str) -> GenericImage {
    let named = std::env::var(variable).unwrap_or_default();
    let named = if named.is_empty() { usual } else { &named };
    match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => GenericImage::new(name, tag),
        _ => GenericImage::new(named, "latest"),
    }
}

/// The newest of those that the host supports.
const POSTGRES: &str = "postgres:18";
/// For whom the engine cannot fetch them.
const WAYS_OUT: &str = "POSTGRES_IMAGE and KAFKA_IMAGE may name images that are there, and `make test DOCKER=` does without";
/// The images are fetched before.
const START: Duration = Duration::from_secs(90);
