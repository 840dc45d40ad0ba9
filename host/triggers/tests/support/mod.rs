//! A real bus and a real database for a trigger, and deliveries to a component that is not there.

use std::{
    sync::{Arc, atomic::AtomicI32},
    time::Duration,
};

use marquee_bus::embedded::{self, Embedded};
use marquee_database::{Config, Database, Secret};
use marquee_delivery::Consumer;
use marquee_runtime::{Lineup, Room, Runtime};
use marquee_telemetry::traces::Traces;
use marquee_testkit::TestDatabase;
use marquee_triggers::{Deliverer, Worker, telemetry::DeliveryTally};
use tokio::sync::Semaphore;

/// What is kept of a test's own.
pub(crate) struct Servers {
    /// Migrated.
    pub(crate) database: Database,
    pub(crate) bus: Embedded,
    /// To be dropped last.
    pub(crate) kept: [TestDatabase; 2],
}

pub(crate) async fn servers() -> Servers {
    let kept = [
        marquee_testkit::database().await,
        marquee_testkit::database().await,
    ];
    let [database, log] = [("data", &kept[0]), ("bus", &kept[1])].map(|(name, at)| {
        Database::new(&Config::new(name, Secret::new(at.url()))).expect("a pool")
    });
    let ours = marquee_delivery::migrations().expect("they are right");
    ours.apply(&database).await.expect("applied");
    let bus = Embedded::open(log, embedded::Config::default()).await;
    Servers {
        database,
        bus: bus.expect("a bus"),
        kept,
    }
}

/// Of consumer `it`, with so many places for deliveries.
pub(crate) fn deliverer(
    database: &Database,
    partitions: i32,
    places: usize,
    deadline: Duration,
) -> Arc<Deliverer> {
    let worker = Worker {
        runtime: Runtime::new(Lineup::nothing(), 1 << 20, Room::default()).expect("a runtime"),
        component: "it".parse().expect("a plain name"),
        database: database.clone(),
        poke: Arc::new(|| {}),
    };
    Arc::new(Deliverer {
        worker,
        consumer: Consumer::new("it"),
        deadline,
        partitions: AtomicI32::new(partitions),
        budget: Arc::new(Semaphore::new(places)),
        suspects: Arc::new(Semaphore::new(1)),
        tally: DeliveryTally::default(),
        traces: Traces::default(),
        system: "test",
    })
}
