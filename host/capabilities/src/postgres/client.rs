//! Sending a guest's statements: in the unit of work of its call, or each by itself.

use std::{sync::Arc, time::Instant};

use deadpool_postgres::ClientWrapper;
use futures::TryStreamExt as _;
use marquee_database::{Alone, Error, Transaction, begins};
use tokio_postgres::{Row, RowStream, Statement, types::ToSql};

use super::{
    bindings::wit,
    config::Granted,
    params::{self, Param},
    transactions::Transactions,
    unit::UnitOfWork,
};

/// What one call has of PostgreSQL.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) granted: Option<Arc<Granted>>,
    pub(super) unit: Option<Arc<UnitOfWork>>,
    pub(super) transactions: Transactions,
    pub(super) deadline: Instant,
    pub(super) traceparent: Option<Arc<str>>,
}

impl Client {
    /// Whether an address is one of those that were granted.
    pub(super) fn open(&self, address: &str) -> Result<(), wit::Error> {
        let granted = self
            .granted
            .as_ref()
            .is_some_and(|granted| granted.addresses.iter().any(|a| a == address));
        if granted {
            return Ok(());
        }
        // The address may hold a password: it is not repeated.
        Err(wit::Error::ConnectionFailed(
            "this address was not granted to the component".to_owned(),
        ))
    }

    /// A statement with rows.
    pub(super) async fn query(
        &self,
        connection: u32,
        sql: &str,
        params: Vec<wit::ParameterValue>,
    ) -> Result<Vec<Row>, wit::Error> {
        let params = checked(sql, params)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        let granted = self.granted.as_ref();
        let (rows, bytes) = granted.map_or((0, 0), |granted| (granted.rows, granted.result_bytes));
        let mut again = true;
        loop {
            let params = params.iter().copied();
            let sent = self.send(connection, sql, async |client, statement| {
                let answer = client.query_raw(statement, params).await?;
                within(answer, rows, bytes).await
            });
            match sent.await {
                Err(Failed::Stale(_)) if again => again = false,
                result => return result?,
            }
        }
    }

    /// A statement that changes rows.
    pub(super) async fn execute(
        &self,
        connection: u32,
        sql: &str,
        params: Vec<wit::ParameterValue>,
    ) -> Result<u64, wit::Error> {
        let params = checked(sql, params)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        let mut again = true;
        loop {
            let sent = self.send(connection, sql, async |client, statement| {
                client.execute(statement, &params).await
            });
            match sent.await {
                Err(Failed::Stale(_)) if again => again = false,
                result => return Ok(result?),
            }
        }
    }

    /// Send a statement on one of the guest's connections: in the call's unit of work, in the transaction that the guest
    /// has begun on this connection, or by itself.
    async fn send<T>(
        &self,
        connection: u32,
        sql: &str,
        work: impl AsyncFnOnce(&ClientWrapper, &Statement) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Failed> {
        let Some(granted) = &self.granted else {
            let none = "the component has no database".to_owned();
            return Err(wit::Error::ConnectionFailed(none).into());
        };
        let publishes = sql.contains(PUBLISH);
        // In the same round trip, so that `marquee.publish` can put it into the headers. Set empty too: a connection
        // keeps what an earlier call set.
        let context = publishes.then(|| {
            let traceparent = self
                .traceparent
                .as_deref()
                .filter(|text| is_plain(text))
                .unwrap_or_default();
            format!("set marquee.traceparent = '{traceparent}'")
        });
        let work = async |client: &ClientWrapper, statement: &Statement| match context {
            Some(context) => {
                let (set, result) =
                    futures::join!(client.batch_execute(&context), work(client, statement));
                set?;
                result
            }
            None => work(client, statement).await,
        };
        let sent = async {
            if let Some(shared) = &self.unit {
                let mut unit = shared.lock().await;
                let Some(unit) = unit.as_mut() else {
                    let ended = "the call whose unit of work this was has ended".to_owned();
                    return Err(wit::Error::Other(ended).into());
                };
                if publishes {
                    shared.publish();
                }
                return Ok(unit.run(sql, work).await.map_err(error)?);
            }
            if let Some(mut open) = self.transactions.of(connection).await {
                let (result, published) = open.run(sql, publishes, work).await;
                if published {
                    (granted.poke)();
                }
                return Ok(result.map_err(sent_error)?);
            }
            if begins(sql) {
                let begun = Transaction::begin(&granted.database, sql, self.deadline, work).await;
                let (transaction, value) = begun.map_err(error)?;
                self.transactions.keep(connection, transaction);
                return Ok(value);
            }
            let value = granted.database.alone(sql, work).await;
            let value = value.map_err(|failed| match failed {
                Alone::NotSent(cause) => Failed::Error(error(cause)),
                Alone::Stale(cause) => Failed::Stale(error(cause)),
                Alone::Sent(cause) => Failed::Error(sent_error(cause)),
            })?;
            if publishes {
                (granted.poke)();
            }
            Ok(value)
        };
        tokio::time::timeout_at(self.deadline.into(), sent)
            .await
            .unwrap_or_else(|_| {
                let late = "the call's deadline passed while the database worked";
                Err(unanswered(late).into())
            })
    }
}

/// Why a statement has no result.
enum Failed {
    /// It was prepared before a change of what it is about. Nothing was done; sent again, it is prepared anew.
    Stale(wit::Error),
    Error(wit::Error),
}

impl From<wit::Error> for Failed {
    fn from(error: wit::Error) -> Self {
        Self::Error(error)
    }
}

impl From<Failed> for wit::Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Stale(error) | Failed::Error(error) => error,
        }
    }
}

/// Read an answer to its end, keeping no more than the bounds: what is beyond is read, since the next answer comes
/// after it, and thrown away.
async fn within(
    answer: RowStream,
    rows: usize,
    bytes: usize,
) -> Result<Result<Vec<Row>, wit::Error>, tokio_postgres::Error> {
    let mut answer = std::pin::pin!(answer);
    let (mut kept, mut size, mut beyond) = (Vec::new(), 0, None);
    while let Some(row) = answer.try_next().await? {
        size += row.raw_size_bytes();
        if beyond.is_some() {
            continue;
        } else if size > bytes {
            beyond = Some(format!("{bytes} bytes (limits.query_bytes)"));
            kept = Vec::new();
        } else if kept.len() == rows {
            beyond = Some(format!("{rows} rows (limits.rows)"));
            kept = Vec::new();
        } else {
            kept.push(row);
        }
    }
    Ok(match beyond {
        None => Ok(kept),
        Some(bound) => Err(wit::Error::Other(format!(
            "a result has at most {bound}; ask with a limit"
        ))),
    })
}

fn checked(sql: &str, params: Vec<wit::ParameterValue>) -> Result<Vec<Param>, wit::Error> {
    if sql.len() > STATEMENT_BYTES {
        return Err(wit::Error::BadParameter(format!(
            "a statement has at most {STATEMENT_BYTES} bytes"
        )));
    }
    if params.iter().map(params::size).sum::<usize>() > PARAMETER_BYTES {
        return Err(wit::Error::BadParameter(format!(
            "parameters have at most {PARAMETER_BYTES} bytes together"
        )));
    }
    Ok(params.into_iter().map(Param).collect())
}

fn error(error: Error) -> wit::Error {
    match error {
        Error::Statement { source, .. } => statement_error(&source),
        Error::UnitFailed { .. } | Error::Refused(_) => {
            wit::Error::QueryFailed(wit::QueryError::Text(error.to_string()))
        }
        other => wit::Error::ConnectionFailed(other.to_string()),
    }
}

/// An error of a statement that may have reached the server, outside a unit of work.
fn sent_error(error: Error) -> wit::Error {
    match error {
        Error::Unavailable { reason, .. } => unanswered(reason),
        other => self::error(other),
    }
}

/// No answer came: whether the statement took effect is not known. A guest tells this from a connection that was not to be
/// had, and so does one under Spin.
fn unanswered(reason: impl Into<String>) -> wit::Error {
    wit::Error::QueryFailed(wit::QueryError::Text(reason.into()))
}

fn statement_error(error: &tokio_postgres::Error) -> wit::Error {
    let Some(db) = error.as_db_error() else {
        // Without the server's word it is the driver's: a parameter that does not fit its place.
        let cause = std::error::Error::source(error)
            .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        return wit::Error::BadParameter(cause);
    };
    let extras = [
        ("schema", db.schema()),
        ("table", db.table()),
        ("column", db.column()),
        ("datatype", db.datatype()),
        ("constraint", db.constraint()),
        ("hint", db.hint()),
        ("where", db.where_()),
        ("routine", db.routine()),
    ];
    wit::Error::QueryFailed(wit::QueryError::DbError(wit::DbError {
        as_text: db.to_string(),
        severity: db.severity().to_owned(),
        code: db.code().code().to_owned(),
        message: db.message().to_owned(),
        detail: db.detail().map(str::to_owned),
        extras: extras
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect(),
    }))
}

/// A traceparent goes into the text of a statement: nothing but its own characters may.
fn is_plain(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// What makes a statement one that publishes.
const PUBLISH: &str = "marquee.publish";
/// Longer statements are data in disguise.
const STATEMENT_BYTES: usize = 64 * 1024;
/// A full batch of messages, several times over.
const PARAMETER_BYTES: usize = 16 * 1024 * 1024;
