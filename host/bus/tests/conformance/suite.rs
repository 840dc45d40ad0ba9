//! The promises, one function each.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use marquee_bus::{Batch, BatchLimits, Error, Event, MAX_VALUE_BYTES, Record};

use crate::harness::{Fixture, PARTITIONS, PATIENCE, Reader, publish, share, text};

pub(crate) async fn a_bus_answers_and_says_what_it_is(fixture: &Fixture) {
    let bus = fixture.bus().await;
    bus.ping().await.unwrap();
    assert!(
        bus.describe().contains("Kafka at 127.0.0.1:") || bus.describe().contains("database bus")
    );
}

pub(crate) async fn a_record_comes_back_as_it_went(fixture: &Fixture) {
    let bus = fixture.bus().await;
    let mut outgoing = fixture.record("movie \u{1f3ac}", "");
    outgoing.record = Record {
        key: outgoing.record.key,
        value: Bytes::from_static(&[0, 1, 255, 0]),
        headers: vec![
            ("marquee-seq".to_owned(), Bytes::from_static(b"1")),
            ("twice".to_owned(), Bytes::from_static(&[0, 255])),
            ("twice".to_owned(), Bytes::new()),
        ],
    };
    publish(&*bus, vec![outgoing.clone()]).await;
    let mut reader = fixture.subscribe(&*bus).await;
    let read = reader.read(1).await;
    let (_, incoming) = &read[0];
    assert_eq!(incoming.record, outgoing.record);
    assert_eq!(incoming.offset, 0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let age_ms = i64::try_from(now.as_millis()).unwrap() - incoming.published_at_ms;
    assert!(
        (-1000..60_000).contains(&age_ms),
        "published {age_ms} ms ago"
    );
}

pub(crate) async fn a_key_keeps_its_partition_and_its_order(fixture: &Fixture) {
    let bus = fixture.bus().await;
    // Several calls, so that the order holds from call to call too.
    for _ in 0..3 {
        fixture.fill(&*bus, 100).await;
    }
    let mut reader = fixture.subscribe(&*bus).await;
    let mut partitions: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    let mut values: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, incoming) in reader.read(300).await {
        let key = incoming.record.key.clone();
        partitions.entry(key.clone()).or_default().insert(number);
        values
            .entry(key)
            .or_default()
            .push(text(&incoming).parse().unwrap());
    }
    assert_eq!(values.len(), 16);
    for (key, partitions) in &partitions {
        assert_eq!(partitions.len(), 1, "{key} is in {partitions:?}");
    }
    let used: BTreeSet<i32> = partitions.into_values().flatten().collect();
    assert!(used.len() > 1, "all keys are in one partition");
    for (key, values) in values {
        let place: usize = key.trim_start_matches("movie-").parse().unwrap();
        let once: Vec<usize> = (0..100).filter(|value| value % 16 == place).collect();
        assert_eq!(values, once.repeat(3), "{key}");
    }
}

pub(crate) async fn records_without_a_key_are_all_read(fixture: &Fixture) {
    let bus = fixture.bus().await;
    let records = (0..50).map(|value| fixture.record("", value.to_string()));
    publish(&*bus, records.collect()).await;
    let mut reader = fixture.subscribe(&*bus).await;
    let read = reader.read(50).await;
    let values: BTreeSet<String> = read.iter().map(|(_, incoming)| text(incoming)).collect();
    assert_eq!(values.len(), 50);
    assert!(
        read.iter()
            .all(|(_, incoming)| incoming.record.key.is_empty())
    );
}

pub(crate) async fn concurrent_publishers_of_one_key_lose_nothing(fixture: &Fixture) {
    let (first, second) = tokio::join!(fixture.bus(), fixture.bus());
    let publisher = async |name: usize| {
        let bus = if name.is_multiple_of(2) {
            &first
        } else {
            &second
        };
        for value in 0..40 {
            let record = fixture.record("movie", format!("{name} {value}"));
            publish(&**bus, vec![record]).await;
        }
    };
    futures::future::join_all((0..8).map(publisher)).await;
    let mut reader = fixture.subscribe(&*first).await;
    let mut of_each: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut offsets = Vec::new();
    for (_, incoming) in reader.read(320).await {
        let value = text(&incoming);
        let (name, value) = value.split_once(' ').unwrap();
        let values = of_each.entry(name.parse().unwrap()).or_default();
        values.push(value.parse().unwrap());
        offsets.push(incoming.offset);
    }
    let expected: Vec<i64> = (0..320).collect();
    assert_eq!(offsets, expected);
    assert_eq!(of_each.len(), 8);
    for values in of_each.values() {
        let expected: Vec<usize> = (0..40).collect();
        assert_eq!(*values, expected);
    }
}

pub(crate) async fn a_second_group_reads_everything_too(fixture: &Fixture) {
    let bus = fixture.bus().await;
    fixture.fill(&*bus, 20).await;
    let mut first = fixture.subscribe(&*bus).await;
    first.read(20).await;
    let other = format!("{}-other", fixture.group);
    let subscription = bus
        .subscribe(&other, &fixture.topic, BatchLimits::default())
        .await
        .unwrap();
    let mut second = Reader::new(subscription);
    second.read(20).await;
}

pub(crate) async fn committed_offsets_survive_a_new_member(fixture: &Fixture) {
    let bus = fixture.bus().await;
    fixture.fill(&*bus, 50).await;
    let mut first = fixture.subscribe(&*bus).await;
    first.read(50).await;
    first.subscription.close().await;
    let records = (50..60).map(|value| fixture.record("movie-1", value.to_string()));
    publish(&*bus, records.collect()).await;
    let mut second = fixture.subscribe(&*bus).await;
    let values: Vec<String> = second
        .read(10)
        .await
        .iter()
        .map(|(_, incoming)| text(incoming))
        .collect();
    let expected: Vec<String> = (50..60).map(|value| value.to_string()).collect();
    assert_eq!(values, expected);
}

pub(crate) async fn offsets_that_are_committed_at_once_all_stand(fixture: &Fixture) {
    let bus = fixture.bus().await;
    fixture.fill(&*bus, 50).await;
    let mut first = fixture.subscribe(&*bus).await;
    let mut batches = Vec::new();
    for _ in 0..PARTITIONS {
        batches.push(first.batch().await);
    }
    let came: usize = batches.iter().map(|batch| batch.records.len()).sum();
    let commits = batches.iter().map(|batch| {
        let after = batch.records.last().unwrap().offset + 1;
        first.subscription.commit(&batch.assignment, after)
    });
    for committed in futures::future::join_all(commits).await {
        committed.unwrap();
    }
    first.read(50 - came).await;
    first.subscription.close().await;
    publish(&*bus, vec![fixture.record("movie-1", "marker")]).await;
    let mut second = fixture.subscribe(&*bus).await;
    assert_eq!(text(&second.read(1).await[0].1), "marker");
}

pub(crate) async fn an_uncommitted_batch_comes_again_to_the_next_member(fixture: &Fixture) {
    let bus = fixture.bus().await;
    let records =
        |from, to| (from..to).map(|value: i32| fixture.record("movie", value.to_string()));
    publish(&*bus, records(0, 10).collect()).await;
    let limits = BatchLimits {
        records: 5,
        ..BatchLimits::default()
    };
    let mut first = fixture.subscribe_with(&*bus, limits).await;
    let done = first.batch().await;
    first.commit(&done).await;
    let undone = first.batch().await;
    first.subscription.close().await;
    let mut second = fixture.subscribe_with(&*bus, limits).await;
    let again = second.batch().await;
    assert_eq!(again.records[0], undone.records[0]);
    assert!(again.records[0].offset > done.records[0].offset);
    assert_ne!(
        again.assignment, undone.assignment,
        "a holding has a number of its own"
    );
}

pub(crate) async fn batches_follow_each_other_without_a_commit_and_one_covers_them_all(
    fixture: &Fixture,
) {
    let bus = fixture.bus().await;
    let records =
        |from, to| (from..to).map(|value: i32| fixture.record("movie", value.to_string()));
    publish(&*bus, records(0, 15).collect()).await;
    let limits = BatchLimits {
        records: 5,
        ..BatchLimits::default()
    };
    let mut first = fixture.subscribe_with(&*bus, limits).await;
    let one = first.batch().await;
    first.subscription.more(&one.assignment);
    let two = first.batch().await;
    let after = |batch: &Batch| batch.records.last().unwrap().offset + 1;
    assert_eq!(two.records[0].offset, after(&one));
    // What is out stays out: a commit asks for nothing.
    let committed = first.subscription.commit(&two.assignment, after(&one));
    committed.await.unwrap();
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(300), first.batch());
    assert!(nothing.await.is_err(), "a commit brought a batch");
    let committed = first.subscription.commit(&two.assignment, after(&two));
    committed.await.unwrap();
    first.subscription.close().await;
    let mut second = fixture.subscribe_with(&*bus, limits).await;
    assert_eq!(second.batch().await.records[0].offset, after(&two));
}

pub(crate) async fn two_members_share_partitions_and_none_is_held_by_both(fixture: &Fixture) {
    let (first_bus, second_bus) = tokio::join!(fixture.bus(), fixture.bus());
    let mut first = fixture.subscribe(&*first_bus).await;
    first.hold(4).await;
    let mut second = fixture.subscribe(&*second_bus).await;
    share(&mut first, &mut second, 2).await;
    assert!(first.numbers().is_disjoint(&second.numbers()));
    // And they read what is published, each its own.
    fixture.fill(&*first_bus, 100).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 100 {
        let (reader, event) = tokio::select! {
            event = first.next() => (&mut first, event),
            event = second.next() => (&mut second, event),
        };
        if let Event::Batch(batch) = event {
            reader.commit(&batch).await;
            for record in &batch.records {
                assert!(seen.insert(text(record)), "{} was read twice", text(record));
            }
        }
    }
}

pub(crate) async fn a_guard_keeps_a_partition_until_its_batch_is_committed(fixture: &Fixture) {
    let (first_bus, second_bus) = tokio::join!(fixture.bus(), fixture.bus());
    fixture.fill(&*first_bus, 100).await;
    let mut first = fixture.subscribe(&*first_bus).await;
    // All of it is in the caller's hands, nothing of the last batches committed, when the second member comes.
    let mut out: BTreeMap<i32, Batch> = BTreeMap::new();
    let mut amount = 0;
    while amount < 100 {
        let batch = first.batch().await;
        amount += batch.records.len();
        if batch.records.len() < 5 && amount < 100 {
            first.commit(&batch).await;
        } else {
            out.insert(batch.assignment.partition.number, batch);
        }
    }
    let mut second = fixture.subscribe(&*second_bus).await;
    let shared = async {
        while first.held.len() != 2 || second.held.len() != 2 {
            tokio::select! {
                event = first.next() => {
                    // Committed under the guard, which is dropped after it.
                    if let Event::Revoked(assignment, _guard) = &event
                        && let Some(batch) = out.get(&assignment.partition.number)
                        && batch.assignment == *assignment
                    {
                        first.commit(batch).await;
                    }
                }
                event = second.next() => {
                    assert!(!matches!(event, Event::Batch(_)), "{event:?} was committed before");
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, shared).await.unwrap();
    for (number, batch) in &out {
        if first.held.get(number) == Some(&batch.assignment) {
            first.commit(batch).await;
        }
    }
    let markers = (0..16).map(|key| fixture.record(&format!("movie-{key}"), "marker"));
    publish(&*first_bus, markers.collect()).await;
    let mut markers = 0;
    while markers < 16 {
        let (reader, event) = tokio::select! {
            event = first.next() => (&mut first, event),
            event = second.next() => (&mut second, event),
        };
        if let Event::Batch(batch) = event {
            reader.commit(&batch).await;
            for record in &batch.records {
                assert_eq!(text(record), "marker", "it was committed before");
                markers += 1;
            }
        }
    }
}

pub(crate) async fn a_revoked_holders_commit_is_fenced(fixture: &Fixture) {
    let (first_bus, second_bus) = tokio::join!(fixture.bus(), fixture.bus());
    fixture.fill(&*first_bus, 100).await;
    let mut first = fixture.subscribe(&*first_bus).await;
    first.hold(4).await;
    let mut second = fixture.subscribe(&*second_bus).await;
    // Guards are dropped at once and nothing is committed.
    share(&mut first, &mut second, 2).await;
    let lost = second.held.values().next().unwrap().clone();
    let mut stale = lost.clone();
    stale.generation -= 1;
    for assignment in [&stale, &lost] {
        let committed = first.subscription.commit(assignment, 1).await;
        assert!(matches!(committed, Err(Error::Fenced(_))), "{committed:?}");
        let sought = first.subscription.seek(assignment, 0).await;
        assert!(matches!(sought, Err(Error::Fenced(_))), "{sought:?}");
    }
    // Nothing of it went through: the new holder reads from the beginning.
    let number = lost.partition.number;
    loop {
        let batch = second.batch().await;
        if batch.assignment.partition.number == number {
            assert_eq!(batch.records[0].offset, 0);
            return;
        }
    }
}

pub(crate) async fn partitions_of_a_vanished_member_go_to_another(fixture: &Fixture) {
    let (first_bus, second_bus) = tokio::join!(fixture.bus(), fixture.bus());
    let mut first = fixture.subscribe(&*first_bus).await;
    first.hold(4).await;
    let mut second = fixture.subscribe(&*second_bus).await;
    share(&mut first, &mut second, 2).await;
    fixture.fill(&*second_bus, 30).await;
    // It goes with a batch in its hands.
    first.batch().await;
    drop(first);
    drop(first_bus);
    second.hold(4).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 30 {
        let batch = second.batch().await;
        second.commit(&batch).await;
        seen.extend(batch.records.iter().map(text));
    }
}

pub(crate) async fn closing_hands_partitions_over_at_once(fixture: &Fixture) {
    let (first_bus, second_bus) = tokio::join!(fixture.bus(), fixture.bus());
    let mut first = fixture.subscribe(&*first_bus).await;
    first.hold(4).await;
    first.subscription.close().await;
    let closed_at = std::time::Instant::now();
    let mut second = fixture.subscribe(&*second_bus).await;
    second.hold(4).await;
    // Less than a lease of this test and than the shortest session of Kafka.
    assert!(
        closed_at.elapsed() < Duration::from_secs(4),
        "{:?}",
        closed_at.elapsed()
    );
}

pub(crate) async fn the_end_is_where_the_next_record_goes(fixture: &Fixture) {
    let bus = fixture.bus().await;
    let mut reader = fixture.subscribe(&*bus).await;
    reader.hold(PARTITIONS as usize).await;
    let mut last = BTreeMap::from_iter((0..PARTITIONS).map(|number| (number, -1)));
    for _ in 0..2 {
        for (number, last) in &last {
            let partition = fixture.partition(*number);
            let log = bus.log(&partition).await.unwrap();
            assert_eq!((log.begin, log.end), (0, last + 1), "{partition}");
            assert!(!log.id.is_empty(), "it has a name");
        }
        fixture.fill(&*bus, 40).await;
        for (number, incoming) in reader.read(40).await {
            last.insert(number, incoming.offset);
        }
    }
}

pub(crate) async fn the_offset_of_a_time_is_that_of_the_first_record_since(fixture: &Fixture) {
    let bus = fixture.bus().await;
    assert_eq!(bus.partitions(&fixture.topic).await.unwrap(), PARTITIONS);
    let nowhere = bus.partitions("nowhere").await;
    assert!(matches!(nowhere, Err(Error::Refused(_))), "{nowhere:?}");
    let mut reader = fixture.subscribe(&*bus).await;
    reader.hold(PARTITIONS as usize).await;
    let mut read = Vec::new();
    for value in 0..6 {
        let record = fixture.record("movie", value.to_string());
        publish(&*bus, vec![record]).await;
        read.extend(reader.read(1).await);
    }
    let partition = fixture.partition(read[0].0);
    for (_, incoming) in &read {
        let since = incoming.published_at_ms;
        let first = read.iter().find(|(_, it)| it.published_at_ms >= since);
        let found = bus.offset_at(&partition, since).await.unwrap();
        assert_eq!(Some(found), first.map(|(_, it)| it.offset));
    }
    assert_eq!(bus.offset_at(&partition, i64::MIN).await.unwrap(), 0);
    for since in [read[5].1.published_at_ms + 60_000, i64::MAX] {
        assert_eq!(bus.offset_at(&partition, since).await.unwrap(), 6);
    }
}

pub(crate) async fn seeking_back_reads_again(fixture: &Fixture) {
    let bus = fixture.bus().await;
    let records = (0..20).map(|value| fixture.record("movie", value.to_string()));
    publish(&*bus, records.collect()).await;
    let limits = BatchLimits {
        records: 4,
        ..BatchLimits::default()
    };
    let mut reader = fixture.subscribe_with(&*bus, limits).await;
    let mut batch = reader.batch().await;
    while batch.records[0].offset < 8 {
        reader.commit(&batch).await;
        batch = reader.batch().await;
    }
    // Instead of a commit: back to the middle of what was read, while there is read-ahead.
    reader
        .subscription
        .seek(&batch.assignment, 6)
        .await
        .unwrap();
    let mut offsets = Vec::new();
    while offsets.len() < 14 {
        let batch = reader.batch().await;
        reader.commit(&batch).await;
        offsets.extend(batch.records.iter().map(|record| record.offset));
    }
    let expected: Vec<i64> = (6..20).collect();
    assert_eq!(offsets, expected);
}

pub(crate) async fn seeking_right_after_the_assignment_skips(fixture: &Fixture) {
    let bus = fixture.bus().await;
    let records = (0..20).map(|value| fixture.record("movie", value.to_string()));
    publish(&*bus, records.collect()).await;
    let mut reader = fixture.subscribe(&*bus).await;
    // As a consumer does whose own database is further than the bus knows.
    while reader.held.len() < usize::try_from(PARTITIONS).unwrap() {
        if let Event::Assigned(assignment) = reader.next().await {
            reader.subscription.seek(&assignment, 15).await.unwrap();
        }
    }
    let batch = reader.batch().await;
    assert_eq!(batch.records[0].offset, 15);
}

pub(crate) async fn batches_keep_to_their_limits(fixture: &Fixture) {
    let bus = fixture.bus().await;
    let records = (0..40).map(|_| fixture.record("movie", "v".repeat(995)));
    publish(&*bus, records.collect()).await;
    let by_bytes = BatchLimits {
        records: 100,
        bytes: 10_000,
    };
    let mut reader = fixture.subscribe_with(&*bus, by_bytes).await;
    let batch = reader.batch().await;
    assert!(
        (1..=10).contains(&batch.records.len()),
        "{}",
        batch.records.len()
    );
    reader.commit(&batch).await;
    let batch = reader.batch().await;
    assert!(
        (1..=10).contains(&batch.records.len()),
        "{}",
        batch.records.len()
    );
    reader.subscription.close().await;

    let by_records = BatchLimits {
        records: 3,
        bytes: 1_000_000,
    };
    let mut reader = fixture.subscribe_with(&*bus, by_records).await;
    for _ in 0..3 {
        let batch = reader.batch().await;
        assert!(
            (1..=3).contains(&batch.records.len()),
            "{}",
            batch.records.len()
        );
        reader.commit(&batch).await;
    }
}

pub(crate) async fn a_slow_consumer_gets_everything_and_one_batch_at_a_time(fixture: &Fixture) {
    let bus = fixture.bus().await;
    let records = (0..600).map(|value| fixture.record("movie", value.to_string()));
    publish(&*bus, records.collect()).await;
    let limits = BatchLimits {
        records: 10,
        ..BatchLimits::default()
    };
    let mut reader = fixture.subscribe_with(&*bus, limits).await;
    reader.hold(4).await;
    let mut offsets = Vec::new();
    let first = reader.batch().await;
    // Long enough for everything to be read ahead, if it were not stopped; no second batch meanwhile.
    let second = tokio::time::timeout(Duration::from_secs(1), reader.subscription.next()).await;
    assert!(second.is_err(), "{second:?}");
    reader.commit(&first).await;
    offsets.extend(first.records.iter().map(|record| record.offset));
    while offsets.len() < 600 {
        let batch = reader.batch().await;
        reader.commit(&batch).await;
        offsets.extend(batch.records.iter().map(|record| record.offset));
    }
    let expected: Vec<i64> = (0..600).collect();
    assert_eq!(offsets, expected);
}

pub(crate) async fn an_oversized_record_is_refused_and_those_behind_it_fail(fixture: &Fixture) {
    let bus = fixture.bus().await;
    let largest = "v".repeat(MAX_VALUE_BYTES);
    let results = bus
        .publish(vec![
            fixture.record("movie", largest.clone()),
            fixture.record("movie", largest + "v"),
            fixture.record("movie", "behind"),
            fixture.record("other", "free"),
            fixture.record("nul\0", "never"),
            fixture.record(&"k".repeat(257), "never"),
        ])
        .await;
    assert!(matches!(results[0], Ok(())), "{results:?}");
    assert!(matches!(results[1], Err(Error::Refused(_))), "{results:?}");
    assert!(
        matches!(results[2], Err(Error::Unavailable(_))),
        "{results:?}"
    );
    assert!(matches!(results[3], Ok(())), "{results:?}");
    assert!(matches!(results[4], Err(Error::Refused(_))), "{results:?}");
    assert!(matches!(results[5], Err(Error::Refused(_))), "{results:?}");
    let mut reader = fixture.subscribe(&*bus).await;
    let read = reader.read(2).await;
    let lengths: BTreeSet<usize> = read.iter().map(|(_, it)| it.record.value.len()).collect();
    assert_eq!(lengths, BTreeSet::from([MAX_VALUE_BYTES, 4]));
}

pub(crate) async fn an_unknown_topic_is_refused(fixture: &Fixture) {
    let bus = fixture.bus().await;
    let mut record = fixture.record("movie", "0");
    record.topic += "-unknown";
    let joined = bus
        .subscribe(&fixture.group, &record.topic, BatchLimits::default())
        .await;
    assert!(matches!(joined, Err(Error::Refused(_))));
    let results = bus
        .publish(vec![record, fixture.record("movie", "1")])
        .await;
    assert!(matches!(results[0], Err(Error::Refused(_))), "{results:?}");
    assert!(matches!(results[1], Ok(())), "{results:?}");
}

pub(crate) async fn a_topic_is_made_once_whoever_asks(fixture: &Fixture) {
    let (first, second) = tokio::join!(fixture.bus(), fixture.bus());
    let topic = format!("{}-new", fixture.topic);
    let (a, b) = tokio::join!(
        first.ensure_topic(&topic, 3),
        second.ensure_topic(&topic, 3)
    );
    a.unwrap();
    b.unwrap();
    // Asked for with another number it stays as it is.
    first.ensure_topic(&topic, 5).await.unwrap();
    let subscription = first
        .subscribe(&fixture.group, &topic, BatchLimits::default())
        .await
        .unwrap();
    let mut reader = Reader::new(subscription);
    reader.hold(3).await;
    let fourth = tokio::time::timeout(Duration::from_secs(1), reader.subscription.next()).await;
    assert!(fourth.is_err(), "{fourth:?}");
}
