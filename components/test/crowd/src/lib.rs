//! A component that asks its database 900 things at once and waits for all of them; each takes the database a second. For
//! the measure of what others notice of it.

use bindings::spin::postgres::postgres::Connection;
use spin_sdk::{
    http::{IntoResponse, Request, StatusCode},
    http_service,
};

marquee_guest::component!({
    inline: "
        package test:crowd;

        world crowd {
            import spin:postgres/postgres@4.2.0;
        }
    ",
    path: "../../../wit/deps/spin-postgres@4.2.0",
    generate_all,
});

#[http_service]
async fn crowd(_: Request) -> impl IntoResponse {
    let Ok(connection) = Connection::open_async(DATABASE.to_owned()).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    };
    // On one connection, which is a right to ask and nothing more: each statement borrows it, and what an instance may have
    // of handles is 1,000.
    let asked = (0..QUERIES).map(|_| {
        let statement = "select pg_sleep(1)".to_owned();
        connection.execute_async(statement, Vec::new())
    });
    let answers = futures::future::join_all(asked).await;
    let count = answers.iter().flatten().count();
    (StatusCode::OK, format!("{count} of {QUERIES}\n"))
}

const QUERIES: usize = 900;
/// What the manifest of the measure calls it.
const DATABASE: &str = "marquee:crowd";
