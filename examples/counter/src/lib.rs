//! A component whose effect is not idempotent: it adds up what it is told, and notes each message that it saw. It has no
//! unique index and no check of its own that would hide a message that is applied twice, lost, or out of the order of its
//! key: that is the host's to promise, and `make chaos` shows with this component that it does.
//!
//! A message whose tag begins with `later-` is answered *retry* twice before it counts, so that its key waits. One with
//! the tag `wakes-KEY` is what messages of that key wait for: they are tried again at once. One with the tag `hangs` is
//! never done with.
//!
//! `PUT /KEY/TAG/VALUE` publishes through the outbox, and writes what was published in the same transaction. `POST` of
//! the same publishes on the bus directly. `GET /KEY` is what was counted.

use bindings::{exports::marquee::messaging::consumer, marquee::messaging::producer};
use marquee_guest::{
    messaging::{Batch, Message, Outgoing, Verdict},
    params,
    sql::{Database, Error, array},
};
use spin_sdk::{
    http::{IntoResponse, Method, Request, StatusCode},
    http_service,
    wasip3::clocks::monotonic_clock,
};

marquee_guest::component!(Counter, {
    path: ["../../wit/marquee-messaging", "wit"],
    world: "example:counter/counter",
    with: { "marquee:messaging/types@0.1.0": marquee_guest::messaging },
    generate_all,
});

struct Counter;

const DB: Database = Database::at("counter_database_url");

#[http_service]
async fn http(request: Request) -> impl IntoResponse {
    let path: Vec<&str> = request.uri().path().split('/').collect();
    if let (&Method::GET, ["", key]) = (request.method(), path.as_slice()) {
        return counted(key).await;
    }
    let ["", key, tag, value] = path.as_slice() else {
        return (StatusCode::NOT_FOUND, "/KEY or /KEY/TAG/VALUE\n".to_owned());
    };
    let Ok(value) = value.parse() else {
        return (
            StatusCode::BAD_REQUEST,
            "the value is a number\n".to_owned(),
        );
    };
    let published = match *request.method() {
        Method::PUT => with_a_row(key, tag, value).await,
        Method::POST => directly(key, tag, value).await,
        _ => return (StatusCode::METHOD_NOT_ALLOWED, "PUT or POST\n".to_owned()),
    };
    match published {
        Ok(()) => (StatusCode::ACCEPTED, String::new()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

async fn counted(key: &str) -> (StatusCode, String) {
    match total_and_sum(key).await {
        Ok((total, sum)) => (StatusCode::OK, format!("{total} counted, {sum} in all\n")),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

async fn total_and_sum(key: &str) -> Result<(i64, i64), Error> {
    let mut row = DB.one(COUNTED, params![key]).await?;
    Ok((row.take("total")?, row.take("sum")?))
}

async fn with_a_row(key: &str, tag: &str, value: i64) -> Result<(), String> {
    let done = DB.execute(PUBLISH, params![key, tag, value]).await;
    done.map(drop).map_err(|error| error.to_string())
}

async fn directly(key: &str, tag: &str, value: i64) -> Result<(), String> {
    let payload = format!("[\"{tag}\", {value}]");
    let message = Outgoing::new("numbers", key, payload.into_bytes());
    let done = producer::publish(vec![message]).await;
    done.map_err(|error| error.to_string())
}

impl consumer::Guest for Counter {
    async fn handle(messages: Vec<Message>) -> Result<Vec<Verdict>, String> {
        let batch = Batch::read(&messages, |message| {
            let read = message.json::<(String, i64)>();
            read.map(|(tag, value)| (message.key.clone(), tag, value, message.attempt))
        });
        if batch.iter().any(|(_, tag, ..)| tag == "hangs") {
            monotonic_clock::wait_for(3_600_000_000_000).await;
        }
        let counted = || {
            batch
                .iter()
                .filter(|(_, tag, _, attempt)| !waits(tag, *attempt))
        };
        let keys = array(counted().map(|(key, ..)| key.clone()));
        let tags = array(counted().map(|(_, tag, ..)| tag.clone()));
        let values = array(counted().map(|(_, _, value, _)| *value));
        DB.execute(COUNT, params![keys, tags, values]).await?;
        for key in counted().filter_map(|(_, tag, ..)| tag.strip_prefix("wakes-")) {
            DB.execute(WAKE, params![key]).await?;
        }
        Ok(
            batch.verdicts(|(_, tag, _, attempt)| match waits(tag, *attempt) {
                true => Verdict::Retry("later".to_owned()),
                false => Verdict::Done,
            }),
        )
    }
}

fn waits(tag: &str, attempt: u32) -> bool {
    tag.starts_with("later-") && attempt < 3
}

/// `$1` key, `$2` tag, `$3` value. The message and the row that tells of it, or neither.
const PUBLISH: &str = "
with message as (
    select marquee.publish('numbers', $1, '{}', convert_to(jsonb_build_array($2::text, $3::bigint)::text, 'UTF8')) as number
)
insert into published (key, number, tag, value) select $1, number, $2, $3 from message";

/// `$1` key.
const COUNTED: &str = "
select coalesce(max(total), 0) as total, coalesce(max(sum), 0) as sum from counters where key = $1";

/// `$1` keys, `$2` tags, `$3` values of a batch, in its order.
const COUNT: &str = "
with batch as (
    select * from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality as b (key, tag, value, place)
), noted as (
    insert into seen (key, tag) select key, tag from batch order by place
)
insert into counters as c (key, total, sum)
select key, count(*), sum(value)::bigint from batch group by key
on conflict on constraint counters_pkey do update set total = c.total + excluded.total, sum = c.sum + excluded.sum";

/// `$1` key.
const WAKE: &str = "select marquee.wake('counter', 'numbers', $1)";
