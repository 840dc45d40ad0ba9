//! `marquee.touch` and who looks for it, with sessions stepped by hand.

use marquee_delivery::{
    lag,
    touches::{CHANNEL, Touched, Touches},
};

use crate::support::{SOON, World};

fn tags(tags: &[&str]) -> Touched {
    Touched::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect())
}

async fn looking(world: &World) -> Touches {
    let mut touches = Touches::new(world.another_host());
    assert_eq!(touches.look().await.unwrap(), Touched::Unknown);
    assert_eq!(touches.look().await.unwrap(), tags(&[]));
    touches
}

#[tokio::test]
async fn what_was_touched_is_found_once_when_it_was_committed_in_whatever_order() {
    let world = World::new().await;
    let mut touches = looking(&world).await;
    let touch = "select marquee.touch($1)";
    let (mut first, mut second) = (world.db.unit(), world.db.unit());
    first.query(touch, &[&"first"]).await.unwrap();
    second.query(touch, &[&"second"]).await.unwrap();
    second.commit().await.unwrap();
    assert_eq!(touches.look().await.unwrap(), tags(&["second"]));
    // One that is open keeps what came after it from being told again.
    assert_eq!(touches.look().await.unwrap(), tags(&[]));
    world.query(touch, &[&"third"]).await;
    world.query(touch, &[&"third"]).await;
    assert_eq!(touches.look().await.unwrap(), tags(&["third"]));
    first.commit().await.unwrap();
    assert_eq!(touches.look().await.unwrap(), tags(&["first"]));
    assert_eq!(touches.look().await.unwrap(), tags(&[]));
}

#[tokio::test]
async fn what_was_rolled_back_was_not_touched() {
    let world = World::new().await;
    let mut touches = looking(&world).await;
    let mut unit = world.db.unit();
    let touched = unit.query("select marquee.touch('undone')", &[]).await;
    assert_eq!(touched.unwrap()[0].get::<_, String>(0), "undone");
    unit.rollback().await;
    assert_eq!(touches.look().await.unwrap(), tags(&[]));
}

#[tokio::test]
async fn a_look_that_does_not_know_says_so() {
    let world = World::new().await;
    let mut touches = looking(&world).await;
    let many = "select count(marquee.touch(n::text)) from generate_series(1, 5001) as n";
    assert_eq!(world.number(many).await, 5_001);
    assert_eq!(touches.look().await.unwrap(), Touched::Unknown);
    assert_eq!(touches.look().await.unwrap(), tags(&[]));
    // After a look that failed nobody knows what it would have found.
    world
        .query("alter table marquee.touches rename to away", &[])
        .await;
    assert!(touches.look().await.is_err());
    world
        .query("alter table marquee.away rename to touches", &[])
        .await;
    world.query("select marquee.touch('meanwhile')", &[]).await;
    assert_eq!(touches.look().await.unwrap(), Touched::Unknown);
}

#[tokio::test]
async fn who_listens_hears_that_it_is_time_to_look() {
    let world = World::new().await;
    let mut listener = world.another_host().listen(CHANNEL).await.unwrap();
    Touches::new(world.db.clone()).tell().await.unwrap();
    let heard = tokio::time::timeout(SOON, listener.next()).await;
    assert_eq!(heard.unwrap().unwrap(), "");
}

#[tokio::test]
async fn a_tag_has_bounds_and_old_ones_go() {
    let world = World::new().await;
    let mut unit = world.db.unit();
    for bad in [None, Some(String::new()), Some("x".repeat(257))] {
        let refused = unit.query("select marquee.touch($1)", &[&bad]).await;
        assert!(refused.is_err(), "{bad:?}");
        unit.rollback().await;
        unit = world.db.unit();
    }
    world.query("select marquee.touch('new')", &[]).await;
    let old = "insert into marquee.touches (tag, touched_at)
        select 'old', now() - interval '11 minutes' from generate_series(1, 3)";
    world.query(old, &[]).await;
    assert_eq!(lag::sweep(&world.db).await.unwrap(), 3);
    let left = "select count(*) from marquee.touches where tag = 'new'";
    assert_eq!(world.number(left).await, 1);
}
