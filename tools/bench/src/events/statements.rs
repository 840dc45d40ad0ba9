//! What PostgreSQL spent on each statement, by its extension `pg_stat_statements`: what to look at first where a figure
//! is to become better.
//!
//! Bound: the statements of one measurement that took most. Times are by the clock: on a machine that is full they have
//! waiting in them, and only their proportions say something.

use marquee_testkit::PostgresServer;

use super::stage::{NATIVE, Stage};
use crate::servers::Connected;

/// Start the server again, and have it count.
pub(crate) async fn enable(postgres: &mut PostgresServer) -> anyhow::Result<()> {
    let client = Connected::to(&postgres.url("postgres")).await?;
    client.batch_execute(LOAD).await?;
    drop(client);
    postgres.stop_immediately().await;
    postgres.start().await;
    let client = Connected::to(&postgres.url(NATIVE)).await?;
    for statement in COUNT {
        client.batch_execute(statement).await?;
    }
    Ok(())
}

/// Count from here.
pub(crate) async fn reset(stage: &Stage) -> anyhow::Result<()> {
    let client = stage.connect(NATIVE).await?;
    client
        .batch_execute("select pg_stat_statements_reset()")
        .await?;
    Ok(())
}

/// Those that took most since then, as a table.
pub(crate) async fn table(stage: &Stage, what: &str) -> anyhow::Result<String> {
    let client = stage.connect(NATIVE).await?;
    let rows = client.query(MOST, &[]).await?;
    let header = [
        format!("statements of: {what}"),
        "calls".to_owned(),
        "planning ms".to_owned(),
        "running ms".to_owned(),
        "rows".to_owned(),
    ];
    Ok(crate::table::table(
        header.each_ref().map(String::as_str),
        rows.iter().map(|row| {
            let figures = vec![
                row.get::<_, i64>(1).to_string(),
                format!("{:.0}", row.get::<_, f64>(2)),
                format!("{:.0}", row.get::<_, f64>(3)),
                row.get::<_, i64>(4).to_string(),
            ];
            (row.get(0), figures)
        }),
    ))
}

const LOAD: &str = "alter system set shared_preload_libraries = 'pg_stat_statements'";
/// One by one: a setting of the system is not for transactions.
const COUNT: [&str; 3] = [
    "alter system set pg_stat_statements.track_planning = on",
    "select pg_reload_conf()",
    "create extension pg_stat_statements",
];
const MOST: &str = "
select left(regexp_replace(query, '\\s+', ' ', 'g'), 70), calls, total_plan_time, total_exec_time, rows
from pg_stat_statements
order by total_plan_time + total_exec_time desc
limit 16";
