//! Tokens: verified, refreshed, used twice, expired, ended.

use crate::support::{Fixture, HASH, OTHER_HASH};

#[tokio::test]
async fn a_token_speaks_for_its_user_until_it_expires_or_is_ended() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    let (first, second) = (fixture.log_in(ann).await, fixture.log_in(ann).await);
    assert!(fixture.is_good(&first).await);
    fixture.end(&second).await;
    assert!(!fixture.is_good(&second).await);
    assert_eq!(fixture.refresh(&second).await.err(), Some("unknown"));
    fixture.pass("14 minutes 50 seconds").await;
    assert!(fixture.is_good(&first).await);
    fixture.pass("10 seconds").await;
    assert!(!fixture.is_good(&first).await);
    // Ended again, which is no error.
    fixture.end(&second).await;
}

#[tokio::test]
async fn nobody_logs_in_with_a_hash_that_is_not_the_users() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    assert!(fixture.create(ann, OTHER_HASH).await.is_none());
    assert!(fixture.create(uuid::Uuid::now_v7(), HASH).await.is_none());
    assert_eq!(
        fixture.texts("select id::text from sessions").await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_refresh_gives_the_next_tokens_and_ends_those_before() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    let mut session = fixture.log_in(ann).await;
    for _ in 0..3 {
        fixture.pass("20 minutes").await;
        assert!(!fixture.is_good(&session).await);
        let next = fixture.refresh(&session).await.ok().unwrap();
        assert_eq!(next.id, session.id);
        assert!(fixture.is_good(&next).await);
        assert!(!fixture.is_good(&session).await);
        session = next;
    }
    fixture.pass("29 days 23 hours").await;
    let session = fixture.refresh(&session).await.ok().unwrap();
    fixture.pass("30 days").await;
    assert_eq!(fixture.refresh(&session).await.err(), Some("unknown"));
    assert_eq!(
        fixture.texts("select id::text from sessions").await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_refresh_token_that_is_used_again_ends_its_session_and_no_other() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    let (first, other) = (fixture.log_in(ann).await, fixture.log_in(ann).await);
    let second = fixture.refresh(&first).await.ok().unwrap();
    let third = fixture.refresh(&second).await.ok().unwrap();
    assert!(fixture.is_good(&third).await);
    assert_eq!(fixture.refresh(&first).await.err(), Some("reused"));
    assert!(!fixture.is_good(&third).await);
    assert_eq!(fixture.refresh(&third).await.err(), Some("unknown"));
    assert_eq!(fixture.refresh(&first).await.err(), Some("unknown"));
    assert!(fixture.is_good(&other).await);
}

#[tokio::test]
async fn of_many_who_use_one_refresh_token_at_once_one_has_tokens_and_the_session_ends() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    let session = fixture.log_in(ann).await;
    let all = futures::future::join_all((0..6).map(|_| fixture.refresh(&session))).await;
    let reused = all
        .iter()
        .filter(|one| one.as_ref().err() == Some(&"reused"));
    assert_eq!(reused.count(), 1);
    let good: Vec<_> = all.iter().flatten().collect();
    assert_eq!(good.len(), 1);
    assert!(!fixture.is_good(good[0]).await);
}

#[tokio::test]
async fn a_user_has_twenty_sessions_and_the_oldest_ends() {
    let fixture = Fixture::new().await;
    let (ann, bob) = (fixture.user("ann").await, fixture.user("bob").await);
    let others = fixture.log_in(bob).await;
    let oldest = fixture.log_in(ann).await;
    let second = fixture.log_in(ann).await;
    for _ in 2..20 {
        fixture.log_in(ann).await;
    }
    assert!(fixture.is_good(&oldest).await);
    fixture.log_in(ann).await;
    assert!(!fixture.is_good(&oldest).await);
    assert!(fixture.is_good(&second).await);
    assert!(fixture.is_good(&others).await);
    futures::future::join_all((0..12).map(|_| fixture.log_in(ann))).await;
    let left = fixture
        .texts(&format!(
            "select id::text from sessions where user_id = '{ann}'"
        ))
        .await;
    // Those that are begun at once may not see each other, but each sees all before.
    assert!((20..=32).contains(&left.len()), "{}", left.len());
    fixture.log_in(ann).await;
    let left = fixture
        .texts(&format!(
            "select id::text from sessions where user_id = '{ann}'"
        ))
        .await;
    assert_eq!(left.len(), 20);
}

#[tokio::test]
async fn expired_sessions_are_deleted_by_those_that_begin() {
    let fixture = Fixture::new().await;
    let (ann, bob) = (fixture.user("ann").await, fixture.user("bob").await);
    for _ in 0..15 {
        fixture.log_in(ann).await;
    }
    fixture.pass("31 days").await;
    let count = async || fixture.texts("select id::text from sessions").await.len();
    fixture.log_in(bob).await;
    assert_eq!(count().await, 6);
    fixture.log_in(bob).await;
    assert_eq!(count().await, 2);
}

#[tokio::test]
async fn no_token_is_kept() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    let session = fixture.log_in(ann).await;
    let rows = fixture.texts("select s::text from sessions as s").await;
    let kept = session
        .access
        .kept
        .digest
        .map(|byte| format!("{byte:02x}"))
        .concat();
    assert!(rows[0].contains(&kept), "{rows:?}");
    let access = session.access.text.trim_start_matches("mqa_").to_owned();
    let refresh = session.refresh.text.trim_start_matches("mqr_").to_owned();
    assert!(!rows[0].contains(&access) && !rows[0].contains(&refresh));
}
