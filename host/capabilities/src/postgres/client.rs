//! Sending a guest's statements: in the unit of work of its call, or each by itself.

use std::{sync::Arc, time::Instant};

use deadpool_postgres::ClientWrapper;
use futures::TryStreamExt as _;
use marquee_database::{Alone, Error, Transaction, Work, begins};

use marquee_runtime::{Exact, Held, LetDown, PENDING_BYTES, Pending};
use marquee_telemetry::traces::{Span, Trace};
use tokio_postgres::{Row, RowStream, Statement, types::ToSql};
use tracing::Instrument as _;

use super::{
    bindings::wit,
    config::Granted,
    dry_run::Lent,
    params::{self, Param},
    trace,
    transactions::Transactions,
    unit::UnitOfWork,
};

/// What one call has of PostgreSQL.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) granted: Option<Arc<Granted>>,
    pub(super) unit: Option<Arc<UnitOfWork>>,
    /// Nothing of the call stands.
    pub(super) undone: Option<Arc<Lent>>,
    pub(super) transactions: Transactions,
    pub(super) deadline: Instant,
    pub(super) let_down: LetDown,
    pub(super) exact: Exact,
    pub(super) trace: Trace,
    pub(super) pending: Pending,
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

    /// Read an answer while the guest does something else. Outside a unit of work others may wait behind it for theirs, and
    /// the guest may not give way for long.
    pub(super) async fn drive<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match (&self.granted, &self.unit) {
            (Some(granted), None) if self.undone.is_none() => {
                granted.database.drive(work.in_current_span()).await
            }
            _ => work.await,
        }
    }

    /// A statement with rows.
    pub(super) async fn query(
        &self,
        connection: u32,
        sql: &str,
        params: Vec<wit::ParameterValue>,
    ) -> Result<Vec<Row>, wit::Error> {
        let (params, size) = checked(sql, params)?;
        let _held = self.hold(sql.len() + size)?;
        let granted = self.granted.as_ref();
        let (rows, bytes) = granted.map_or((0, 0), |granted| (granted.rows, granted.result_bytes));
        let query = Query {
            params,
            rows,
            bytes,
        };
        let mut span = self.span(sql);
        let sent = self.send(span.trace(), connection, sql, size, &query).await;
        let rows = sent.and_then(|rows| rows);
        trace::read(&mut span, &rows);
        rows
    }

    /// A statement that changes rows.
    pub(super) async fn execute(
        &self,
        connection: u32,
        sql: &str,
        params: Vec<wit::ParameterValue>,
    ) -> Result<u64, wit::Error> {
        let (params, size) = checked(sql, params)?;
        let _held = self.hold(sql.len() + size)?;
        let mut span = self.span(sql);
        let work = Execute { params };
        let rows = self.send(span.trace(), connection, sql, size, &work).await;
        trace::changed(&mut span, &rows);
        rows
    }

    fn span(&self, sql: &str) -> Span {
        let database = self.granted.as_ref().map_or("", |it| it.database.name());
        trace::statement(&self.trace, database, sql)
    }

    async fn send<T>(
        &self,
        trace: &Trace,
        connection: u32,
        sql: &str,
        size: usize,
        work: &impl Work<Output = T>,
    ) -> Result<T, wit::Error> {
        let result = match self.send_once(trace, connection, sql, size, work).await {
            Err(Failed::Stale(_)) => self.send_once(trace, connection, sql, size, work).await,
            result => result,
        };
        let result = result.map_err(wit::Error::from);
        if let (Some(_), Err(wit::Error::ConnectionFailed(_))) = (&self.granted, &result) {
            self.let_down.set();
        }
        result
    }

    /// What this statement and those under way hold is bounded together. It is not sent beyond that, and may be when another
    /// one has its answer.
    fn hold(&self, bytes: usize) -> Result<Held, wit::Error> {
        self.pending.hold(bytes).ok_or_else(|| {
            wit::Error::ConnectionFailed(format!(
                "statements under way hold at most {PENDING_BYTES} bytes together; await one before the next"
            ))
        })
    }

    /// Send a statement on one of the guest's connections: in the call's unit of work, in the transaction that the guest
    /// has begun on this connection, or by itself.
    async fn send_once<T>(
        &self,
        trace: &Trace,
        connection: u32,
        sql: &str,
        size: usize,
        work: &impl Work<Output = T>,
    ) -> Result<T, Failed> {
        let Some(granted) = &self.granted else {
            let none = "the component has no database".to_owned();
            return Err(wit::Error::ConnectionFailed(none).into());
        };
        let publishes = TOLD.iter().any(|function| sql.contains(function));
        // In the same round trip, so that `marquee.publish` can put it into the headers. Set empty too: a connection
        // keeps what an earlier call set.
        let context = publishes.then(|| {
            let traceparent = trace.traceparent().unwrap_or_default();
            format!("set marquee.traceparent = '{traceparent}'")
        });
        let alone = async |client: &ClientWrapper, statement: &Statement| {
            let (set, result) = match &context {
                Some(context) => {
                    futures::join!(client.batch_execute(context), work.run(client, statement))
                }
                None => (Ok(()), work.run(client, statement).await),
            };
            set?;
            result.map(|(value, _)| value)
        };
        let sent = async {
            if let Some(lent) = &self.undone {
                let mut undone = lent.lock().await;
                let undone = undone.as_mut().ok_or_else(over)?;
                if publishes {
                    lent.publish();
                }
                return Ok(undone.run(sql, alone).await.map_err(sent_error)?);
            }
            if let Some(shared) = &self.unit {
                let mut unit = shared.lock().await;
                let unit = unit.as_mut().ok_or_else(over)?;
                if publishes {
                    shared.publish();
                }
                return Ok(unit.run(sql, alone).await.map_err(error)?);
            }
            if let Some(mut open) = self.transactions.of(connection).await {
                let (result, published) = open.run(sql, publishes, alone).await;
                if published {
                    (granted.poke)();
                }
                return Ok(result.map_err(sent_error)?);
            }
            if begins(sql) {
                let begun = Transaction::begin(&granted.database, sql, self.deadline, alone).await;
                let (transaction, value) = begun.map_err(error)?;
                self.transactions.keep(connection, transaction);
                self.exact.set();
                return Ok(value);
            }
            // What sets something first, or takes long to send, has a connection of its own.
            let value = match size <= SHARED_BYTES && !publishes {
                true => granted.database.shared(sql, work).await,
                false => granted.database.alone(sql, alone).await,
            };
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

/// A statement with rows, no more than so many.
struct Query {
    params: Vec<Param>,
    rows: usize,
    bytes: usize,
}

impl Work for Query {
    type Output = Result<Vec<Row>, wit::Error>;

    async fn run(
        &self,
        client: &ClientWrapper,
        statement: &Statement,
    ) -> Result<(Self::Output, usize), tokio_postgres::Error> {
        let answer = client.query_raw(statement, &self.params).await?;
        within(answer, self.rows, self.bytes).await
    }
}

/// A statement that changes rows.
struct Execute {
    params: Vec<Param>,
}

impl Work for Execute {
    type Output = u64;

    async fn run(
        &self,
        client: &ClientWrapper,
        statement: &Statement,
    ) -> Result<(Self::Output, usize), tokio_postgres::Error> {
        let params: Vec<&(dyn ToSql + Sync)> = self.params.iter().map(|param| param as _).collect();
        Ok((client.execute(statement, &params).await?, 0))
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
/// after it, and thrown away. And how many bytes it had.
async fn within(
    answer: RowStream,
    rows: usize,
    bytes: usize,
) -> Result<(Result<Vec<Row>, wit::Error>, usize), tokio_postgres::Error> {
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
    let kept = match beyond {
        None => Ok(kept),
        Some(bound) => Err(wit::Error::Other(format!(
            "a result has at most {bound}; ask with a limit"
        ))),
    };
    Ok((kept, size))
}

/// The parameters, and how many bytes they have.
fn checked(sql: &str, params: Vec<wit::ParameterValue>) -> Result<(Vec<Param>, usize), wit::Error> {
    if sql.len() > STATEMENT_BYTES {
        return Err(wit::Error::BadParameter(format!(
            "a statement has at most {STATEMENT_BYTES} bytes"
        )));
    }
    let size = params.iter().map(params::size).sum();
    if size > PARAMETER_BYTES {
        return Err(wit::Error::BadParameter(format!(
            "parameters have at most {PARAMETER_BYTES} bytes together"
        )));
    }
    Ok((params.into_iter().map(Param).collect(), size))
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

/// What is left of a call after its end has no transaction.
fn over() -> wit::Error {
    wit::Error::Other("the call whose unit of work this was has ended".to_owned())
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

/// What makes a statement one of which others are told.
const TOLD: [&str; 2] = ["marquee.publish", "marquee.touch"];
/// More parameters are sent by themselves: they would hold up what others send.
const SHARED_BYTES: usize = 16 * 1024;
/// Longer statements are data in disguise.
const STATEMENT_BYTES: usize = 64 * 1024;
/// A full batch of messages, several times over.
const PARAMETER_BYTES: usize = 16 * 1024 * 1024;
