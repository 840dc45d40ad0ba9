//! Scheduled jobs: one host runs a due time, one try of it takes effect, and failures are tried again.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use marquee_delivery::{
    Error,
    job::{Claimed, Due, Job},
};
use marquee_testkit::eventually;

use crate::support::{SOON, World};

const HOUR: TimeDelta = TimeDelta::hours(1);
const LEASE: Duration = Duration::from_secs(60);

fn job() -> Job {
    Job {
        component: "orders".to_owned(),
        name: "close-day".to_owned(),
    }
}

/// A job that is due now, and then each hour.
async fn due(world: &World) -> Job {
    let job = job();
    job.ensure(&world.db, "hourly", |now| now).await.unwrap();
    job
}

async fn claimed(world: &World, job: &Job, lease: Duration) -> Claimed {
    match job.claim(&world.db, lease).await.unwrap() {
        Due::Now(claimed) => claimed,
        Due::In(pause) => panic!("due in {pause:?}"),
    }
}

fn in_an_hour(now: DateTime<Utc>) -> DateTime<Utc> {
    now + HOUR
}

#[tokio::test]
async fn of_hosts_that_ask_at_once_one_runs_a_due_time() {
    let world = World::new().await;
    let job = due(&world).await;
    let hosts: Vec<_> = (0..8).map(|_| world.another_host()).collect();
    let answers = futures::future::join_all(hosts.iter().map(|host| job.claim(host, LEASE))).await;
    let mine = answers
        .into_iter()
        .filter(|answer| matches!(answer, Ok(Due::Now(_))))
        .count();
    assert_eq!(mine, 1);
}

#[tokio::test]
async fn a_run_and_its_effects_commit_together_and_the_next_is_due_in_an_hour() {
    let world = World::new().await;
    let job = due(&world).await;
    let run = claimed(&world, &job, LEASE).await;
    let mut unit = world.db.unit();
    unit.execute("insert into effects (what) values ('closed')", &[])
        .await
        .unwrap();
    run.settle(&mut unit, in_an_hour).await.unwrap();
    assert!(
        world.effects().await.is_empty(),
        "nothing before the commit"
    );
    unit.commit().await.unwrap();
    assert_eq!(world.effects().await, ["closed"]);
    match job.claim(&world.db, LEASE).await.unwrap() {
        Due::In(pause) => assert!(pause > Duration::from_secs(3_500), "{pause:?}"),
        Due::Now(_) => panic!("it was done"),
    }
}

#[tokio::test]
async fn a_host_that_died_in_a_run_is_replaced_and_cannot_settle_it_when_it_wakes_up() {
    let world = World::new().await;
    let job = due(&world).await;
    let dead = claimed(&world, &job, Duration::from_millis(100)).await;
    eventually(SOON, "the claim has run out", async || {
        world
            .number("select count(*) from marquee.jobs where next_attempt_at <= now()")
            .await
            == 1
    })
    .await;
    let alive = claimed(&world, &job, LEASE).await;
    assert_eq!(alive.due_at(), dead.due_at());
    assert_eq!((dead.attempt(), alive.attempt()), (1, 2));

    let mut unit = world.db.unit();
    let late = dead.settle(&mut unit, in_an_hour).await;
    assert!(matches!(late, Err(Error::Gone(_))), "{late:?}");
    unit.rollback().await;
    let mut unit = world.db.unit();
    alive.settle(&mut unit, in_an_hour).await.unwrap();
    unit.commit().await.unwrap();
}

#[tokio::test]
async fn a_run_that_failed_is_tried_again_with_growing_pauses_and_keeps_its_due_time() {
    let world = World::new().await;
    let job = due(&world).await;
    let first = claimed(&world, &job, LEASE).await;
    let mut pauses = vec![first.fail(&world.db, "no ink").await.unwrap()];
    for _ in 0..6 {
        world
            .query("update marquee.jobs set next_attempt_at = now()", &[])
            .await;
        let again = claimed(&world, &job, LEASE).await;
        assert_eq!(again.due_at(), first.due_at());
        pauses.push(again.fail(&world.db, "no ink").await.unwrap());
    }
    assert!(pauses[0] <= Duration::from_secs(1), "{pauses:?}");
    assert!(pauses[6] >= Duration::from_secs(32), "{pauses:?}");
    let told = world.query("select error from marquee.jobs", &[]).await;
    assert_eq!(told[0].get::<_, String>(0), "no ink");

    world
        .query("update marquee.jobs set next_attempt_at = now()", &[])
        .await;
    let run = claimed(&world, &job, LEASE).await;
    let mut unit = world.db.unit();
    run.settle(&mut unit, in_an_hour).await.unwrap();
    unit.commit().await.unwrap();
    let clean = "select count(*) from marquee.jobs where error is null and attempts = 0 and done_at is not null";
    assert_eq!(world.number(clean).await, 1);
}

#[tokio::test]
async fn a_restart_keeps_the_due_time_and_another_schedule_replaces_it() {
    let world = World::new().await;
    let job = job();
    let due_at = async || -> DateTime<Utc> {
        world.query("select due_at from marquee.jobs", &[]).await[0].get(0)
    };
    job.ensure(&world.db, "hourly", in_an_hour).await.unwrap();
    let first = due_at().await;
    job.ensure(&world.db, "hourly", |now| now).await.unwrap();
    assert_eq!(due_at().await, first);
    job.ensure(&world.db, "every 5s", |now| now).await.unwrap();
    assert!(due_at().await < first);
}
