//! The ledger: owns orders. It has SQL and nothing else: transactions, consuming, retries and the clock are the
//! host's.

#[cfg_attr(
    target_family = "wasm",
    expect(unsafe_code, reason = "the canonical ABI; generated")
)]
mod bindings;
mod database;

use bindings::exports::{
    marquee::{
        messaging::consumer::{self, Message, Verdict},
        schedule::job,
    },
    shop::orders::ledger::{self, Error, Order, State},
};
use database::query;
use spin_sdk::{
    pg::{DbValue, ParameterValue},
    variables,
};
use std::collections::HashMap;
use uuid::Uuid;

struct Ledger;

impl ledger::Guest for Ledger {
    async fn place(id: String, item: String, quantity: u32) -> Result<Order, Error> {
        if item.trim().is_empty() || item.chars().count() > 200 {
            return Err(Error::Invalid("an item has 1 to 200 characters".to_owned()));
        }
        if !(1..=1000).contains(&quantity) {
            return Err(Error::Invalid("the quantity is from 1 to 1,000".to_owned()));
        }
        let id = identified(&id)?;
        let quantity = i32::try_from(quantity).unwrap_or(i32::MAX);
        let params = vec![
            id,
            ParameterValue::Str(item),
            ParameterValue::Int32(quantity),
        ];
        let rows = query(PLACE, params).await.map_err(Error::Unavailable)?;
        order(&rows)
    }

    async fn find(id: String) -> Result<Order, Error> {
        let rows = query(FIND, vec![identified(&id)?])
            .await
            .map_err(Error::Unavailable)?;
        order(&rows)
    }
}

impl consumer::Guest for Ledger {
    /// A payment's key is the order's id. The whole batch is one transaction, and so are its verdicts.
    async fn handle(messages: Vec<Message>) -> Result<Vec<Verdict>, String> {
        let ids: Vec<Option<Uuid>> = messages
            .iter()
            .map(|message| message.key.parse().ok())
            .collect();
        // One statement for the whole batch.
        let wanted = ids
            .iter()
            .flatten()
            .map(|id| Some(id.to_string()))
            .collect();
        let rows = query(PAY, vec![ParameterValue::ArrayStr(wanted)]).await?;
        let states: HashMap<Uuid, &str> = rows
            .iter()
            .filter_map(|row| Some((text(row, 0)?.parse().ok()?, text(row, 1)?)))
            .collect();
        let verdict = |id: Option<Uuid>| match id.map(|id| states.get(&id).copied()) {
            None => Verdict::Reject("the key is no order's id".to_owned()),
            Some(None) => Verdict::Retry("there is no such order yet".to_owned()),
            Some(Some("expired")) => Verdict::Reject("the order has expired".to_owned()),
            Some(Some(_)) => Verdict::Done,
        };
        Ok(ids.into_iter().map(verdict).collect())
    }
}

impl job::Guest for Ledger {
    async fn run(name: String, _due_at_ms: u64) -> Result<(), String> {
        match name.as_str() {
            "expire" => {
                let after = variables::get("expire_after_seconds").await;
                let after = after.map_err(|error| error.to_string())?;
                query(EXPIRE, vec![ParameterValue::Str(after)])
                    .await
                    .map(drop)
            }
            other => Err(format!("the ledger has no job {other}")),
        }
    }
}

fn identified(id: &str) -> Result<ParameterValue, Error> {
    match id.parse::<Uuid>() {
        Ok(id) => Ok(ParameterValue::Uuid(id.to_string())),
        Err(_) => Err(Error::Invalid("an order's id is a UUID".to_owned())),
    }
}

/// The order of the first row.
fn order(rows: &[Vec<DbValue>]) -> Result<Order, Error> {
    match rows.first().map(Vec::as_slice) {
        Some(
            [
                DbValue::Uuid(id),
                DbValue::Str(item),
                DbValue::Int32(quantity),
                DbValue::Str(state),
            ],
        ) => Ok(Order {
            id: id.clone(),
            item: item.clone(),
            quantity: quantity.unsigned_abs(),
            state: match state.as_str() {
                "paid" => State::Paid,
                "expired" => State::Expired,
                _ => State::Placed,
            },
        }),
        _ => Err(Error::NotFound),
    }
}

fn text(row: &[DbValue], column: usize) -> Option<&str> {
    match row.get(column)? {
        DbValue::Str(text) | DbValue::Uuid(text) => Some(text),
        _ => None,
    }
}

const PLACE: &str = "
with placed as (
    insert into orders (id, item, quantity) values ($1, $2, $3)
    on conflict on constraint orders_pkey do nothing
    returning id, item, quantity, state
)
select id, item, quantity, state from placed
union all
select id, item, quantity, state from orders where id = $1
limit 1";

const FIND: &str = "select id, item, quantity, state from orders where id = $1";

/// Answers the state of each order that there is.
const PAY: &str = "
with wanted as (
    select distinct unnest($1::text[]::uuid[]) as id
), paid as (
    update orders o set state = 'paid' from wanted w where o.id = w.id and o.state <> 'expired'
    returning o.id, o.state
)
select id, state from paid
union all
select o.id, o.state from orders o join wanted w on o.id = w.id where o.state = 'expired'";

const EXPIRE: &str = "
update orders set state = 'expired'
where state = 'placed' and placed_at < now() - make_interval(secs => $1::text::float8)";
