//! The host is generic: applications that have nothing to do with movies run on the same binary.

use std::time::Duration;

use marquee_testkit::eventually;
use serde_json::json;
use uuid::Uuid;

use crate::{
    host::{Host, Setup},
    raw::{self, Answer},
};

const SOON: Duration = Duration::from_secs(30);

async fn ask(host: &Host, request: &str, body: &str) -> Answer {
    raw::request(host.address(), request, &[], body).await
}

/// An order's state, as its API tells it.
async fn state(host: &Host, id: Uuid) -> String {
    let order = ask(host, &format!("GET /orders/{id}"), "").await;
    order.json()["state"].as_str().unwrap_or("none").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_twenty_lines_answers() {
    let host = Setup::application("examples/hello/spin.toml", &[])
        .await
        .start()
        .await;
    let answer = ask(&host, "GET /Ada", "").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "Hello, Ada!\n")
    );
    assert_eq!(ask(&host, "GET /a/b", "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_placed_paid_over_the_bus_and_expired_by_the_clock() {
    let setup = Setup::application("examples/orders/spin.toml", &["ORDERS", "BUS"])
        .await
        .with("SPIN_VARIABLE_EXPIRE_AFTER_SECONDS", "8");
    let host = setup.start().await;
    let order = json!({"item": "a book", "quantity": 2}).to_string();

    let bad = ask(&host, "PUT /orders/one", &order).await;
    assert_eq!(bad.status, 400, "{bad:?}");
    let (paid, early, forgotten) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    // A payment that overtakes its order waits for it.
    let sent = ask(&host, &format!("PUT /orders/{early}/payment"), "").await;
    assert_eq!(sent.status, 202, "{sent:?}");
    for id in [paid, early, forgotten] {
        let placed = ask(&host, &format!("PUT /orders/{id}"), &order).await;
        assert_eq!(placed.status, 200, "{placed:?}");
    }
    ask(&host, &format!("PUT /orders/{paid}/payment"), "").await;
    for id in [paid, early] {
        eventually(SOON, "the payment is applied", async || {
            state(&host, id).await == "paid"
        })
        .await;
    }
    eventually(SOON, "the clock expires what nobody paid", async || {
        state(&host, forgotten).await == "expired"
    })
    .await;
    assert_eq!(state(&host, paid).await, "paid");

    // What comes too late is kept for a person.
    ask(&host, &format!("PUT /orders/{forgotten}/payment"), "").await;
    eventually(SOON, "the late payment is among the dead", async || {
        let listed = setup.verb(&["messages", "list", "--state", "dead", "--json"]);
        String::from_utf8_lossy(&listed.stdout).contains("the order has expired")
    })
    .await;
    let (status, log) = host.stop("TERM").await;
    assert!(status.success(), "{log}");
}
