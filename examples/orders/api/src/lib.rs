//! The public API of the orders: no database, no state.
//!
//! `PUT /orders/{id}` places one, `GET /orders/{id}` shows it, `PUT /orders/{id}/payment` says that it was paid.

use bindings::{
    marquee::messaging::producer,
    shop::orders::ledger::{self, Error, Order, State},
};
use marquee_guest::messaging::Outgoing;
use serde::{Deserialize, Serialize};
use spin_sdk::{
    http::{Json, Method, Request, StatusCode, body::IncomingBodyExt as _},
    http_service,
};
use uuid::Uuid;

marquee_guest::component!({
    path: ["../../../wit/marquee-messaging", "../../../wit/marquee-schedule", "../wit"],
    world: "shop:orders/api",
    with: { "marquee:messaging/types@0.1.0": marquee_guest::messaging },
    generate_all,
});

/// What a client sends to place an order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    item: String,
    quantity: u32,
}

/// What a client gets.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Order {
        id: String,
        item: String,
        quantity: u32,
        state: &'static str,
    },
    Message {
        message: String,
    },
}

#[http_service]
async fn api(request: Request) -> (StatusCode, Json<Answer>) {
    let answer = answer(request).await;
    let (status, body) =
        answer.unwrap_or_else(|(status, message)| (status, Answer::Message { message }));
    (status, Json(body))
}

async fn answer(request: Request) -> Result<(StatusCode, Answer), (StatusCode, String)> {
    let nowhere = || (StatusCode::NOT_FOUND, "there is nothing here".to_owned());
    let path = request.uri().path().to_owned();
    let mut path = path.trim_matches('/').split('/');
    let (Some("orders"), Some(id)) = (path.next(), path.next()) else {
        return Err(nowhere());
    };
    let id: Uuid = id.parse().map_err(|_| {
        (
            StatusCode::BAD_REQUEST,
            "an order's id is a UUID".to_owned(),
        )
    })?;
    match (request.method(), path.next(), path.next()) {
        (&Method::GET, None, None) => shown(ledger::find(id.to_string()).await),
        (&Method::PUT, None, None) => {
            let bytes = request.into_body().bytes().await.map_err(bad)?;
            let new: NewOrder = serde_json::from_slice(&bytes).map_err(bad)?;
            shown(ledger::place(id.to_string(), new.item, new.quantity).await)
        }
        (&Method::PUT, Some("payment"), None) => paid(id).await,
        _ => Err(nowhere()),
    }
}

/// A payment is an event: it is on the bus before the client hears of it, and applied soon.
async fn paid(id: Uuid) -> Result<(StatusCode, Answer), (StatusCode, String)> {
    let payment = Outgoing::new("payments", id, Vec::new());
    producer::publish(vec![payment])
        .await
        .map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok((
        StatusCode::ACCEPTED,
        Answer::Message {
            message: "accepted, applied soon".to_owned(),
        },
    ))
}

fn shown(found: Result<Order, Error>) -> Result<(StatusCode, Answer), (StatusCode, String)> {
    match found {
        Ok(order) => Ok((
            StatusCode::OK,
            Answer::Order {
                id: order.id,
                item: order.item,
                quantity: order.quantity,
                state: match order.state {
                    State::Placed => "placed",
                    State::Paid => "paid",
                    State::Expired => "expired",
                },
            },
        )),
        Err(Error::NotFound) => Err((StatusCode::NOT_FOUND, "no order has this id".to_owned())),
        Err(Error::Invalid(reason)) => Err((StatusCode::UNPROCESSABLE_ENTITY, reason)),
        Err(Error::Taken) => Err((StatusCode::CONFLICT, "another order has this id".to_owned())),
        Err(Error::Unavailable(_)) => Err((
            StatusCode::SERVICE_UNAVAILABLE,
            "the orders cannot be asked just now".to_owned(),
        )),
        Err(Error::Other(reason)) => {
            log(&reason);
            Err((
                StatusCode::INTERNAL_SERVER_ERROR,
                "something is wrong with the orders".to_owned(),
            ))
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "what is printed is logged, with the request and the component"
)]
fn log(reason: &str) {
    eprintln!("{reason}");
}

fn bad(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, error.to_string())
}
