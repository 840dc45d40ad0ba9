//! How long a client waits, and what becomes of what it no longer waits for.

use std::time::{Duration, Instant};

use http::Request;
use marquee_testkit::eventually;

use super::client::{Metadata, SubmitMetadata, frame};
use crate::{
    host::Setup,
    http2::{Ending, Raw},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_by_the_deadline_and_what_was_begun_is_done() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let mut raw = Raw::to(host.address()).await;
    // Nobody can write a movie while this lasts.
    let mut blocker = setup.connect("METADATA").await;
    let block = blocker.transaction().await.expect("it begins");
    let lock = "lock table movies in exclusive mode";
    block.batch_execute(lock).await.expect("it is locked");

    let movie = Metadata {
        title: "Trafic".to_owned(),
        director: "Jacques Tati".to_owned(),
        ..Metadata::default()
    };
    let call = Request::post(format!("{}/MetadataService/SubmitMetadata", host.url))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "400m");
    let begun = Instant::now();
    let body = frame(&SubmitMetadata {
        metadata: Some(movie),
    });
    let reply = raw.send(call, body, Ending::AtOnce).await;
    assert_eq!(reply.code(), Some("4"), "{reply:?}");
    let waited = begun.elapsed();
    let bounds = Duration::from_millis(400)..Duration::from_secs(2);
    assert!(bounds.contains(&waited), "{waited:?}");

    block.rollback().await.expect("it ends");
    eventually(Duration::from_secs(20), "the movie is there", async || {
        let sql = "select count(*) from movies where title = 'Trafic'";
        let row = blocker.query_one(sql, &[]).await.expect("a count");
        row.get::<_, i64>(0) == 1
    })
    .await;
}
