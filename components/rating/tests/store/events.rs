//! What became of an event, and the use of an idempotency key for two acts.

use rating::domain::rivals;

use super::support::*;

/// State, and whether another act under its key came.
async fn state(fixture: &Fixture, id: Uuid) -> (Option<String>, bool) {
    let range = rivals(id);
    let first = range.as_ref().map(|range| range.start().to_string());
    let last = range.as_ref().map(|range| range.end().to_string());
    let params = (vec![id.to_string()], vec![first], vec![last]);
    let rows = fixture
        .query(store::EVENTS, &[&params.0, &params.1, &params.2])
        .await;
    assert_eq!(rows.len(), 1);
    (rows[0].get(0), rows[0].get(1))
}

#[tokio::test]
async fn an_event_is_applied_once_it_came_and_not_before() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let event = put(1, "a", "u", 7, 1);
    assert_eq!(state(&fixture, event.id()).await, (None, false));
    fixture.submit(&event).await;
    assert_eq!(
        state(&fixture, event.id()).await,
        (Some("applied".to_owned()), false)
    );
    assert_eq!(state(&fixture, Uuid::from_u128(2)).await, (None, false));
}

#[tokio::test]
async fn another_act_under_the_same_idempotency_key_is_seen() {
    let fixture = Fixture::new().await;
    fixture.know(&["a"]).await;
    let of_key = |act: u128| Uuid::from_u128(0x0001_0203_0405_8607_8809_0000_0000_0000 | act);
    let first = put(of_key(1).as_u128(), "a", "u", 7, 1);
    fixture.submit(&first).await;
    assert_eq!(
        state(&fixture, of_key(1)).await,
        (Some("applied".to_owned()), false)
    );
    assert_eq!(state(&fixture, of_key(2)).await, (None, true));
    let of_another_key = Uuid::from_u128(of_key(1).as_u128() + (1 << 48));
    assert_eq!(state(&fixture, of_another_key).await, (None, false));
}
