//! One statement on the ledger's database.

use spin_sdk::{
    pg::{Connection, DbValue, ParameterValue},
    variables,
};

/// Send a statement and read all of its rows.
pub(crate) async fn query(
    sql: &str,
    params: Vec<ParameterValue>,
) -> Result<Vec<Vec<DbValue>>, String> {
    let address = variables::get("orders_database_url").await.map_err(told)?;
    let connection = Connection::open(address).await.map_err(told)?;
    let result = connection.query(sql, params).await.map_err(told)?;
    let (_, rows, end) = result.into_inner();
    let rows = rows.collect().await;
    // A failure after the first row shows only here.
    end.await.map_err(told)?;
    Ok(rows)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
