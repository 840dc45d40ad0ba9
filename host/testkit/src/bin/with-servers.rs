//! Starts PostgreSQL and Kafka once for a run of many test processes, runs a command, and ends them.
//!
//! `with-servers cargo test --workspace`

#![expect(
    clippy::disallowed_methods,
    reason = "this is the command line: the environment names servers that are there already"
)]

use std::process::{Command, ExitCode};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: with-servers COMMAND [ARGUMENT ...]");
        return ExitCode::from(2);
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let postgres = match std::env::var("DATABASE_URL_TEST") {
        Ok(url) => {
            marquee_testkit::sweep_databases(&url).await;
            None
        }
        Err(_) => {
            let (url, guardian) = servers::postgres().await;
            command.env("DATABASE_URL_TEST", url);
            Some(guardian)
        }
    };
    let kafka = match std::env::var_os("KAFKA_BROKERS_TEST") {
        Some(_) => None,
        None => {
            let (brokers, server) = servers::kafka().await;
            command.env("KAFKA_BROKERS_TEST", brokers);
            Some(server)
        }
    };
    let status = tokio::task::spawn_blocking(move || command.status())
        .await
        .expect("no panic");
    drop((postgres, kafka));
    match status {
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            eprintln!("with-servers: the command cannot be run: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "docker")]
use marquee_testkit::docker as servers;

#[cfg(not(feature = "docker"))]
mod servers {
    pub(super) use marquee_testkit::for_a_run as postgres;

    pub(super) async fn kafka() -> (String, marquee_testkit::kafka_server::Server) {
        let server = tokio::task::spawn_blocking(marquee_testkit::kafka_server::start)
            .await
            .expect("Kafka starts");
        (server.brokers().to_owned(), server)
    }
}
