//! What is read.

use rating::domain::{OfRecord, OfUser, Ranked, Record};

use super::support::*;

/// Walks a list to its end.
async fn walk(
    fixture: &Fixture,
    user: &str,
    limit: u32,
    mut between: impl AsyncFnMut(),
) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = OfUser::parse(user, after.as_deref(), limit).unwrap();
        let from = page.after().copied().unwrap_or(i64::MAX);
        let rows = fixture
            .query(store::BY_USER, &[&user, &from, &page.reads()])
            .await;
        let found = rows
            .iter()
            .map(|row| (row.get("place"), row.get::<_, String>("record_id")));
        let (found, next) = page.cut(found.collect());
        all.extend(found);
        match next {
            Some(_) => after = next,
            None => return all,
        }
        between().await;
    }
}

#[tokio::test]
async fn a_walk_shows_each_standing_rating_of_the_user_once_the_first_rated_last() {
    let fixture = Fixture::new().await;
    let ids: Vec<String> = (0..230).map(|n| format!("r{n:03}")).collect();
    let refs: Vec<&str> = ids.iter().map(String::as_str).collect();
    fixture.know(&refs).await;
    for (n, id) in (1..).zip(&ids) {
        fixture.apply(&[put(n, id, "u", 5, 7)]).await;
    }
    fixture.apply(&[put(1_000, "r007", "v", 5, 500)]).await;
    fixture.apply(&[delete(1_001, "r100", "u", 900)]).await;
    let mut expected = ids.clone();
    expected.retain(|id| id != "r100");
    expected.reverse();
    for limit in [1, 50, 100] {
        assert_eq!(
            walk(&fixture, "u", limit, async || ()).await,
            expected,
            "{limit}"
        );
    }
}

#[tokio::test]
async fn a_rating_that_is_replaced_while_someone_walks_is_neither_missed_nor_seen_twice() {
    let fixture = Fixture::new().await;
    let ids = ["a", "b", "c", "d", "e", "f"];
    fixture.know(&ids).await;
    for (n, id) in (1..).zip(ids) {
        fixture
            .apply(&[put(n, id, "u", 5, u64::try_from(n).unwrap())])
            .await;
    }
    let mut turn = 100;
    let seen = walk(&fixture, "u", 2, async || {
        for id in ids {
            turn += 1;
            fixture
                .apply(&[put(turn, id, "u", 9, u64::try_from(turn).unwrap())])
                .await;
        }
    })
    .await;
    assert_eq!(seen, ["f", "e", "d", "c", "b", "a"]);
}

#[tokio::test]
async fn ratings_of_a_record_come_by_user_and_only_those_that_stand() {
    let fixture = Fixture::new().await;
    fixture.know(&["a", "b"]).await;
    let users: Vec<String> = (0..25).map(|n| format!("u{n:02}")).collect();
    let events: Vec<Event> = (1..)
        .zip(&users)
        .map(|(n, user)| put(n, "a", user, 5, 1))
        .collect();
    fixture.apply(&events).await;
    fixture
        .apply(&[delete(100, "a", "u07", 2), put(101, "b", "u07", 5, 2)])
        .await;
    let record = Record::parse("movie", "a").unwrap();
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = OfRecord::parse(&record, after.as_deref(), 10).unwrap();
        let from = page.after().map_or("", String::as_str);
        let rows = fixture
            .query(store::OF_RECORD, &[&"movie", &"a", &from, &page.reads()])
            .await;
        let found = rows.iter().map(|row| {
            let user: String = row.get("user_id");
            (user.clone(), user)
        });
        let (found, next) = page.cut(found.collect());
        all.extend(found);
        match next {
            Some(_) => after = next,
            None => break,
        }
    }
    let expected: Vec<_> = users.into_iter().filter(|user| user != "u07").collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn records_are_ranked_by_a_mean_that_few_ratings_do_not_move_far() {
    let fixture = Fixture::new().await;
    fixture
        .know(&["one ten", "many nines", "one one", "none", "again"])
        .await;
    let mut events: Vec<Event> = (0..100_u128)
        .map(|n| put(n + 1, "many nines", &format!("u{n}"), 9, 1))
        .collect();
    events.extend([
        put(200, "one ten", "u", 10, 1),
        put(201, "one one", "u", 1, 1),
        put(202, "again", "u", 10, 1),
    ]);
    fixture.apply(&events).await;
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = Ranked::parse("movie", after.as_deref(), 1).unwrap();
        let (score, id) = page.after().cloned().unwrap_or((i16::MAX, String::new()));
        let rows = fixture
            .query(store::RANKED, &[&"movie", &score, &id, &page.reads()])
            .await;
        let found = rows.iter().map(|row| {
            let id: String = row.get("record_id");
            ((row.get("score"), id.clone()), id)
        });
        let (found, next) = page.cut(found.collect());
        all.extend(found);
        match next {
            Some(_) => after = next,
            None => break,
        }
    }
    // Nobody has rated the fifth one.
    assert_eq!(all, ["many nines", "one ten", "again", "one one"]);
}

/// The statement's plan, with scans that read everything left out where there is another way.
async fn plan(fixture: &Fixture, statement: &str, values: &str) -> String {
    let mut connection = fixture.connection().await;
    let sql = format!(
        "set enable_seqscan = off; set enable_bitmapscan = off; set plan_cache_mode = force_generic_plan; prepare page as {statement}",
    );
    connection.batch(&sql).await.unwrap();
    let explain = format!("explain execute page ({values})");
    let rows = connection.query(&explain, &[]).await.unwrap();
    connection.discard();
    rows.iter()
        .map(|row| row.get::<_, String>(0) + "\n")
        .collect()
}

#[tokio::test]
async fn an_index_serves_each_page_without_sorting() {
    let fixture = Fixture::new().await;
    for (statement, values, index, condition) in [
        (
            store::BY_USER,
            "'u', 1, 10",
            "ratings_user_id_place_idx",
            "((user_id = $1) AND (place < $2))",
        ),
        (
            store::OF_RECORD,
            "'movie', 'a', 'u', 10",
            "ratings_pkey",
            "((record_type = $1) AND (record_id = $2) AND (user_id > $3))",
        ),
        (
            store::RANKED,
            "'movie', 1::smallint, 'a', 10",
            "aggregated_ratings_score_idx",
            "((record_type = $1) AND (ROW(score, record_id) < ROW",
        ),
    ] {
        let plan = plan(&fixture, statement, values).await;
        assert!(plan.contains(&format!("using {index}")), "{plan}");
        assert!(plan.contains(&format!("Index Cond: {condition}")), "{plan}");
        assert!(!plan.contains("Sort"), "{plan}");
    }
}
