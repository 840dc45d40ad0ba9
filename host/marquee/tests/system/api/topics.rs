//! The document of the topics (`docs/asyncapi.json`), held against every message that is published.

use std::{collections::BTreeSet, time::Duration};

use marquee_testkit::eventually;
use serde_json::{Value, json};

use super::users::Guarded;
use crate::contract::close;

/// Topic, key and value of each message on the bus.
async fn published(system: &Guarded) -> Vec<(String, String, Value)> {
    let bus = system.setup.connect("BUS").await;
    let sql = "select t.name, r.key, convert_from(r.value, 'UTF8')
        from marquee_bus.records as r join marquee_bus.topics as t on t.id = r.topic_id";
    let rows = bus.query(sql, &[]).await.expect("the log");
    let message = |row: tokio_postgres::Row| {
        let value = serde_json::from_str(row.get(2)).expect("JSON");
        (row.get(0), row.get(1), value)
    };
    rows.into_iter().map(message).collect()
}

/// A schema that takes what is valid as a message of this topic, and no member that the document does not name.
fn validator(document: &Value, topic: &str) -> jsonschema::Validator {
    let messages = document["channels"][topic]["messages"].as_object();
    let payload = |name: &String| document["components"]["messages"][name]["payload"].clone();
    let any: Vec<Value> = messages.expect("a channel").keys().map(payload).collect();
    let mut components = document["components"].clone();
    close(&mut components["schemas"]);
    let options = jsonschema::draft202012::options().should_validate_formats(true);
    let schema = json!({"oneOf": any, "components": components});
    options.build(&schema).expect("its schemas are schemas")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_what_the_topics_document_tells() {
    let document = include_str!("../../../../../docs/asyncapi.json");
    let document: Value = serde_json::from_str(document).expect("JSON");
    let system = Guarded::start().await;
    let moderator = system.member_as("moderator").await;
    let token = Some(moderator.access.as_str());
    let kept = system.movie(&moderator, "Trafic").await;
    let gone = system.movie(&moderator, "Parade").await;
    let rating = format!("/v1/movies/{kept}/ratings/me");
    for (line, body, status) in [
        (
            format!("PATCH /v1/movies/{kept}"),
            json!({"year": 1971}),
            200,
        ),
        (format!("DELETE /v1/movies/{gone}"), Value::Null, 204),
        (format!("PUT {rating}"), json!({"value": 7}), 202),
        (format!("DELETE {rating}"), Value::Null, 202),
        ("DELETE /v1/users/me".to_owned(), Value::Null, 204),
    ] {
        let answer = system.ask(&line, token, &body).await;
        assert_eq!(answer.status, status, "{line}: {answer:?}");
    }
    eventually(Duration::from_secs(20), "all is published", async || {
        published(&system).await.len() == 7
    })
    .await;

    let mut kinds = BTreeSet::new();
    for (topic, key, value) in published(&system).await {
        let faults: Vec<String> = validator(&document, &topic)
            .iter_errors(&value)
            .map(|fault| fault.to_string())
            .collect();
        assert!(faults.is_empty(), "{topic}: {value}: {faults:?}");
        let wanted = match &value["record_id"] {
            Value::String(record) => format!("{record}/{}", moderator.id),
            _ => value["id"].as_str().expect("an id").to_owned(),
        };
        assert_eq!(key, wanted, "{topic}: {value}");
        let kind = value.get("type").unwrap_or_else(|| &value["change"]);
        kinds.insert(kind.as_str().expect("a name").to_owned());
    }
    let all = [
        "delete",
        "movie.created",
        "movie.deleted",
        "movie.updated",
        "put",
        "user.deleted",
    ];
    assert_eq!(kinds, all.map(str::to_owned).into());

    // Whoever publishes ratings learns the rule of users' ids that clients of the API learn.
    let openapi = system.ask("GET /openapi.json", None, &Value::Null).await;
    let rule = &openapi.json()["components"]["schemas"]["UserId"]["pattern"];
    for message in ["Rated", "RatingDeleted"] {
        let fields = &document["components"]["schemas"][message]["properties"];
        assert_eq!(&fields["user_id"]["pattern"], rule, "{message}");
    }
}
