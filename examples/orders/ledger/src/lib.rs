//! The ledger: owns orders. It has SQL and nothing else: transactions, consuming, retries and the clock are the
//! host's.

use std::collections::HashMap;

use bindings::exports::{
    marquee::{messaging::consumer, schedule::job},
    shop::orders::ledger::{self, Error, Order, State},
};
use marquee_guest::{
    messaging::{Batch, Message, Verdict},
    params,
    sql::{self, Database, Row, array},
    variables,
};
use uuid::Uuid;

marquee_guest::component!(Ledger, {
    path: ["../../../wit/marquee-messaging", "../../../wit/marquee-schedule", "../wit"],
    world: "shop:orders/ledger-component",
    with: { "marquee:messaging/types@0.1.0": marquee_guest::messaging },
    generate_all,
});

struct Ledger;

const DB: Database = Database::at("orders_database_url");

impl ledger::Guest for Ledger {
    async fn place(id: String, item: String, quantity: u32) -> Result<Order, Error> {
        if item.trim().is_empty() || item.chars().count() > 200 || item.contains('\0') {
            let bound = "an item has 1 to 200 characters, none of them U+0000";
            return Err(Error::Invalid(bound.to_owned()));
        }
        if !(1..=1000).contains(&quantity) {
            return Err(Error::Invalid("the quantity is from 1 to 1,000".to_owned()));
        }
        let id = identified(&id).map_err(Error::Invalid)?;
        let params = params![id, item, quantity];
        match DB.optional(PLACE, params).await? {
            Some(row) => Ok(order(row)?),
            None => Err(Error::Taken),
        }
    }

    async fn find(id: String) -> Result<Order, Error> {
        let id = identified(&id).map_err(Error::Invalid)?;
        match DB.optional(FIND, params![id]).await? {
            Some(row) => Ok(order(row)?),
            None => Err(Error::NotFound),
        }
    }
}

impl consumer::Guest for Ledger {
    /// A payment's key is the order's id. The whole batch is one transaction, and so are its verdicts.
    async fn handle(messages: Vec<Message>) -> Result<Vec<Verdict>, String> {
        let batch = Batch::read(&messages, |payment| identified(&payment.key));
        // One statement for the whole batch.
        let rows = DB.query(PAY, params![array(batch.iter().copied())]).await?;
        let states: HashMap<Uuid, String> = rows
            .map(|mut row| Ok((row.take("id")?, row.take("state")?)))
            .collect::<Result<_, sql::Error>>()?;
        let verdict = |id: &Uuid| match states.get(id).map(String::as_str) {
            None => Verdict::Retry("there is no such order yet".to_owned()),
            Some("expired") => Verdict::Reject("the order has expired".to_owned()),
            Some(_) => Verdict::Done,
        };
        Ok(batch.verdicts(verdict))
    }
}

impl job::Guest for Ledger {
    async fn run(name: String, _due_at_ms: u64) -> Result<(), String> {
        if name != "expire" {
            return Err(format!("the ledger has no job {name}"));
        }
        let after_seconds = variables::get("expire_after_seconds").await?;
        DB.execute(EXPIRE, params![after_seconds]).await?;
        Ok(())
    }
}

/// What a caller can do about it: only what passes is *unavailable*.
impl From<sql::Error> for Error {
    fn from(error: sql::Error) -> Self {
        if error.is_passing() {
            Self::Unavailable(error.to_string())
        } else {
            Self::Other(error.to_string())
        }
    }
}

fn identified(id: &str) -> Result<Uuid, String> {
    id.parse().map_err(|_| "an order's id is a UUID".to_owned())
}

fn order(mut row: Row) -> Result<Order, sql::Error> {
    let (id, state): (Uuid, String) = (row.take("id")?, row.take("state")?);
    Ok(Order {
        id: id.to_string(),
        item: row.take("item")?,
        quantity: row.take("quantity")?,
        state: match state.as_str() {
            "paid" => State::Paid,
            "expired" => State::Expired,
            _ => State::Placed,
        },
    })
}

/// `$1` id, `$2` item, `$3` quantity. The order, whether it is new or was placed before with the same words; no row where
/// the id has another order. The update changes nothing: it waits for who places the same order just now, and sees that
/// row, which a statement that began before would not.
const PLACE: &str = "
insert into orders as o (id, item, quantity) values ($1, $2, $3::bigint)
on conflict on constraint orders_pkey do update set id = o.id
where (o.item, o.quantity) = (excluded.item, excluded.quantity)
returning id, state, item, quantity";

const FIND: &str = "select id, state, item, quantity from orders where id = $1";

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
