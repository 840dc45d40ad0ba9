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
async fn a_component_of_thirty_lines_answers() {
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
async fn a_counter_counts_what_comes_by_the_outbox_and_by_the_producer() {
    let setup = Setup::application("examples/counter/spin.toml", &["COUNTER", "BUS"]).await;
    let host = setup.start().await;
    for request in ["PUT /ann/first/3", "POST /ann/second/4"] {
        let sent = ask(&host, request, "").await;
        assert_eq!(sent.status, 202, "{sent:?}");
    }
    eventually(SOON, "both are counted", async || {
        ask(&host, "GET /ann", "").await.body == "2 counted, 7 in all\n"
    })
    .await;
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

#[tokio::test(flavor = "multi_thread")]
async fn the_same_order_may_be_placed_twice_and_another_one_is_a_conflict() {
    let setup = Setup::application("examples/orders/spin.toml", &["ORDERS", "BUS"]).await;
    let host = setup.start().await;
    let database = setup.connect("ORDERS").await;
    let id = Uuid::now_v7();
    let put = async |item: &str| {
        let order = json!({"item": item, "quantity": 2}).to_string();
        ask(&host, &format!("PUT /orders/{id}"), &order).await
    };

    // Another client has placed the order and not committed yet.
    let placed =
        format!("begin; insert into orders (id, item, quantity) values ('{id}', 'a book', 2)");
    database.batch_execute(&placed).await.expect("placed");
    let (answer, ()) = tokio::join!(put("a book"), async {
        eventually(SOON, "the second one waits", async || {
            // A transaction sees the activity as it was when it first looked.
            let afresh = database.batch_execute("select pg_stat_clear_snapshot()");
            afresh.await.expect("a fresh look");
            let waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
            database.query(waiting, &[]).await.expect("rows").len() == 1
        })
        .await;
        database.batch_execute("commit").await.expect("committed");
    });
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["item"], "a book");

    assert_eq!(put("a book").await.status, 200);
    let other = put("a pen").await;
    assert_eq!(other.status, 409, "{other:?}");
    assert_eq!(state(&host, id).await, "placed");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_error_that_passes_is_called_passing() {
    let setup = Setup::application("examples/orders/spin.toml", &["ORDERS", "BUS"]).await;
    let host = setup.start().await;
    let database = setup.connect("ORDERS").await;
    let sql = "alter table orders rename to elsewhere";
    database.batch_execute(sql).await.expect("renamed");
    let request = format!("GET /orders/{}", Uuid::now_v7());
    let answer = ask(&host, &request, "").await;
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(!answer.body.contains("relation"), "{answer:?}");
    eventually(SOON, "the log says why", async || {
        host.log().contains("(42P01)")
    })
    .await;
}
