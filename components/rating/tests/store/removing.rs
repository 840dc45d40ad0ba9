//! Records that are gone.

use super::support::*;

async fn remove(fixture: &Fixture, ids: &[&str]) {
    fixture.know(ids).await;
    let kinds = vec!["movie"; ids.len()];
    fixture.query(store::REMOVE, &[&kinds, &ids]).await;
}

#[tokio::test]
async fn nothing_of_a_record_that_is_gone_is_seen() {
    let fixture = Fixture::new().await;
    fixture.know(&["a", "b"]).await;
    fixture
        .apply(&[
            put(1, "a", "u", 9, 1),
            put(2, "b", "u", 8, 2),
            put(3, "a", "v", 9, 1),
        ])
        .await;
    for _ in 0..2 {
        remove(&fixture, &["a", "never heard of"]).await;
        assert_eq!(fixture.aggregate("a").await, None);
        assert_eq!(fixture.histogram("a").await, None);
        let count = 10_i64;
        let rows = fixture
            .query(store::BY_USER, &[&"u", &i64::MAX, &count])
            .await;
        let seen: Vec<&str> = rows.iter().map(|row| row.get("record_id")).collect();
        assert_eq!(seen, ["b"]);
        assert!(
            fixture
                .query(store::OF_RECORD, &[&"movie", &"a", &"", &count])
                .await
                .is_empty()
        );
        assert!(
            fixture
                .query(store::RATING, &[&"movie", &"a", &"u"])
                .await
                .is_empty()
        );
        let rows = fixture
            .query(store::RANKED, &[&"movie", &i16::MAX, &"", &count])
            .await;
        let seen: Vec<&str> = rows.iter().map(|row| row.get("record_id")).collect();
        assert_eq!(seen, ["b"]);
    }
}

#[tokio::test]
async fn a_late_rating_of_it_changes_nothing_and_waits_for_nothing() {
    let fixture = Fixture::new().await;
    remove(&fixture, &["a"]).await;
    let late = [put(1, "a", "u", 9, 1), put(2, "x", "u", 9, 1)];
    assert_eq!(fixture.apply(&late).await, ["x"]);
    assert_eq!(fixture.submit(&put(3, "a", "v", 9, 1)).await, "applied");
    assert_eq!(
        fixture.texts("select user_id from ratings").await,
        Vec::<String>::new()
    );
    // Its owner's event of long ago may come again.
    fixture.know(&["a"]).await;
    assert_eq!(fixture.aggregate("a").await, None);
}

#[tokio::test]
async fn a_rating_that_waits_while_its_record_goes_changes_nothing() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let mut open = fixture.connection().await;
    open.batch("begin").await.unwrap();
    open.query(store::REMOVE, &[&["movie"].as_slice(), &["a"].as_slice()])
        .await
        .unwrap();
    let late = [put(1, "a", "u", 9, 1)];
    let (unknown, ()) = futures::join!(fixture.apply(&late), async {
        fixture.someone_waits().await;
        open.batch("commit").await.unwrap();
    });
    assert_eq!(unknown, Vec::<String>::new());
    assert_eq!(
        fixture.texts("select user_id from ratings").await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn erasing_a_user_reaches_ratings_of_it() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    fixture.apply(&[put(1, "a", "u", 9, 1)]).await;
    remove(&fixture, &["a"]).await;
    fixture.query(store::ERASE, &[&["u"].as_slice()]).await;
    assert_eq!(
        fixture.texts("select user_id from ratings").await,
        Vec::<String>::new()
    );
}
