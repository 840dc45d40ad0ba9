//! Starts a PostgreSQL in a folder, says so in one line, and waits to be killed. For tests of what a killed host leaves.
//!
//! `hold-postgres FOLDER`

use marquee_embedded::{Options, Server};

#[tokio::main]
async fn main() {
    let folder = std::env::args_os().nth(1).expect("a folder");
    let server = Server::start(Options::new(folder))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    println!("{}", server.url("postgres"));
    std::future::pending::<()>().await;
}
