//! Limits of log-ins and registrations.

use uuid::Uuid;

use crate::support::{Fixture, HASH};

/// `after` and some seconds of a range.
fn is_after(found: &str, seconds: std::ops::RangeInclusive<u32>) -> bool {
    let after = found
        .strip_prefix("after ")
        .and_then(|text| text.parse().ok());
    after.is_some_and(|after| seconds.contains(&after))
}

#[tokio::test]
async fn ten_attempts_on_a_user_then_one_in_ninety_seconds() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    let found = format!("{ann} {HASH}");
    for client in 0..10 {
        // Whoever tries, and by which name.
        let client = format!("192.0.2.{client}");
        assert_eq!(fixture.credentials("Ann", Some(&client)).await, found);
    }
    let refused = fixture.credentials("ann", Some("192.0.2.99")).await;
    assert!(is_after(&refused, 80..=90), "{refused}");
    assert!(is_after(&fixture.credentials("ann", None).await, 80..=90));
    fixture.pass("80 seconds").await;
    let refused = fixture.credentials("ann", None).await;
    assert!(is_after(&refused, 1..=10), "{refused}");
    fixture.pass("10 seconds").await;
    assert_eq!(fixture.credentials("ann", None).await, found);
    assert!(is_after(&fixture.credentials("ann", None).await, 80..=90));
    fixture.pass("15 minutes").await;
    for _ in 0..10 {
        assert_eq!(fixture.credentials("ann", None).await, found);
    }
}

#[tokio::test]
async fn a_name_that_nobody_has_is_limited_like_one_that_somebody_has() {
    let fixture = Fixture::new().await;
    for login in ["nobody", "nobody@example.org", "a@b@c"] {
        for _ in 0..10 {
            assert_eq!(fixture.credentials(login, None).await, "nobody");
        }
        assert!(
            is_after(&fixture.credentials(login, None).await, 80..=90),
            "{login}"
        );
    }
    let subjects = fixture.texts("select subject from attempts").await;
    assert!(
        subjects.iter().all(|subject| !subject.contains("nobody")),
        "{subjects:?}"
    );
}

#[tokio::test]
async fn thirty_attempts_of_a_client_and_what_is_refused_does_not_count_against_users() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    for n in 0..30 {
        assert_eq!(
            fixture
                .credentials(&format!("u{n}"), Some("192.0.2.1"))
                .await,
            "nobody"
        );
    }
    for _ in 0..12 {
        let refused = fixture.credentials("ann", Some("192.0.2.1")).await;
        assert!(is_after(&refused, 20..=30), "{refused}");
    }
    let found = format!("{ann} {HASH}");
    for _ in 0..10 {
        assert_eq!(fixture.credentials("ann", Some("192.0.2.2")).await, found);
    }
    fixture.pass("30 seconds").await;
    assert_eq!(fixture.credentials("u0", Some("192.0.2.1")).await, "nobody");
}

#[tokio::test]
async fn of_many_attempts_at_once_no_more_than_the_limit_are_allowed() {
    let fixture = Fixture::new().await;
    fixture.user("ann").await;
    let all =
        futures::future::join_all((0..25).map(|_| fixture.credentials("ann", Some("192.0.2.1"))))
            .await;
    let allowed = all.iter().filter(|one| !one.starts_with("after")).count();
    assert_eq!(allowed, 10);
}

#[tokio::test]
async fn logging_in_forgives_the_users_attempts() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    for _ in 0..9 {
        fixture.credentials("ann", None).await;
    }
    fixture.log_in(ann).await;
    for _ in 0..10 {
        assert_eq!(
            fixture.credentials("ann", None).await,
            format!("{ann} {HASH}")
        );
    }
    assert!(is_after(&fixture.credentials("ann", None).await, 80..=90));
}

#[tokio::test]
async fn ten_registrations_of_a_client_then_one_in_six_minutes() {
    let fixture = Fixture::new().await;
    let register = async |name: &str, client: Option<&str>| {
        fixture
            .register(Uuid::now_v7(), Some(name), None, client)
            .await
    };
    let client = Some("192.0.2.1");
    for n in 0..5 {
        assert_eq!(register(&format!("u{n}"), client).await, "new");
        assert_eq!(register(&format!("u{n}"), client).await, "taken");
    }
    let refused = register("u5", client).await;
    assert!(is_after(&refused, 350..=360), "{refused}");
    assert_eq!(
        fixture
            .texts("select name from users where name = 'u5'")
            .await,
        Vec::<String>::new()
    );
    assert_eq!(register("u5", Some("192.0.2.2")).await, "new");
    assert_eq!(register("u6", None).await, "new");
    fixture.pass("6 minutes").await;
    assert_eq!(register("u7", client).await, "new");
    assert!(is_after(&register("u8", client).await, 350..=360));
}

#[tokio::test]
async fn attempts_of_long_ago_are_deleted_by_those_of_now() {
    let fixture = Fixture::new().await;
    for n in 0..15 {
        fixture.credentials(&format!("u{n}"), None).await;
    }
    fixture.pass("15 minutes").await;
    let count = async || fixture.texts("select subject from attempts").await.len();
    // One of them is tried again, and stays.
    fixture.credentials("u14", None).await;
    assert_eq!(count().await, 5);
    fixture.credentials("u14", Some("192.0.2.1")).await;
    assert_eq!(count().await, 2);
    fixture
        .register(Uuid::now_v7(), Some("ann"), None, Some("192.0.2.1"))
        .await;
    assert_eq!(count().await, 3);
}
