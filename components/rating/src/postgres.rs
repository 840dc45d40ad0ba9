//! One statement on the component's database: open, send, read, and what an error means.
//!
//! Opening is free: the host hands out a connection of its pool and takes it back. Bound: the statements' limits.

use spin_sdk::{
    pg::{Connection, DbValue, Error as SdkError, ParameterValue, PgError, QueryError},
    variables,
};

use crate::store::Error;

/// Send one statement and read all of its rows.
pub(crate) async fn query(
    sql: &str,
    params: Vec<ParameterValue>,
) -> Result<Vec<Vec<DbValue>>, Error> {
    let address = variables::get(ADDRESS)
        .await
        .map_err(|error| Error::Other(format!("variable {ADDRESS}: {error}")))?;
    let connection = Connection::open(address).await.map_err(meaning)?;
    let (_, rows, result) = connection
        .query(sql, params)
        .await
        .map_err(meaning)?
        .into_inner();
    let rows = rows.collect().await;
    // A failure after the first row shows only here.
    result.await.map_err(|error| meaning(error.into()))?;
    Ok(rows)
}

/// A text of a row.
pub(crate) fn text(row: &[DbValue], column: usize) -> Result<&str, Error> {
    match row.get(column) {
        Some(DbValue::Str(text)) => Ok(text),
        other => Err(Error::Other(format!("column {column} is {other:?}"))),
    }
}

/// A number of a row that is not negative.
pub(crate) fn number(row: &[DbValue], column: usize) -> Result<u64, Error> {
    let number = match row.get(column) {
        Some(DbValue::Int64(number)) => *number,
        Some(DbValue::Int32(number)) => i64::from(*number),
        Some(DbValue::Int16(number)) => i64::from(*number),
        other => return Err(Error::Other(format!("column {column} is {other:?}"))),
    };
    u64::try_from(number).map_err(|_| Error::Other(format!("column {column} is {number}")))
}

fn meaning(error: SdkError) -> Error {
    match error {
        SdkError::PgError(PgError::ConnectionFailed(reason)) => Error::Unavailable(reason),
        SdkError::PgError(PgError::QueryFailed(QueryError::DbError(error))) => {
            let text = format!("{} ({})", error.message, error.code);
            if is_passing(&error.code) {
                Error::Unavailable(text)
            } else {
                Error::Other(text)
            }
        }
        // No answer of the database: the connection broke under the statement.
        SdkError::PgError(PgError::QueryFailed(QueryError::Text(reason))) => {
            Error::Unavailable(reason)
        }
        other => Error::Other(other.to_string()),
    }
}

/// Whether the same statement may succeed a moment later, by the SQLSTATE.
fn is_passing(code: &str) -> bool {
    // Classes: connection exception, out of resources, operator intervention (a statement timeout, a shutdown).
    ["08", "53", "57"].iter().any(|class| code.starts_with(class))
        // Serialization failure, deadlock, lock timeout, the two timeouts of a transaction, read only (a standby).
        || ["40001", "40P01", "55P03", "25P03", "25P04", "25006"].contains(&code)
}

/// The variable with the database's address.
const ADDRESS: &str = "rating_database_url";

#[cfg(test)]
mod tests {
    use super::is_passing;

    #[test]
    fn timeouts_and_shutdowns_pass_and_broken_constraints_do_not() {
        let check = |code: &str, passing: bool| assert_eq!(is_passing(code), passing, "{code}");
        check("57014", true);
        check("57P01", true);
        check("08006", true);
        check("53300", true);
        check("40001", true);
        check("40P01", true);
        check("55P03", true);
        check("23505", false);
        check("42P01", false);
        check("22021", false);
    }
}
