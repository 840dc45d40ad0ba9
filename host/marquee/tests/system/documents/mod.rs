//! The documents do what they say: their blocks are run, in order, on fresh data, as a reader pastes them.
//!
//! A block of `sh` is run; a block of `text` is what the one before it prints. A line `sleep ...` in a block means that
//! something takes effect soon: what follows it is asked again until the text is there.

mod markdown;
mod printed;
mod reader;

use std::time::{Duration, Instant};

use markdown::{Block, Kind};
use printed::Printed;
use reader::Reader;

/// Follow a document from its first block to its last. Returns those that a test cannot run.
fn follow(reader: &mut Reader, document: &str, text: &str) -> Vec<Block> {
    let blocks = markdown::blocks(text);
    let mut printed = Printed::default();
    let mut left_out = Vec::new();
    let mut without_host = false;
    for (at, block) in blocks.iter().enumerate() {
        if block.kind != Kind::Paste {
            left_out.extend((block.kind == Kind::NotHere).then(|| block.clone()));
            continue;
        }
        let expected = blocks.get(at + 1).filter(|next| next.kind == Kind::Printed);
        if let Some(host) = reader::starts_a_host(&block.text) {
            without_host = host.contains("spin up") && !crate::tools::has("spin");
        }
        if without_host {
            let line = block.line;
            crate::tools::not_tried(&format!("spin for {document}:{line}"));
            continue;
        }
        let (once, again) = block.around_sleep();
        let begun = Instant::now();
        let said = reader.paste(once);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let shown = again.map(|again| said.clone() + &reader.paste(again));
            let shown = shown.as_ref().unwrap_or(&said);
            let Some(expected) = expected else { break };
            let Some(differs) = printed.differs(&expected.text, shown) else {
                break;
            };
            assert!(
                again.is_some() && Instant::now() < deadline,
                "{document}:{}: {differs}\n--- the host's log\n{}",
                block.line,
                reader.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        let took_s = begun.elapsed().as_secs_f64();
        eprintln!("{document}:{} took {took_s:.1} s", block.line);
    }
    left_out
}

fn read(document: &str) -> String {
    std::fs::read_to_string(reader::root().join(document)).expect("the document")
}

/// Follow a document, with a PostgreSQL that the reader has on the usual port. `left_out` are parts of the blocks that
/// the test cannot run, in their order.
async fn followed(
    document: &'static str,
    reader: fn(&str) -> Reader,
    left_out: &'static [&'static str],
) {
    let server = marquee_testkit::postgres().await;
    let address = server.url("").replace("postgres://postgres@", "");
    let address = address.trim_end_matches('/').to_owned();
    let follow = move || {
        let mut reader = reader(&address);
        let found = follow(&mut reader, document, &read(document));
        assert_eq!(found.len(), left_out.len(), "{document} {found:?}");
        for (block, part) in found.iter().zip(left_out) {
            assert!(block.text.contains(part), "{document}:{}", block.line);
        }
    };
    let followed = tokio::task::spawn_blocking(follow).await;
    followed.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_does_what_it_says() {
    followed("README.md", Reader::in_a_clone, &["grpcurl", "npm ci"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operations_do_what_they_say() {
    let left_out = &[
        // `make test-containers` runs these.
        "docker compose up",
        "docker compose exec",
        "MARQUEE_ADMIN_TOKEN_FILE",
        // There is no cluster, no collector, nor a Prometheus to be set up.
        "kubectl apply -k",
        "kind: PrometheusRule",
        "kubectl -n marquee port-forward",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "promtool check config",
    ];
    followed("OPERATIONS.md", Reader::in_a_clone, left_out).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_does_what_it_says() {
    followed("docs/tutorial.md", Reader::new, &["cargo install"]).await;
}

/// A new document is followed too.
#[test]
fn every_document_with_blocks_is_followed() {
    let documents = std::fs::read_dir(reader::root().join("docs")).expect("a folder");
    let documents = documents.map(|entry| entry.expect("an entry").file_name());
    let has_blocks = |name: &String| !markdown::blocks(&read(name)).is_empty();
    let documents: Vec<_> = documents
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .filter(|name| has_blocks(&format!("docs/{name}")))
        .collect();
    assert_eq!(documents, ["tutorial.md"]);
}
