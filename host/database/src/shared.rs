//! Statements that go down one connection together, each without waiting for the answer to the one before.
//!
//! **Which**: reads that stand alone, of a text that was quick and had a small answer the last time. What writes waits for
//! the disk at its end, and for the locks of others: on a connection each it shares the disk's flush with others, in a row
//! behind each other they would not. What begins a transaction, changes the session or says nothing about itself has a
//! connection of its own too.
//!
//! **How**: whoever finds no line to go along takes a connection of the pool, as for a statement of its own, and others go
//! along while it is in use. The last gives it back. So nothing is held that nobody uses, and the pool's bounds are those of
//! all.
//!
//! **Who waits for whom**: the server answers in order. A statement joins no line whose first one has been at work for
//! [`HELD`]; one that waits as long behind another has that one cancelled, which then runs by itself, and alone from then
//! on. Nothing of a statement that was cancelled stands, so running it again is safe; and one that was met by mistake
//! runs again too. So each that is slow of those before it, 15 at the most, delays a statement by [`HELD`] and the way of a
//! request. A line of which others wait to have the connection gives it back after [`TURN`].
//!
//! **Who goes away** leaves the answer to be read and thrown away; the line is given back when all answers were read.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use deadpool_postgres::ClientWrapper;
use tokio::{sync::Notify, time::timeout};
use tokio_postgres::{Statement, error::SqlState};

use crate::{
    Alone, Connection, Database, Error, cancel::Request, connection::SETTLED_IN, known::Manner,
};

/// A statement as it is sent. It may be run again: then nothing was done before.
pub trait Work: Sync {
    /// What it comes to.
    type Output;

    /// Send it and read the whole answer. Also how many bytes that had.
    fn run(
        &self,
        client: &ClientWrapper,
        statement: &Statement,
    ) -> impl Future<Output = Result<(Self::Output, usize), tokio_postgres::Error>> + Send;
}

/// The lines of a database.
#[derive(Default)]
pub(crate) struct Shared {
    lines: Mutex<Lines>,
    /// There is another line, or was.
    opened: Notify,
}

#[derive(Default)]
struct Lines {
    open: Vec<Open>,
    tickets: u64,
}

/// A connection that several use.
struct Line {
    connection: Connection,
    /// It is not as it was: closed when the last one leaves.
    spoilt: AtomicBool,
    littered: AtomicBool,
    /// A statement on it was cancelled for the sake of others.
    hurried: AtomicBool,
}

/// A line, and who is on it.
struct Open {
    line: Arc<Line>,
    /// Tickets in the order in which they were sent, and when.
    in_flight: VecDeque<(u64, Instant)>,
    /// The last ticket that was answered: so were those before it, whether or not anybody has looked.
    answered: u64,
    answered_at: Instant,
    /// Since when nobody is known to wait for its connection.
    since: Instant,
    /// For whom the server was asked to hurry, and when.
    hurried: Option<(u64, Instant)>,
    takes_more: bool,
}

/// A place on a line.
struct Place {
    database: Database,
    line: Arc<Line>,
    ticket: u64,
    is_left: bool,
}

/// The same, while somebody waits for the answer.
struct Ride {
    line: Arc<Line>,
    place: Option<Place>,
    is_preparing: bool,
}

/// Why a statement has no answer from a line.
enum Rode {
    /// It is to be sent by itself; nothing was done.
    Again,
    Failed(Alone),
}

impl Database {
    /// Run a statement that stands alone, together with others where that harms nobody.
    pub async fn shared<T>(&self, sql: &str, work: &impl Work<Output = T>) -> Result<T, Alone> {
        let manner = self.known().of(sql);
        if manner.may_share() {
            match self.together(sql, &manner, work).await {
                Ok(value) => return Ok(value),
                Err(Rode::Failed(error)) => return Err(error),
                Err(Rode::Again) => {}
            }
        }
        let timed = async |client: &ClientWrapper, statement: &Statement| {
            let begun = Instant::now();
            let (value, bytes) = work.run(client, statement).await?;
            manner.was(is_light(begun.elapsed(), bytes));
            Ok(value)
        };
        self.by_itself(sql, &manner, timed).await
    }

    async fn together<T>(
        &self,
        sql: &str,
        manner: &Manner,
        work: &impl Work<Output = T>,
    ) -> Result<T, Rode> {
        let not_sent = |error| Rode::Failed(Alone::NotSent(error));
        let mut ride = self.ride().await.map_err(not_sent)?;
        let line = Arc::clone(&ride.line);
        let client = line.client().map_err(not_sent)?;
        let statement = match ride.prepare(client, sql).await {
            Some(Ok(statement)) => statement,
            Some(Err(error)) => {
                let (_, error) = self.failed(ride, &line, error);
                return Err(error.map_or(Rode::Again, not_sent));
            }
            None => return Err(Rode::Again),
        };
        let begun = Instant::now();
        let mut answer = pin!(work.run(client, &statement));
        let answer = loop {
            match timeout(HELD, answer.as_mut()).await {
                Ok(answer) => break answer,
                Err(_) if begun.elapsed() > self.patience() => {
                    self.tally().statement(begun.elapsed(), true);
                    return Err(Rode::Failed(Alone::Sent(self.silent())));
                }
                Err(_) => ride.hurry_others(),
            }
        };
        let elapsed = begun.elapsed();
        match answer {
            Ok((value, bytes)) => {
                self.tally().statement(elapsed, false);
                manner.was(is_light(ride.answered(), bytes));
                Ok(value)
            }
            Err(error) => {
                let (took, error) = self.failed(ride, &line, error);
                // One that was cut is sent again, and counted then.
                if error.is_some() {
                    self.tally().statement(elapsed, true);
                }
                match error {
                    None => {
                        manner.was(took < HELD);
                        Err(Rode::Again)
                    }
                    Some(error) if error.is_stale() => Err(Rode::Failed(Alone::Stale(error))),
                    Some(error) => Err(Rode::Failed(Alone::Sent(error))),
                }
            }
        }
    }

    /// How long the statement took, and its error; none where it was cancelled for the sake of others.
    fn failed(
        &self,
        ride: Ride,
        line: &Line,
        error: tokio_postgres::Error,
    ) -> (Duration, Option<Error>) {
        if self.spoils(&error) || error.is_closed() {
            line.spoil();
        }
        let took = ride.answered();
        let is_cut = error.code() == Some(&SqlState::QUERY_CANCELED)
            && line.hurried.load(Ordering::Relaxed)
            && took < self.statement_timeout();
        (took, (!is_cut).then(|| self.driver_error(error)))
    }

    /// A place on a line that there is, or on a new one.
    async fn ride(&self) -> Result<Ride, Error> {
        let shared = self.lines();
        loop {
            if let Some(ride) = shared.join(self, SPREAD) {
                return Ok(ride);
            }
            if !self.is_exhausted() {
                return Ok(shared.open(self, self.connection().await?));
            }
            let mut opened = pin!(shared.opened.notified());
            opened.as_mut().enable();
            if let Some(ride) = shared.join(self, DEPTH) {
                return Ok(ride);
            }
            tokio::select! {
                biased;
                connection = self.connection() => return Ok(shared.open(self, connection?)),
                () = opened => {}
            }
        }
    }
}

impl Shared {
    /// Let nobody go along any more with those who are under way.
    pub(crate) fn retire(&self) {
        for open in &mut self.lock().open {
            open.takes_more = false;
        }
    }

    /// A place on the line that has the least to do. While there may be more lines, one takes `few` only.
    fn join(&self, database: &Database, few: usize) -> Option<Ride> {
        let now = Instant::now();
        let mut lines = self.lock();
        let taking = lines.open.iter().filter(|open| open.takes_more).count();
        let most = if taking < LINES { few } else { DEPTH };
        let ticket = lines.ticket();
        let open = lines
            .open
            .iter_mut()
            .filter_map(|open| open.takes(now, most, database).then_some(open))
            .min_by_key(|open| open.in_flight.len())?;
        open.in_flight.push_back((ticket, now));
        let line = Arc::clone(&open.line);
        drop(lines);
        Some(Ride::new(database, line, ticket))
    }

    /// A place on a new line, which others find where there are few.
    fn open(&self, database: &Database, mut connection: Connection) -> Ride {
        connection.stand_alone();
        let line = Arc::new(Line {
            connection,
            spoilt: AtomicBool::new(false),
            littered: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
        });
        let now = Instant::now();
        let mut lines = self.lock();
        let ticket = lines.ticket();
        let takes_more = lines.open.iter().filter(|open| open.takes_more).count() < LINES;
        lines.open.push(Open {
            line: Arc::clone(&line),
            in_flight: VecDeque::from([(ticket, now)]),
            answered: 0,
            answered_at: now,
            since: now,
            hurried: None,
            takes_more,
        });
        drop(lines);
        if takes_more {
            self.opened.notify_waiters();
        }
        Ride::new(database, line, ticket)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Whether another statement may go along.
    fn takes(&mut self, now: Instant, most: usize, database: &Database) -> bool {
        if !self.takes_more || self.in_flight.len() >= most || self.line.is_spoilt() {
            return false;
        }
        if now.duration_since(self.since) > TURN {
            if database.is_waited_for() {
                self.takes_more = false;
                return false;
            }
            self.since = now;
        }
        self.at_work()
            .is_none_or(|(_, since)| now.duration_since(since) < HELD)
    }

    /// Which statement the server is at, and since when.
    fn at_work(&self) -> Option<(u64, Instant)> {
        let mut waiting = self.in_flight.iter();
        let (ticket, sent) = waiting.find(|(ticket, _)| *ticket > self.answered)?;
        Some((*ticket, (*sent).max(self.answered_at)))
    }
}

impl Line {
    fn client(&self) -> Result<&ClientWrapper, Error> {
        self.connection.client()
    }

    fn spoil(&self) {
        self.spoilt.store(true, Ordering::Relaxed);
    }

    fn is_spoilt(&self) -> bool {
        let is_closed = self.client().map_or(true, |client| client.is_closed());
        is_closed || self.spoilt.load(Ordering::Relaxed)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if *self.spoilt.get_mut() {
            self.connection.taint();
        }
        if *self.littered.get_mut() {
            self.connection.litter();
        }
    }
}

impl Ride {
    fn new(database: &Database, line: Arc<Line>, ticket: u64) -> Self {
        Self {
            line: Arc::clone(&line),
            place: Some(Place {
                database: database.clone(),
                line,
                ticket,
                is_left: false,
            }),
            is_preparing: false,
        }
    }

    /// The prepared form of a statement. None: it takes long, and who waits for it goes another way.
    async fn prepare(
        &mut self,
        client: &ClientWrapper,
        sql: &str,
    ) -> Option<Result<Statement, tokio_postgres::Error>> {
        let mut prepared = pin!(client.prepare_cached(sql));
        if let Poll::Ready(prepared) = futures::poll!(prepared.as_mut()) {
            return Some(prepared);
        }
        self.is_preparing = true;
        let prepared = timeout(HELD, prepared).await.ok()?;
        self.is_preparing = false;
        // What comes now is sent now.
        self.place.as_mut()?.renew();
        Some(prepared)
    }

    fn hurry_others(&self) {
        if let Some(place) = &self.place {
            place.hurry(2);
        }
    }

    /// The answer was read. How long the server was at it, as far as can be told.
    fn answered(mut self) -> Duration {
        let place = self.place.take();
        place.map_or(Duration::ZERO, Place::leave)
    }
}

impl Drop for Ride {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else {
            return;
        };
        if self.is_preparing {
            place.line.littered.store(true, Ordering::Relaxed);
        }
        let database = place.database.clone();
        database.reap(place.unread());
    }
}

impl Place {
    /// Nobody waits for the answer any more: it is read for the sake of those behind it. Whatever is sent is answered
    /// after it.
    async fn unread(self) {
        let line = Arc::clone(&self.line);
        let (Ok(client), begun) = (line.client(), Instant::now()) else {
            return;
        };
        let mut answered = pin!(client.batch_execute(""));
        while begun.elapsed() < SETTLED_IN {
            match timeout(HELD, answered.as_mut()).await {
                // A request that was meant for the statement before is an answer too.
                Ok(Err(error)) if error.as_db_error().is_none() => break,
                Ok(_) => {
                    self.leave();
                    return;
                }
                Err(_) => self.hurry(1),
            }
        }
    }

    /// Have the statement cancelled that the server has been at for long, if so many wait for it or for what comes behind it.
    /// Which it is can only be guessed: two that were sent at once may have gone in either order.
    fn hurry(&self, waiting: usize) {
        let now = Instant::now();
        let mut lines = self.database.lines().lock();
        let Some(open) = lines.open_of(&self.line) else {
            return;
        };
        let Some((ticket, since)) = open.at_work() else {
            return;
        };
        let is_told = open
            .hurried
            .is_some_and(|(before, at)| before == ticket && now.duration_since(at) < HELD);
        if is_told || open.in_flight.len() < waiting || now.duration_since(since) < HELD {
            return;
        }
        open.hurried = Some((ticket, now));
        drop(lines);
        let (database, line) = (self.database.clone(), Arc::clone(&self.line));
        line.hurried.store(true, Ordering::Relaxed);
        // The connection is not given back before the server was told.
        self.database.reap(async move {
            let told = match line.client() {
                Ok(client) => timeout(SETTLED_IN, database.cancel(client))
                    .await
                    .ok()
                    .flatten(),
                Err(_) => None,
            };
            if told != Some(Request::Told) {
                line.spoil();
            }
        });
    }

    /// Go to the end of the line.
    fn renew(&mut self) {
        let mut lines = self.database.lines().lock();
        let ticket = lines.ticket();
        if let Some(open) = lines.open_of(&self.line) {
            open.take_off(self.ticket);
            open.in_flight.push_back((ticket, Instant::now()));
        }
        self.ticket = ticket;
    }

    fn leave(mut self) -> Duration {
        self.take_off()
    }

    fn take_off(&mut self) -> Duration {
        self.is_left = true;
        let mut lines = self.database.lines().lock();
        let Some(open) = lines.open_of(&self.line) else {
            return Duration::ZERO;
        };
        let took = open.take_off(self.ticket);
        if open.in_flight.is_empty() {
            lines.open.retain(|open| !open.in_flight.is_empty());
        }
        took
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_left {
            self.line.spoil();
            self.take_off();
        }
    }
}

impl Lines {
    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn open_of(&mut self, line: &Arc<Line>) -> Option<&mut Open> {
        self.open
            .iter_mut()
            .find(|open| Arc::ptr_eq(&open.line, line))
    }
}

impl Open {
    /// A statement was answered. How long the server was at it.
    fn take_off(&mut self, ticket: u64) -> Duration {
        let now = Instant::now();
        let Some(at) = self
            .in_flight
            .iter()
            .position(|(other, _)| *other == ticket)
        else {
            return Duration::ZERO;
        };
        let sent = self.in_flight.remove(at).map_or(now, |(_, sent)| sent);
        let took = now.duration_since(sent.max(self.answered_at));
        if ticket > self.answered {
            self.answered = ticket;
            self.answered_at = now;
        }
        took
    }
}

/// Whether others can be asked to wait for what took so long and answered so much.
fn is_light(took: Duration, bytes: usize) -> bool {
    took < HELD && bytes <= SMALL_BYTES
}

/// How long a statement may hold others up.
const HELD: Duration = Duration::from_millis(50);
/// An answer that the driver takes from the connection at once, whether or not anybody reads it by then.
const SMALL_BYTES: usize = 4 * 1024;
/// How long a connection is shared while others wait to have it.
const TURN: Duration = Duration::from_millis(5);
/// As many sessions as read at once keep several CPUs of the server busy.
const LINES: usize = 4;
/// Statements on a line before there is another one.
const SPREAD: usize = 8;
/// Statements on a line. Together, what reads at once by few connections; more go by connections of their own.
const DEPTH: usize = 16;
