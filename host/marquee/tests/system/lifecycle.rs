//! Starting with nothing, starting again, and ending.

use std::time::{Duration, Instant};

use marquee_import::api::{Client, Movie};

use crate::{host::Setup, raw};

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_configured_it_starts_what_it_needs_and_keeps_the_data() {
    let setup = Setup::nothing();
    let host = setup.start().await;
    let client = Client::new(&host.url, 2, Duration::from_secs(30)).expect("a client");
    let movie = Movie {
        title: "Vertigo".into(),
        description: String::new(),
        director: "Alfred Hitchcock".into(),
    };
    let kept = client.keep(&movie).await.expect("kept").id().to_owned();
    let begun = Instant::now();
    let (status, log) = host.stop("INT").await;
    assert!(status.success(), "{log}");
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "it stops within ten seconds"
    );

    let host = setup.start().await;
    let client = Client::new(&host.url, 2, Duration::from_secs(30)).expect("a client");
    assert_eq!(client.find("Vertigo").await.expect("found"), Some(kept));
    // Killed, it leaves its server behind; the next start takes that over.
    host.kill();
    let host = setup.start().await;
    let ready = raw::request(
        host.admin.trim_start_matches("http://"),
        "GET /readyz",
        &[],
        "",
    )
    .await;
    assert_eq!(ready.status, 200, "{ready:?}");
    let (status, log) = host.stop("TERM").await;
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_and_its_page_are_served() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let document = raw::request(host.address(), "GET /openapi.json", &[], "").await;
    assert_eq!(document.status, 200);
    assert_eq!(
        document.json()["openapi"]
            .as_str()
            .map(|version| &version[..3]),
        Some("3.1")
    );
    let page = raw::request(host.address(), "GET /docs", &[], "").await;
    assert_eq!(page.status, 200);
    assert!(
        !page.body.contains("https://"),
        "nothing is fetched from elsewhere"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_may_forget_what_it_acknowledged_is_refused() {
    let setup = Setup::databases().await;
    let client = setup.connect("RATING").await;
    let sql = "do $$ begin
        execute format('alter database %I set synchronous_commit = off', current_database());
    end $$";
    client.batch_execute(sql).await.expect("altered");

    let setup = setup.with("MARQUEE_ALLOW_UNSAFE_DATABASE", "false");
    let refused = setup.verb(&[
        "up",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("synchronous_commit") && said.contains("--allow-unsafe-database"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_movie_systems_contract_does_not_bind_who_has_its_port_later() {
    let host = Setup::databases().await.start().await;
    let address = host.address().to_owned();
    host.kill();
    let other = Setup::application("examples/hello/spin.toml", &[]).await;
    let other = other.start_at(&address).await;
    let answer = raw::request(other.address(), "GET /Ada", &[], "").await;
    assert_eq!(answer.body, "Hello, Ada!\n");
}
