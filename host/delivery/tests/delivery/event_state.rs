//! What became of an event, as `marquee.event_state` and `marquee.events_seen` say it.

use marquee_delivery::{
    Verdict,
    messages::{self, Filter},
};

use crate::support::{World, claim, consume, deliver, event, plain, position};

async fn state(world: &World, id: u128) -> Option<String> {
    let sql = "select marquee.event_state('rating', $1)";
    world.query(sql, &[&event(id)]).await[0].get(0)
}

async fn only_kept(world: &World) -> i64 {
    let all = Filter {
        limit: 10,
        ..Filter::default()
    };
    messages::list(&world.db, &all).await.unwrap()[0].id
}

#[tokio::test]
async fn an_event_is_unseen_then_applied() {
    let world = World::new().await;
    assert_eq!(state(&world, 1).await, None);
    let mut at = position(&world.db).await;
    let batch = [plain(0, "a", 1, "x")];
    consume(&world.db, &mut at, &batch, |_| Verdict::Done)
        .await
        .unwrap();
    assert_eq!(state(&world, 1).await.as_deref(), Some("applied"));
    let other = "select marquee.event_state('search', $1)";
    let rows = world.query(other, &[&event(1)]).await;
    assert_eq!(rows[0].get::<_, Option<String>>(0), None, "by consumer");
    world
        .query("select marquee.accept('rating', $1)", &[&event(2)])
        .await;
    assert_eq!(state(&world, 2).await.as_deref(), Some("applied"));
}

#[tokio::test]
async fn an_event_that_could_not_be_applied_waits_until_it_is() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [plain(0, "a", 1, "x"), plain(1, "a", 2, "y")];
    consume(&world.db, &mut at, &batch, |_| {
        Verdict::Retry("not yet".to_owned())
    })
    .await
    .unwrap();
    for id in [1, 2] {
        assert_eq!(state(&world, id).await.as_deref(), Some("waiting"));
    }
    world.make_due().await;
    let claimed = claim(&world.db).await;
    for id in [1, 2] {
        let state = state(&world, id).await;
        assert_eq!(state.as_deref(), Some("waiting"), "under way");
    }
    for one in &claimed {
        deliver(&world.db, one, Verdict::Done).await.unwrap();
    }
    for id in [1, 2] {
        assert_eq!(state(&world, id).await.as_deref(), Some("applied"));
    }
}

#[tokio::test]
async fn an_event_that_never_will_be_applied_is_dead_and_then_what_a_person_made_of_it() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [plain(0, "a", 1, "x")];
    consume(&world.db, &mut at, &batch, |_| {
        Verdict::Reject("never".to_owned())
    })
    .await
    .unwrap();
    assert_eq!(state(&world, 1).await.as_deref(), Some("dead"));
    let kept = only_kept(&world).await;
    messages::skip(&world.db, kept, "ada").await.unwrap();
    assert_eq!(state(&world, 1).await.as_deref(), Some("skipped"));
    messages::discard(&world.db, kept, "ada").await.unwrap();
    assert_eq!(state(&world, 1).await.as_deref(), Some("discarded"));
}

#[tokio::test]
async fn the_events_seen_in_a_range_come_in_their_order() {
    let world = World::new().await;
    for id in [7, 3, 5, 9] {
        world
            .query("select marquee.accept('rating', $1)", &[&event(id)])
            .await;
    }
    let sql = "select * from marquee.events_seen('rating', $1, $2)";
    let rows = world.query(sql, &[&event(4), &event(7)]).await;
    let seen: Vec<uuid::Uuid> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(seen, [event(5), event(7)]);
}
