//! Registering, changing and erasing.

use users::store;
use uuid::Uuid;

use crate::support::{Fixture, HASH, OTHER_HASH};

#[tokio::test]
async fn a_name_and_an_address_belong_to_one_user_in_any_case() {
    let fixture = Fixture::new().await;
    let register = async |name: Option<&str>, email: Option<&str>| {
        fixture.register(Uuid::now_v7(), name, email, None).await
    };
    assert_eq!(register(Some("Ann"), Some("ann@example.org")).await, "new");
    assert_eq!(register(Some("ANN"), None).await, "taken");
    assert_eq!(
        register(Some("bob"), Some("Ann@Example.org")).await,
        "taken"
    );
    assert_eq!(register(None, Some("ann@example.org")).await, "taken");
    assert_eq!(register(Some("bob"), None).await, "new");
    assert_eq!(register(None, Some("bob@example.org")).await, "new");
    let all = fixture
        .texts("select coalesce(name, email) || ' ' || role from users order by id")
        .await;
    assert_eq!(all, ["Ann user", "bob user", "bob@example.org user"]);
}

#[tokio::test]
async fn of_many_who_register_one_name_at_once_one_has_it() {
    let fixture = Fixture::new().await;
    let all = (0..8)
        .map(|_| fixture.register(Uuid::now_v7(), Some("ann"), Some("ann@example.org"), None));
    let mut all = futures::future::join_all(all).await;
    all.sort_unstable();
    assert_eq!(
        all,
        [
            "new", "taken", "taken", "taken", "taken", "taken", "taken", "taken"
        ]
    );
}

#[tokio::test]
async fn a_user_is_found_by_name_and_by_address() {
    let fixture = Fixture::new().await;
    let id = Uuid::now_v7();
    fixture
        .register(id, Some("Ann"), Some("Ann@example.org"), None)
        .await;
    let found = format!("{id} {HASH}");
    assert_eq!(fixture.credentials("ann", None).await, found);
    assert_eq!(fixture.credentials(" ANN", None).await, found);
    assert_eq!(fixture.credentials("ann@EXAMPLE.org", None).await, found);
    assert_eq!(fixture.credentials("bob", None).await, "nobody");
    assert_eq!(fixture.credentials("a@b@c", None).await, "nobody");
    assert_eq!(fixture.credentials("", None).await, "nobody");
}

#[tokio::test]
async fn a_user_takes_another_name_unless_it_is_taken() {
    let fixture = Fixture::new().await;
    let (ann, _) = (fixture.user("ann").await, fixture.user("bob").await);
    let mut connection = fixture.connection().await;
    let rows = connection
        .query(store::RENAME, &[&ann, &"Anna", &"anna"])
        .await
        .unwrap();
    assert_eq!(
        rows[0].get::<_, Option<String>>("name").as_deref(),
        Some("Anna")
    );
    // Their own name in another case is not taken.
    let rows = connection
        .query(store::RENAME, &[&ann, &"ANNA", &"anna"])
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    let taken = connection
        .query(store::RENAME, &[&ann, &"Bob", &"bob"])
        .await
        .unwrap_err();
    assert!(
        format!("{taken:?}").contains("users_name_key_key"),
        "{taken:?}"
    );
    let rows = connection
        .query(store::RENAME, &[&Uuid::now_v7(), &"eve", &"eve"])
        .await
        .unwrap();
    assert!(rows.is_empty());
}

#[tokio::test]
async fn a_role_counts_from_the_next_request_on() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    let session = fixture.log_in(ann).await;
    assert_eq!(
        fixture.verify(&session.access).await,
        Some((session.id, "user".to_owned()))
    );
    let mut connection = fixture.connection().await;
    connection
        .query(store::SET_ROLE, &[&ann, &"moderator"])
        .await
        .unwrap();
    assert_eq!(
        fixture.verify(&session.access).await,
        Some((session.id, "moderator".to_owned()))
    );
    assert!(
        connection
            .query(store::SET_ROLE, &[&ann, &"queen"])
            .await
            .is_err()
    );
}

#[tokio::test]
async fn another_password_ends_all_sessions_but_the_one_that_goes_on() {
    let fixture = Fixture::new().await;
    let (ann, bob) = (fixture.user("ann").await, fixture.user("bob").await);
    let (first, second, others) = (
        fixture.log_in(ann).await,
        fixture.log_in(ann).await,
        fixture.log_in(bob).await,
    );
    let change =
        async |user, seen, keep| fixture.change_password(user, seen, OTHER_HASH, keep).await;
    assert_eq!(change(ann, OTHER_HASH, None).await, (false, true));
    assert_eq!(change(Uuid::now_v7(), HASH, None).await, (false, false));
    assert!(fixture.is_good(&first).await && fixture.is_good(&second).await);
    // A session of somebody else is not kept, and nothing happens to it.
    assert_eq!(change(ann, HASH, Some(first.id)).await, (true, true));
    assert!(fixture.is_good(&first).await);
    assert!(!fixture.is_good(&second).await);
    assert!(fixture.is_good(&others).await);
    assert!(fixture.refresh(&first).await.is_ok());
    assert_eq!(fixture.refresh(&second).await.err(), Some("unknown"));
    assert_eq!(
        fixture
            .change_password(ann, OTHER_HASH, HASH, Some(others.id))
            .await,
        (true, true)
    );
    assert!(!fixture.is_good(&first).await);
    assert!(fixture.is_good(&others).await);
}

#[tokio::test]
async fn a_session_that_begins_with_the_old_password_while_it_is_changed_is_no_good() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    // The log-in is first, and not yet committed: the change waits for it and does not see its row.
    let mut log_in = fixture.connection().await;
    log_in.batch("begin").await.unwrap();
    let digest = [7_u8; 32].as_slice();
    let session = Uuid::now_v7();
    log_in
        .query(
            store::CREATE,
            &[&session, &ann, &HASH, &digest, &digest, &digest],
        )
        .await
        .unwrap();
    let (changed, ()) = futures::join!(
        fixture.change_password(ann, HASH, OTHER_HASH, None),
        async {
            fixture.until_one_waits().await;
            log_in.batch("commit").await.unwrap();
        }
    );
    assert_eq!(changed, (true, true));
    let rows = fixture
        .connection()
        .await
        .query(store::VERIFY, &[&digest])
        .await
        .unwrap();
    assert!(rows.is_empty());
    // The change is first: the log-in waits and then sees another hash.
    let mut change = fixture.connection().await;
    change.batch("begin").await.unwrap();
    change
        .query(
            store::CHANGE_PASSWORD,
            &[&ann, &OTHER_HASH, &HASH, &None::<Uuid>],
        )
        .await
        .unwrap();
    let (begun, ()) = futures::join!(fixture.create(ann, OTHER_HASH), async {
        fixture.until_one_waits().await;
        change.batch("commit").await.unwrap();
    });
    assert!(begun.is_none());
}

#[tokio::test]
async fn a_new_hash_of_the_same_password_ends_no_session() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    let session = fixture.log_in(ann).await;
    assert_eq!(fixture.rehash(ann, HASH, OTHER_HASH).await, (true, true));
    assert_eq!(fixture.rehash(ann, HASH, OTHER_HASH).await, (false, true));
    assert!(fixture.is_good(&session).await);
    assert!(fixture.create(ann, HASH).await.is_none());
    assert!(fixture.create(ann, OTHER_HASH).await.is_some());
}

#[tokio::test]
async fn an_erased_user_leaves_the_id_on_the_bus_and_nothing_else() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    let bob = fixture.user("bob").await;
    let (session, others) = (fixture.log_in(ann).await, fixture.log_in(bob).await);
    fixture.credentials("ann", None).await;
    assert!(fixture.delete(ann).await);
    assert!(!fixture.delete(ann).await);
    assert!(!fixture.is_good(&session).await);
    assert!(fixture.is_good(&others).await);
    assert_eq!(fixture.credentials("ann", None).await, "nobody");
    assert!(fixture.create(ann, HASH).await.is_none());
    let published = fixture
        .texts(
            "select topic || ' ' || key || ' ' || convert_from(value, 'UTF8') from marquee.outbox",
        )
        .await;
    assert_eq!(
        published,
        [format!(
            r#"users {ann} {{"id":"{ann}","type":"user.deleted"}}"#
        )]
    );
    let left = format!(
        "select 'user' from users where id = '{ann}' union all select 'session' from sessions where user_id = '{ann}'
        union all select 'attempts' from attempts where subject like '%{ann}%'"
    );
    assert_eq!(fixture.texts(&left).await, Vec::<String>::new());
    // The name is free again.
    fixture.user("ann").await;
}

#[tokio::test]
async fn of_many_who_erase_a_user_at_once_one_publishes() {
    let fixture = Fixture::new().await;
    let ann = fixture.user("ann").await;
    let all = futures::future::join_all((0..6).map(|_| fixture.delete(ann))).await;
    assert_eq!(all.iter().filter(|deleted| **deleted).count(), 1);
    assert_eq!(
        fixture.texts("select key from marquee.outbox").await.len(),
        1
    );
}
