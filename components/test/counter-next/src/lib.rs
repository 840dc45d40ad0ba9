//! The release after `examples/counter`: what it promises is the same, and nearly all of its code is other. It counts one
//! message after the other, in as many statements, keeps the last tag of each key in a column of its own (`migrations`), and
//! tells it: `GET /KEY/last`. Proofs swap the two under load, back and forth: whichever of them has a message, it counts once.

use bindings::{exports::marquee::messaging::consumer, marquee::messaging::producer};
use marquee_guest::{
    messaging::{Batch, Message, Outgoing, Verdict},
    params,
    sql::Database,
};
use spin_sdk::{
    http::{IntoResponse, Method, Request, StatusCode},
    http_service,
};

marquee_guest::component!(CounterNext, {
    path: ["../../../wit/marquee-messaging", "../../../examples/counter/wit"],
    world: "example:counter/counter",
    with: { "marquee:messaging/types@0.1.0": marquee_guest::messaging },
    generate_all,
});

struct CounterNext;

const DB: Database = Database::at("counter_database_url");

#[http_service]
async fn http(request: Request) -> impl IntoResponse {
    let path: Vec<&str> = request.uri().path().split('/').collect();
    let answer = match (request.method(), path.as_slice()) {
        (&Method::GET, ["", key]) => counted(key).await,
        (&Method::GET, ["", key, "last"]) => last(key).await,
        (&Method::PUT, ["", key, tag, value]) => publish(key, tag, value).await,
        (&Method::POST, ["", key, tag, value]) => directly(key, tag, value).await,
        _ => {
            return (
                StatusCode::NOT_FOUND,
                "/KEY, /KEY/last or /KEY/TAG/VALUE\n".to_owned(),
            );
        }
    };
    match answer {
        Ok(text) if text.is_empty() => (StatusCode::ACCEPTED, text),
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

async fn counted(key: &str) -> Result<String, String> {
    let mut row = DB.one(COUNTED, params![key]).await?;
    let (total, sum): (i64, i64) = (row.take("total")?, row.take("sum")?);
    Ok(format!("{total} counted, {sum} in all\n"))
}

async fn last(key: &str) -> Result<String, String> {
    let mut row = DB.one(LAST, params![key]).await?;
    let tag: String = row.take("last")?;
    Ok(format!("{tag}\n"))
}

async fn publish(key: &str, tag: &str, value: &str) -> Result<String, String> {
    let value: i64 = value.parse().map_err(|_| "the value is a number")?;
    DB.execute(PUBLISH, params![key, tag, value]).await?;
    Ok(String::new())
}

async fn directly(key: &str, tag: &str, value: &str) -> Result<String, String> {
    let payload = format!("[\"{tag}\",{value}]").into_bytes();
    let done = producer::publish(vec![Outgoing::new("numbers", key, payload)]).await;
    done.map(|_| String::new())
        .map_err(|error| error.to_string())
}

impl consumer::Guest for CounterNext {
    async fn handle(messages: Vec<Message>) -> Result<Vec<Verdict>, String> {
        let batch = Batch::read(&messages, |message| {
            let read = message.json::<(String, i64)>();
            read.map(|(tag, value)| (message.key.clone(), tag, value, message.attempt))
        });
        for (key, tag, value, attempt) in batch.iter() {
            if !waits(tag, *attempt) {
                DB.execute(NOTE, params![key.as_str(), tag.as_str()])
                    .await?;
                DB.execute(COUNT, params![key.as_str(), tag.as_str(), *value])
                    .await?;
            }
            if let Some(other) = tag.strip_prefix("wakes-") {
                DB.execute(WAKE, params![other]).await?;
            }
        }
        Ok(
            batch.verdicts(|(_, tag, _, attempt)| match waits(tag, *attempt) {
                true => Verdict::Retry("not yet".to_owned()),
                false => Verdict::Done,
            }),
        )
    }
}

/// As the version before has it: a message may be tried first by the one, and then by the other.
fn waits(tag: &str, attempt: u32) -> bool {
    tag.starts_with("later-") && attempt < 3
}

/// `$1` key, `$2` tag, `$3` value. The row is what tells of the message: both or neither.
const PUBLISH: &str = "
insert into published (key, number, tag, value)
select $1, marquee.publish('numbers', $1, '{}', convert_to('[\"' || $2 || '\",' || $3::bigint || ']', 'UTF8')), $2, $3";

/// `$1` key.
const COUNTED: &str = "
select coalesce(sum(total), 0)::bigint as total, coalesce(sum(sum), 0)::bigint as sum from counters where key = $1";

/// `$1` key.
const LAST: &str = "select coalesce(max(last), 'none') as last from counters where key = $1";

/// `$1` key, `$2` tag.
const NOTE: &str = "insert into seen (key, tag) values ($1, $2)";

/// `$1` key, `$2` tag, `$3` value.
const COUNT: &str = "
insert into counters as c (key, total, sum, last) values ($1, 1, $3, $2)
on conflict on constraint counters_pkey do update set total = c.total + 1, sum = c.sum + excluded.sum, last = excluded.last";

/// `$1` key.
const WAKE: &str = "select marquee.wake('counter', 'numbers', $1)";
