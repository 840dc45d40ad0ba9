//! What a statement outside a unit of work costs: `statements URL HOW CALLERS TIMES [SQL]`.
//!
//! HOW is `alone` (a connection of the pool for each), `shared` (as the host does) or `one` (all down one connection, which
//! is what sharing comes to where nothing is held back). Run it under `strace -fc` for its system calls.

#![expect(
    clippy::print_stdout,
    reason = "what it measures goes to standard output"
)]

use std::time::Instant;

use deadpool_postgres::ClientWrapper;
use marquee_database::{Config, Database, Secret, Work};
use tokio::task::JoinSet;
use tokio_postgres::{NoTls, Statement};

struct Read;

impl Work for Read {
    type Output = usize;

    async fn run(
        &self,
        client: &ClientWrapper,
        statement: &Statement,
    ) -> Result<(usize, usize), tokio_postgres::Error> {
        Ok((client.query(statement, &[]).await?.len(), 0))
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("URL HOW CALLERS TIMES [SQL]");
    let (url, how) = (next()?, next()?);
    let (callers, times): (usize, usize) = (next()?.parse()?, next()?.parse()?);
    let sql = next().unwrap_or_else(|_| "select 1".to_owned());
    let mut config = Config::new("statements", Secret::new(url.clone()));
    config.pool_size = 16;
    let database = Database::new(&config)?;
    let (client, driver) = tokio_postgres::connect(&url, NoTls).await?;
    let mut driving = JoinSet::new();
    driving.spawn(driver);
    let client = std::sync::Arc::new(client);
    let prepared = client.prepare(&sql).await?;

    let mut begun = Instant::now();
    // The first round connects and prepares.
    for round in 0..2 {
        begun = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let (database, how, sql) = (database.clone(), how.clone(), sql.clone());
            let (client, prepared) = (client.clone(), prepared.clone());
            tasks.spawn(async move {
                let times = if round == 0 { 8 } else { times };
                for _ in 0..times {
                    let done = match how.as_str() {
                        "one" => client.query(&prepared, &[]).await.is_ok(),
                        "alone" => {
                            let work = async |client: &ClientWrapper, statement: &Statement| {
                                client.query(statement, &[]).await
                            };
                            database.alone(&sql, work).await.is_ok()
                        }
                        _ => database.shared(&sql, &Read).await.is_ok(),
                    };
                    assert!(done, "a statement failed");
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done?;
        }
    }
    let took = begun.elapsed();
    let each = took.as_secs_f64() * 1e6 / (callers * times) as f64;
    println!("{how} {callers}x{times}: {took:.2?}, {each:.1} us each");
    Ok(())
}
