//! What persons do with parked and dead messages, figures, and housekeeping.

use std::time::Duration;

use marquee_delivery::{
    Verdict, lag,
    messages::{self, Act, ActError, Filter, State},
};

use crate::support::{SOURCE, TOPIC, World, claim, consume, deliver, numbered, plain, position};

fn all() -> Filter {
    Filter {
        limit: 100,
        ..Filter::default()
    }
}

/// Key `a` with a dead first message and one behind it; key `b` with a parked one.
async fn troubled() -> World {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [
        numbered(0, "a", 1),
        plain(1, "b", 1, "b1"),
        numbered(2, "a", 2),
    ];
    consume(&world.db, &mut at, &batch, |message| {
        match &message.value[..] {
            b"a1" => Verdict::Reject("never".to_owned()),
            _ => Verdict::Retry("not yet".to_owned()),
        }
    })
    .await
    .unwrap();
    world
}

async fn id_of(world: &World, what: &str) -> i64 {
    world
        .query(
            "select id from marquee.parked where convert_from(value, 'UTF8') = $1",
            &[&what],
        )
        .await[0]
        .get(0)
}

/// Deliver what is due now, and what becomes due by that.
async fn drain(world: &World) -> Vec<String> {
    loop {
        let claimed = claim(&world.db).await;
        if claimed.is_empty() {
            world.check().await;
            return world.effects().await;
        }
        for one in &claimed {
            deliver(&world.db, one, Verdict::Done).await.unwrap();
        }
    }
}

async fn actions(world: &World) -> Vec<(String, String, String)> {
    let actions = messages::actions(&world.db, 10).await.unwrap();
    actions
        .into_iter()
        .map(|one| (one.actor, one.action, one.detail["state"].to_string()))
        .collect()
}

#[tokio::test]
async fn messages_are_listed_by_state_consumer_topic_and_key_page_by_page() {
    let world = troubled().await;
    let everything = messages::list(&world.db, &all()).await.unwrap();
    assert_eq!(everything.len(), 3);
    let dead = Filter {
        state: Some(State::Dead),
        ..all()
    };
    let dead = messages::list(&world.db, &dead).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].seq, Some(1));
    assert_eq!(dead[0].error.as_deref(), Some("never"));
    assert_eq!((dead[0].partition, dead[0].offset), (Some(0), Some(0)));
    for (consumer, topic, key, expected) in [
        (Some("rating"), None, None, 3),
        (Some("search"), None, None, 0),
        (None, Some(TOPIC), None, 3),
        (None, Some("none"), None, 0),
        (None, None, Some("a"), 2),
    ] {
        let filter = Filter {
            consumer: consumer.map(str::to_owned),
            topic: topic.map(str::to_owned),
            key: key.map(str::to_owned),
            ..all()
        };
        let found = messages::list(&world.db, &filter).await.unwrap();
        assert_eq!(found.len(), expected, "{consumer:?} {topic:?} {key:?}");
    }
    let mut seen = Vec::new();
    let mut page = Filter { limit: 2, ..all() };
    loop {
        let found = messages::list(&world.db, &page).await.unwrap();
        let Some(last) = found.last() else { break };
        page.after = Some(last.id);
        seen.extend(found);
    }
    assert_eq!(seen, everything);
}

#[tokio::test]
async fn one_with_an_odd_time_stands_in_the_list_beside_the_others() {
    let world = troubled().await;
    let mut at = position(&world.db).await;
    // In nanoseconds since 1970, and cut off at what the server can hold; and in the year 271324.
    for (offset, published_at_ms) in [
        (100_i64, 9_224_318_015_999_999),
        (101, 8_500_000_000_000_000),
    ] {
        let mut odd = plain(offset, "odd", u128::from(offset.unsigned_abs()), "odd");
        odd.published_at_ms = published_at_ms;
        consume(&world.db, &mut at, &[odd], |_| {
            Verdict::Retry("not yet".to_owned())
        })
        .await
        .unwrap();
    }
    let listed = messages::list(&world.db, &all()).await.unwrap();
    assert_eq!(listed.len(), 5);
    for odd in &listed[3..] {
        assert_eq!(odd.published_at.to_rfc3339(), "9999-12-31T23:59:59+00:00");
        let shown = messages::show(&world.db, odd.id).await.unwrap().unwrap();
        assert_eq!(shown.value, b"odd");
    }
}

#[tokio::test]
async fn a_message_is_shown_with_its_payload_and_headers() {
    let world = troubled().await;
    let id = id_of(&world, "a1").await;
    let shown = messages::show(&world.db, id).await.unwrap().unwrap();
    assert_eq!(shown.value, b"a1");
    assert_eq!(
        shown.headers,
        [("traceparent".to_owned(), "00-abc".to_owned())]
    );
    assert_eq!(messages::show(&world.db, i64::MAX).await.unwrap(), None);
}

#[tokio::test]
async fn a_dead_message_holds_its_key_until_it_is_retried() {
    let world = troubled().await;
    assert!(drain(&world).await.is_empty());
    messages::retry(&world.db, id_of(&world, "a1").await, "ada")
        .await
        .unwrap();
    let kept = messages::list(&world.db, &all()).await.unwrap();
    assert_eq!(kept[0].attempts, 0, "all of its attempts again");
    assert_eq!(drain(&world).await, ["a1", "a2"]);
    let expected = ("ada".to_owned(), "retry".to_owned(), "\"dead\"".to_owned());
    assert_eq!(actions(&world).await, [expected]);
}

#[tokio::test]
async fn a_skipped_message_frees_its_key_and_can_be_retried_out_of_order() {
    let world = troubled().await;
    let id = id_of(&world, "a1").await;
    messages::skip(&world.db, id, "ada").await.unwrap();
    let twice = messages::skip(&world.db, id, "ada").await;
    assert!(matches!(twice, Err(ActError::Skipped(_))));
    assert_eq!(drain(&world).await, ["a2"]);
    assert_eq!(world.key_state(SOURCE, "a").await, (2, 0));
    messages::retry(&world.db, id, "ada").await.unwrap();
    assert_eq!(drain(&world).await, ["a2", "a1"]);
    assert_eq!(world.key_state(SOURCE, "a").await, (2, 0));
}

#[tokio::test]
async fn a_discarded_message_is_gone_frees_its_key_and_leaves_its_trace() {
    let world = troubled().await;
    let id = id_of(&world, "a1").await;
    messages::discard(&world.db, id, "ada").await.unwrap();
    let again = messages::discard(&world.db, id, "ada").await;
    assert!(matches!(again, Err(ActError::Unknown(_))));
    assert_eq!(drain(&world).await, ["a2"]);
    let actions = messages::actions(&world.db, 10).await.unwrap();
    assert_eq!(actions.len(), 1);
    assert_eq!(actions[0].message_id, Some(id));
    assert_eq!(actions[0].detail["error"], "never");
    // The number stays taken: a redelivery is a duplicate.
    let mut at = position(&world.db).await;
    let again = consume(&world.db, &mut at, &[numbered(3, "a", 1)], |_| {
        Verdict::Done
    })
    .await
    .unwrap();
    assert_eq!(again[0].duplicates, 1);
}

#[tokio::test]
async fn only_the_first_message_of_a_key_can_be_retried_and_none_that_is_under_way() {
    let world = troubled().await;
    let (first, second) = (id_of(&world, "a1").await, id_of(&world, "a2").await);
    let refused = messages::retry(&world.db, second, "ada").await;
    assert!(matches!(refused, Err(ActError::NotFirst { head, .. }) if head == first));
    // One that waits can be taken out of the line.
    messages::skip(&world.db, second, "ada").await.unwrap();
    world.check().await;

    world.make_due().await;
    let claimed = claim(&world.db).await;
    assert_eq!(claimed.len(), 1);
    for refused in [
        messages::retry(&world.db, claimed[0].id(), "ada").await,
        messages::skip(&world.db, claimed[0].id(), "ada").await,
        messages::discard(&world.db, claimed[0].id(), "ada").await,
    ] {
        assert!(matches!(refused, Err(ActError::UnderWay(_))), "{refused:?}");
    }
    assert_eq!(
        actions(&world).await.len(),
        1,
        "what was refused left nothing"
    );
}

#[tokio::test]
async fn a_retry_of_a_message_behind_a_gap_says_that_the_missing_one_will_not_come() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch = [numbered(0, "a", 3), numbered(1, "a", 4)];
    consume(&world.db, &mut at, &batch, |_| Verdict::Done)
        .await
        .unwrap();
    assert!(drain(&world).await.is_empty());
    messages::retry(&world.db, id_of(&world, "a3").await, "ada")
        .await
        .unwrap();
    assert_eq!(drain(&world).await, ["a3", "a4"]);
    assert_eq!(world.key_state(SOURCE, "a").await, (4, 0));
}

#[tokio::test]
async fn what_cannot_be_decoded_cannot_be_retried() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let bad = crate::support::record(0, "a", "bad", &[]);
    consume(&world.db, &mut at, &[bad], |_| Verdict::Done)
        .await
        .unwrap();
    let id = id_of(&world, "bad").await;
    let refused = messages::retry(&world.db, id, "ada").await;
    assert!(matches!(refused, Err(ActError::Undecodable(_))));
    messages::discard(&world.db, id, "ada").await.unwrap();
    assert!(world.kept().await.is_empty());
}

#[tokio::test]
async fn figures_say_what_waits() {
    let world = troubled().await;
    let trouble = lag::trouble(&world.db).await.unwrap();
    assert_eq!(
        (trouble.parked, trouble.dead, trouble.blocked_keys),
        (2, 1, 2)
    );
    let before = lag::outbox(&world.db).await.unwrap();
    assert_eq!((before.rows, before.oldest), (0, None));
    world.publish("a", "x").await;
    world
        .query(
            "update marquee.outbox set created_at = now() - interval '90 seconds'",
            &[],
        )
        .await;
    world.publish("a", "y").await;
    let outbox = lag::outbox(&world.db).await.unwrap();
    assert_eq!(outbox.rows, 2);
    assert!(outbox.oldest.unwrap() >= Duration::from_secs(89));
}

#[tokio::test]
async fn housekeeping_forgets_old_event_ids_and_idle_keys_and_nothing_else() {
    let world = troubled().await;
    let mut at = position(&world.db).await;
    let more = [plain(3, "c", 2, "x"), plain(4, "c", 3, "y")];
    consume(&world.db, &mut at, &more, |_| Verdict::Done)
        .await
        .unwrap();
    world
        .query(
            "update marquee.inbox set seen_at = now() - interval '8 days' where event_id = $1",
            &[&crate::support::event(2)],
        )
        .await;
    messages::discard(&world.db, id_of(&world, "b1").await, "ada")
        .await
        .unwrap();
    assert_eq!(lag::sweep(&world.db).await.unwrap(), 2);
    assert_eq!(lag::sweep(&world.db).await.unwrap(), 0);
    assert_eq!(world.number("select count(*) from marquee.inbox").await, 2);
    let keys = world.query("select key from marquee.key_state", &[]).await;
    let keys: Vec<&str> = keys.iter().map(|row| row.get(0)).collect();
    assert_eq!(keys, ["a"], "its number must never be forgotten");
}

#[tokio::test]
async fn housekeeping_goes_on_until_nothing_is_left() {
    let world = World::new().await;
    world
        .query(
            "insert into marquee.inbox (consumer, event_id, seen_at)
             select 'rating', gen_random_uuid(), now() - interval '8 days' from generate_series(1, 12000)",
            &[],
        )
        .await;
    assert_eq!(lag::sweep(&world.db).await.unwrap(), 12_000);
    assert_eq!(world.number("select count(*) from marquee.inbox").await, 0);
}

#[tokio::test]
async fn a_key_goes_on_behind_a_number_that_was_removed_beyond_a_gap() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let done = |_: &marquee_delivery::Message| Verdict::Done;
    let batch = [
        numbered(0, "a", 1),
        numbered(1, "a", 2),
        numbered(2, "a", 3),
        numbered(3, "a", 5),
        numbered(4, "a", 6),
        numbered(5, "b", 1),
        numbered(6, "b", 3),
    ];
    consume(&world.db, &mut at, &batch, done).await.unwrap();
    // 6 cannot go before 5: it would be the next gap.
    let (five, six) = (id_of(&world, "a5").await, id_of(&world, "a6").await);
    let early = messages::discard(&world.db, six, "ada").await;
    assert!(
        matches!(early, Err(ActError::NotFirst { head, .. }) if head == five),
        "{early:?}"
    );
    messages::skip(&world.db, five, "ada").await.unwrap();
    messages::discard(&world.db, id_of(&world, "b3").await, "ada")
        .await
        .unwrap();
    assert_eq!(drain(&world).await, ["a1", "a2", "a3", "b1", "a6"]);
    let next = [numbered(7, "a", 7), numbered(8, "b", 4)];
    consume(&world.db, &mut at, &next, done).await.unwrap();
    assert_eq!(world.effects().await[5..], ["a7", "b4"]);
}

#[tokio::test]
async fn messages_are_found_by_their_reason_and_by_when_they_came() {
    let world = troubled().await;
    let found = async |filter: Filter| messages::list(&world.db, &filter).await.unwrap().len();
    let reason = |reason: &str| Filter {
        reason: Some(reason.to_owned()),
        ..all()
    };
    assert_eq!(found(reason("rejected")).await, 1);
    assert_eq!(found(reason("retry")).await, 1);
    assert_eq!(found(reason("gap")).await, 0);
    let now = chrono::Utc::now();
    let (before, after) = (
        now - Duration::from_secs(600),
        now + Duration::from_secs(600),
    );
    for (since, until, expected) in [
        (Some(before), Some(after), 3),
        (Some(after), None, 0),
        (None, Some(before), 0),
    ] {
        let filter = Filter {
            since,
            until,
            ..all()
        };
        assert_eq!(found(filter).await, expected);
    }
}

#[tokio::test]
async fn one_act_is_done_with_every_message_that_allows_it_page_by_page() {
    let world = troubled().await;
    let mut filter = Filter {
        limit: 2,
        ..Filter::default()
    };
    let planned = messages::each(&world.db, &filter, Act::Discard, "ada", &[], true)
        .await
        .unwrap();
    assert_eq!((planned.done, planned.left.len()), (2, 0));
    assert_eq!(world.kept().await.len(), 3, "a dry run changes nothing");

    // The one behind the dead one waits for it.
    let (mut done, mut left) = (0, Vec::new());
    while let page = messages::each(&world.db, &filter, Act::Retry, "ada", &[], false)
        .await
        .unwrap()
        && page.last.is_some()
    {
        done += page.done;
        left.extend(page.left);
        filter.after = page.last;
    }
    assert_eq!((done, left.len()), (2, 1), "{left:?}");
    assert!(left[0].why.contains("act on that one first"), "{left:?}");
    assert_eq!(drain(&world).await.len(), 3);
    assert_eq!(actions(&world).await.len(), 2);
}

#[tokio::test]
async fn many_go_a_hundred_in_a_transaction_and_none_keeps_the_others() {
    let world = World::new().await;
    let mut at = position(&world.db).await;
    let batch: Vec<_> = (0..250)
        .map(|number: u8| {
            plain(
                number.into(),
                &format!("k{}", number % 50),
                u128::from(number) + 1,
                "x",
            )
        })
        .collect();
    consume(&world.db, &mut at, &batch, |_| {
        Verdict::Reject("never".to_owned())
    })
    .await
    .unwrap();
    let first = world.number("select min(id) from marquee.parked").await;
    for sql in [
        // One is being delivered, and one makes the database fail.
        format!("update marquee.parked set state = 'parked', claim = gen_random_uuid(), next_attempt_at = now() + interval '1 hour' where id = {first} + 7"),
        "create function fail() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$".to_owned(),
        format!("create trigger fail before delete on marquee.parked for each row when (old.id = {first} + 120) execute function fail()"),
    ] {
        world.query(&sql, &[]).await;
    }
    let filter = Filter {
        limit: 1_000,
        ..Filter::default()
    };
    let bulk = messages::each(&world.db, &filter, Act::Discard, "ada", &[], false)
        .await
        .unwrap();
    let left: Vec<_> = bulk.left.iter().map(|left| left.id - first).collect();
    assert_eq!((bulk.done, left), (248, vec![7, 120]), "{:?}", bulk.left);
    assert_eq!(world.kept().await.len(), 2);
    assert_eq!(
        world.number("select count(*) from marquee.actions").await,
        248
    );
    // The hundred in which one failed went one by one.
    let transactions = "select count(distinct xmin::text) from marquee.actions";
    assert_eq!(world.number(transactions).await, 1 + 99 + 1);
    world.check().await;
}

#[tokio::test]
async fn a_dead_message_is_applied_with_the_payload_that_a_person_gave_it() {
    let world = troubled().await;
    let id = id_of(&world, "a1").await;
    let large = vec![0; marquee_bus::MAX_VALUE_BYTES + 1];
    let refused = messages::edit(&world.db, id, &large, "ada").await;
    assert!(matches!(refused, Err(ActError::TooLarge)), "{refused:?}");
    messages::edit(&world.db, id, b"mended", "ada")
        .await
        .unwrap();
    messages::retry(&world.db, id, "ada").await.unwrap();
    let effects = drain(&world).await;
    assert!(
        effects.starts_with(&["mended".to_owned(), "a2".to_owned()]),
        "{effects:?}"
    );
    let edits = messages::actions(&world.db, 10).await.unwrap();
    let edit = edits.last().unwrap();
    assert_eq!(edit.action, "edit");
    assert_eq!(edit.detail["payload"]["bytes"], 2, "what it was is known");
}
