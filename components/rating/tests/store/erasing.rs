//! Users who are erased.

use super::support::*;

async fn erase(connection: &mut Connection, users: &[&str]) {
    connection.query(store::ERASE, &[&users]).await.unwrap();
}

#[tokio::test]
async fn all_ratings_of_the_user_go_and_the_aggregates_follow() {
    let fixture = Fixture::new().await;
    fixture.know(&["a", "b", "c"]).await;
    fixture
        .apply(&[
            put(1, "a", "u", 7, 1),
            put(2, "b", "u", 3, 1),
            put(3, "a", "v", 2, 1),
            put(4, "c", "u", 9, 1),
            delete(5, "c", "u", 2),
        ])
        .await;
    let mut connection = fixture.connection().await;
    for _ in 0..2 {
        erase(&mut connection, &["u", "nobody", "u"]).await;
        assert_eq!(fixture.aggregate("a").await, Some((2, 1)));
        assert_eq!(fixture.aggregate("b").await, Some((0, 0)));
        assert_eq!(fixture.aggregate("c").await, Some((0, 0)));
        let left = fixture.texts("select user_id from ratings").await;
        assert_eq!(left, ["v"]);
    }
    fixture.check_books().await;
}

#[tokio::test]
async fn a_late_rating_of_an_erased_user_changes_nothing_and_waits_for_nothing() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    erase(&mut fixture.connection().await, &["u"]).await;
    let unknown = fixture
        .apply(&[
            put(1, "a", "u", 7, 9),
            put(2, "x", "u", 7, 9),
            put(3, "a", "v", 2, 1),
        ])
        .await;
    assert_eq!(unknown, Vec::<String>::new());
    assert_eq!(fixture.submit(&put(4, "a", "u", 7, 10)).await, "applied");
    assert_eq!(fixture.aggregate("a").await, Some((2, 1)));
    assert_eq!(fixture.texts("select user_id from ratings").await, ["v"]);
    fixture.check_books().await;
}

/// Runs the one while the other's transaction is open, and commits that once the one waits.
async fn at_once(fixture: &Fixture, mut open: Connection, other: impl Future<Output = ()>) {
    futures::join!(other, async {
        fixture.someone_waits().await;
        open.batch("commit").await.unwrap();
    });
    assert_eq!(fixture.aggregate("a").await, Some((0, 0)));
    let left = fixture.texts("select user_id from ratings").await;
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn a_rating_on_its_way_when_the_user_is_erased_is_erased_too() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let mut rating = fixture.connection().await;
    rating.batch("begin").await.unwrap();
    apply(&mut rating, &[put(1, "a", "u", 7, 1)]).await;
    at_once(&fixture, rating, async {
        erase(&mut fixture.connection().await, &["u"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_rating_that_waits_for_the_erasing_sees_it() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    for command in [false, true] {
        fixture
            .texts("delete from erased_users returning user_id")
            .await;
        let mut erasing = fixture.connection().await;
        erasing.batch("begin").await.unwrap();
        erase(&mut erasing, &["u"]).await;
        at_once(&fixture, erasing, async {
            let event = put(1, "a", "u", 7, 1);
            if command {
                fixture.submit(&event).await;
            } else {
                fixture.apply(&[event]).await;
            }
        })
        .await;
    }
}
