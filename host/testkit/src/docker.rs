//! PostgreSQL and Kafka in containers, for a run of tests on a machine with a Docker engine.
//!
//! They end with the value that is returned. Their ports are on all interfaces of the machine, as Docker has it, so
//! PostgreSQL asks for a password of the run's own.

use std::time::Duration;

use testcontainers::{
    ContainerAsync, GenericImage, ImageExt as _, core::IntoContainerPort as _,
    runners::AsyncRunner as _,
};
use tokio_postgres::NoTls;

use crate::{condition::eventually, free_port, kafka_server};

/// A PostgreSQL, quick instead of durable, and its URL without a database's name.
pub async fn postgres() -> (String, ContainerAsync<GenericImage>) {
    let password = uuid::Uuid::now_v7().simple().to_string();
    let port = free_port();
    let container = GenericImage::new("postgres", POSTGRES)
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
        .expect("a container with PostgreSQL");
    let url = format!("postgres://postgres:{password}@127.0.0.1:{port}");
    // While it prepares its folder it listens on no port.
    eventually(START, "PostgreSQL answers", async || {
        tokio_postgres::connect(&format!("{url}/postgres"), NoTls)
            .await
            .is_ok()
    })
    .await;
    (url, container)
}

/// A broker in KRaft mode, and its address.
pub async fn kafka() -> (String, ContainerAsync<GenericImage>) {
    let port = free_port();
    let brokers = format!("127.0.0.1:{port}");
    let mut request = GenericImage::new("apache/kafka", kafka_server::VERSION)
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
        .expect("a container with Kafka");
    let asked = brokers.clone();
    eventually(START, "Kafka answers", async || {
        let asked = asked.clone();
        tokio::task::spawn_blocking(move || kafka_server::answers(&asked))
            .await
            .expect("no panic")
    })
    .await;
    (brokers, container)
}

/// The newest of those that the host supports.
const POSTGRES: &str = "18";
/// The images are fetched before.
const START: Duration = Duration::from_secs(90);
