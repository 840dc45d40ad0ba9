//! What every request asks is found by an index, whatever the plan.

use users::store;

use crate::support::Fixture;

/// The generic plan of a statement, over tables with rows and statistics.
async fn plan(fixture: &Fixture, types: &str, statement: &str, values: &str) -> String {
    let mut connection = fixture.connection().await;
    let prepare = format!(
        "insert into users (id, name, name_key, email, email_key, password_hash)
        select gen_random_uuid(), 'n' || n, 'n' || n, n || '@e', n || '@e', 'h' from generate_series(1, 5000) as n;
        insert into sessions (id, user_id, generation, access_digest, access_expires_at, family_digest, refresh_digest, refresh_expires_at)
        select gen_random_uuid(), u.id, 1, sha256(u.name::bytea), now() + interval '1 hour', sha256(u.name::bytea), sha256(u.name::bytea), now() + interval '1 day'
        from users as u;
        insert into attempts (subject, busy_until)
        select 'user:' || u.id, now() + interval '1 minute' from users as u;
        analyze users; analyze sessions; analyze attempts;
        set plan_cache_mode = force_generic_plan;
        prepare statement ({types}) as {statement}"
    );
    connection.batch(&prepare).await.unwrap();
    let explain = format!("explain execute statement ({values})");
    let rows = connection.query(&explain, &[]).await.unwrap();
    connection.discard();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

#[tokio::test]
async fn verifying_a_token_reads_two_rows_by_their_indexes() {
    let fixture = Fixture::new().await;
    let plan = plan(&fixture, "bytea", store::VERIFY, r"'\x07'").await;
    assert!(plan.contains("sessions_access_digest_key"), "{plan}");
    assert!(plan.contains("users_pkey"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
}

#[tokio::test]
async fn a_log_in_reads_by_indexes() {
    let fixture = Fixture::new().await;
    let plan = plan(
        &fixture,
        "text, text, text, text",
        store::CREDENTIALS,
        "'n1', null, 'name:n1', 'client:c'",
    )
    .await;
    assert!(
        plan.contains("users_name_key_key") && plan.contains("users_email_key_key"),
        "{plan}"
    );
    assert!(plan.contains("attempts_busy_until_idx"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
}

#[tokio::test]
async fn a_session_begins_and_goes_on_by_indexes() {
    let fixture = Fixture::new().await;
    let id = "'00000000-0000-0000-0000-000000000007'";
    let digest = r"'\x07'";
    let values = format!("{id}, {id}, 'h', {digest}, {digest}, {digest}");
    let plan = plan(
        &fixture,
        "uuid, uuid, text, bytea, bytea, bytea",
        store::CREATE,
        &values,
    )
    .await;
    assert!(
        plan.contains("sessions_user_id_idx") && plan.contains("sessions_refresh_expires_at_idx"),
        "{plan}"
    );
    assert!(!plan.contains("Seq Scan"), "{plan}");
}

#[tokio::test]
async fn a_refresh_reads_by_indexes() {
    let fixture = Fixture::new().await;
    let values = [r"'\x07'"; 4].join(", ");
    let plan = plan(
        &fixture,
        "bytea, bytea, bytea, bytea",
        store::REFRESH,
        &values,
    )
    .await;
    assert!(plan.contains("sessions_family_digest_key"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
}

#[tokio::test]
async fn another_password_finds_the_sessions_by_an_index() {
    let fixture = Fixture::new().await;
    let id = "'00000000-0000-0000-0000-000000000007'";
    let plan = plan(
        &fixture,
        "uuid, text, text, uuid",
        store::CHANGE_PASSWORD,
        &format!("{id}, 'h', 'i', null"),
    )
    .await;
    assert!(
        !plan.contains("Seq Scan on sessions") && !plan.contains("Seq Scan on users"),
        "{plan}"
    );
}
