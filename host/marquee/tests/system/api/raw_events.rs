//! Acts of rating that another producer publishes: nobody has looked at them before they are here. Each is applied, waits
//! or is rejected, its state can be asked for over the API, and none hurts another one.

use std::time::Duration;

use marquee_testkit::eventually;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{Api, UNKNOWN};
use crate::host::Setup;

/// Somebody who writes to the bus, without a database and so without numbers.
struct Producer(Client);

impl Producer {
    /// Publishes these bytes, in which `{event}` is the id of the event, which it returns.
    async fn publish(&self, key: &str, text: &str) -> Uuid {
        let event = Uuid::now_v7();
        let id = event.to_string();
        let mut headers = Vec::new();
        for part in ["marquee-event-id", &id] {
            headers.extend(
                u32::try_from(part.len())
                    .expect("it is short")
                    .to_be_bytes(),
            );
            headers.extend(part.as_bytes());
        }
        let append = "select marquee_bus.append(
                array[id], array[0], array[$1::text], array[$2::bytea], array[$3::bytea]
            )
            from marquee_bus.topics where name = 'ratings'";
        let value = text.replace("{event}", &id).into_bytes();
        let appended = self.0.query_one(append, &[&key, &headers, &value]).await;
        assert_eq!(appended.expect("it is taken").get::<_, i64>(0), 1);
        event
    }

    /// Publishes that a user gave a movie 8, some seconds from now.
    async fn rate(&self, movie: &str, user: &str, ahead_s: i64, more: Value) -> Uuid {
        let now = "select (extract(epoch from now()) * 1000000)::bigint";
        let now = self.0.query_one(now, &[]).await.expect("a time");
        let now_us: i64 = now.get(0);
        let mut act = json!({
            "event_id": "{event}", "record_id": movie, "record_type": "movie", "user_id": user,
            "change": "put", "value": 8, "occurred_at_us": now_us + ahead_s * 1_000_000,
        });
        let members = more.as_object().cloned().unwrap_or_default();
        act.as_object_mut().expect("an object").extend(members);
        let key = format!("{movie}/{user}");
        self.publish(&key, &act.to_string()).await
    }
}

async fn becomes(api: &Api, event: Uuid, status: &str) {
    let target = format!("/v1/events/{event}");
    let what = format!("{event} is {status}");
    eventually(Duration::from_secs(40), &what, async || {
        api.get(&target).await.json() == json!({"event_id": event, "status": status})
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acts_of_another_producer_are_applied_wait_or_are_rejected_and_hurt_nobody() {
    let setup = Setup::databases().await;
    let ratings = setup.connect("RATING").await;
    let producer = Producer(setup.connect("BUS").await);
    let api = Api::on(setup).await;
    let known = api.known.clone();

    // Of a record that nobody knows; it was not asked about.
    let unknown = producer.rate(UNKNOWN, "ann", 0, Value::Null).await;
    let waiting = "select marquee.event_state('rating', $1)";
    eventually(Duration::from_secs(20), "it waits", async || {
        let row = ratings.query_one(waiting, &[&unknown]).await;
        row.expect("a state").get::<_, Option<String>>(0).as_deref() == Some("waiting")
    })
    .await;
    becomes(&api, unknown, "accepted").await;

    // Ahead of every clock, and what is no act at all.
    let century = 100 * 365 * 24 * 60 * 60;
    let ahead = producer.rate(&known, "bob", century, Value::Null).await;
    let garbage = producer.publish(&format!("{known}/eve"), "no JSON").await;
    let eleven = producer.rate(&known, "dan", 0, json!({"value": 11})).await;
    let other = json!({"type": "rating.seen"});
    let other = producer.rate(&known, "fay", 0, other).await;
    let good = producer.rate(&known, "cat", 0, Value::Null).await;
    for event in [ahead, garbage, eleven] {
        becomes(&api, event, "rejected").await;
    }
    becomes(&api, other, "applied").await;
    becomes(&api, good, "applied").await;
    let answer = api.get(&format!("/v1/movies/{known}/ratings")).await.json();
    assert_eq!(
        (&answer["count"], &answer["average"]),
        (&json!(1), &json!(8.0)),
        "cat's alone: {answer}"
    );

    // A sender who has asked the record's owner makes it known, and what waited for it counts too.
    let told = json!({"record_exists": true, "value": 6});
    let told = producer.rate(UNKNOWN, "gil", 0, told).await;
    becomes(&api, told, "applied").await;
    becomes(&api, unknown, "applied").await;
    let sql = "select value from ratings where record_id = $1 order by user_id";
    let rows = ratings.query(sql, &[&UNKNOWN]).await.expect("its ratings");
    let values: Vec<i16> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(values, [8, 6]);
}
