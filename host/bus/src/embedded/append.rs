//! The way in: one statement at a time appends all that came while the one before was under way.
//!
//! Promise: records of a call are appended in their order, all or none; a call returns when they stand. When the
//! answer to a commit is lost the call fails although its records may stand: they may come twice, never be lost.
//! Bound: [`WAITING`] calls; [`GATHERED_RECORDS`] and [`GATHERED_BYTES`] a statement (a call that is larger goes
//! alone). Cancelling a publish does not take back what was queued.

use std::sync::Arc;

use marquee_database::{
    Database,
    seeded::{Bug, seeded},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    hints::Hints,
    store::{self, AppendError},
};
use crate::Error;

/// Records of one call, ready to be appended, and the topics they go to.
pub(super) struct Request {
    pub(super) columns: store::Columns,
    pub(super) topics: Vec<String>,
    pub(super) done: oneshot::Sender<Result<(), Error>>,
}

/// Append until no one can send any more.
pub(super) async fn run(
    database: Database,
    hints: Arc<Hints>,
    mut requests: mpsc::Receiver<Request>,
) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(request) => request,
            None => match requests.recv().await {
                Some(request) => request,
                None => return,
            },
        };
        let mut gathered = Gathered::default();
        gathered.add(first);
        while let Ok(request) = requests.try_recv() {
            if gathered.has_room_for(&request) {
                gathered.add(request);
            } else {
                next = Some(request);
                break;
            }
        }
        gathered.append(&database, &hints).await;
    }
}

#[derive(Default)]
struct Gathered {
    columns: store::Columns,
    bytes: usize,
    topics: Vec<String>,
    waiting: Vec<oneshot::Sender<Result<(), Error>>>,
}

impl Gathered {
    fn has_room_for(&self, request: &Request) -> bool {
        self.columns.keys.len() + request.columns.keys.len() <= GATHERED_RECORDS
            && self.bytes + bytes_of(&request.columns) <= GATHERED_BYTES
    }

    fn add(&mut self, request: Request) {
        self.bytes += bytes_of(&request.columns);
        let mut columns = request.columns;
        self.columns.topic_ids.append(&mut columns.topic_ids);
        self.columns.partitions.append(&mut columns.partitions);
        self.columns.keys.append(&mut columns.keys);
        self.columns.headers.append(&mut columns.headers);
        self.columns.values.append(&mut columns.values);
        self.topics.extend(request.topics);
        self.waiting.push(request.done);
    }

    async fn append(self, database: &Database, hints: &Hints) {
        let mut appended = store::append(database, &self.columns).await;
        if matches!(appended, Err(AppendError::NoDay))
            && store::prepare_days(database).await.is_ok()
        {
            // Nobody made the day's table in time, as after a long sleep of the machine.
            appended = store::append(database, &self.columns).await;
        }
        if seeded(Bug::AppendErrorSwallowed) {
            appended = Ok(());
        }
        let result = appended.map_err(|error| match error {
            AppendError::NoDay => Error::Unavailable("the log has no table for today".to_owned()),
            AppendError::Bus(error) => error,
        });
        if result.is_ok() {
            hints.appended(self.topics);
        }
        for waiting in self.waiting {
            // Nobody waits any more where the caller gave up.
            let _ = waiting.send(result.clone());
        }
    }
}

fn bytes_of(columns: &store::Columns) -> usize {
    let keys: usize = columns.keys.iter().map(String::len).sum();
    let headers: usize = columns.headers.iter().map(Vec::len).sum();
    let values: usize = columns.values.iter().map(bytes::Bytes::len).sum();
    keys + headers + values
}

/// Calls that wait beyond this wait for their turn to queue.
pub(super) const WAITING: usize = 256;
const GATHERED_RECORDS: usize = 2000;
const GATHERED_BYTES: usize = 8 * 1024 * 1024;
