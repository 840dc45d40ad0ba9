//! The component's database: statements in, rows by column name out, errors that a caller can act on.
//!
//! A database is known by the variable that has its address. Opening it is free: the host hands out a connection of its
//! pool for a statement and takes it back. Inside a consumer's or a job's call, and wherever the manifest names an
//! interface as transactional, all statements of the call are one transaction, which the host commits when the call
//! returns ok; elsewhere each statement stands alone. Either way a statement is one round trip, and under Marquee one
//! after the other: nothing else of the call goes on until its answer is there. Bounds are the host's: 64
//! KiB of statement, 16 MiB of parameters, 1,000 rows and 4 MiB of result unless the manifest says otherwise.
//!
//! ```
//! use marquee_guest::{params, sql::{Database, Error, Row}};
//! use uuid::Uuid;
//!
//! const DB: Database = Database::at("notes_database_url");
//!
//! struct Note { id: Uuid, text: String, likes: u32 }
//!
//! async fn newest(author: &str, limit: u32) -> Result<Vec<Note>, Error> {
//!     DB.query(NEWEST, params![author, limit]).await?.map(note).collect()
//! }
//!
//! fn note(mut row: Row) -> Result<Note, Error> {
//!     Ok(Note { id: row.take("id")?, text: row.take("text")?, likes: row.take("likes")? })
//! }
//!
//! const NEWEST: &str = "select id, text, likes from notes where author = $1 order by id desc limit $2";
//! ```
//!
//! **Publishing is SQL too.** `marquee.publish(topic, key, headers, value)` writes to the transactional outbox, in the
//! transaction of the state that it tells of. Let it hang on the row that changed, so that there is no message without it:
//!
//! ```sql
//! with added as (insert into notes (id, text) values ($1, $2) returning id)
//! select marquee.publish('notes', a.id::text, '{}', $3) from added as a
//! ```
//!
//! The value is bytes (`serde_json::to_vec`), headers are an object of texts, and the key orders messages.
//!
//! | PostgreSQL | reads into | as a parameter |
//! |---|---|---|
//! | `smallint`, `integer`, `bigint` | any integer type; one that does not hold it is an error | `i16` and `u8`, `i32` and `u16`, `i64` and `u32` |
//! | `text`, `varchar` | `String` | `&str`, `String` |
//! | `uuid` | `uuid::Uuid` | `uuid::Uuid` |
//! | `boolean`, `real`, `double precision`, `bytea` | `bool`, `f32`, `f64`, `Vec<u8>` | the same; `&[u8]` |
//! | `timestamptz`, `timestamp` (taken as UTC), `date` | `chrono::DateTime<Utc>`, `chrono::NaiveDate` | the same |
//! | `text[]`, `integer[]`, `bigint[]` | `Vec` of `Option`s | [`array()`] |
//! | null | `Option` | `Option` |
//!
//! There is no decimal and no JSON among these: say `::bigint`, `::text` in the statement. An array of UUIDs travels as
//! texts: `$1::text[]::uuid[]`. So does a value that a plain parameter does not fit: `$1::text::interval`.

mod error;
mod param;
mod row;
mod time;
mod value;

pub use bindings::spin::postgres::postgres::{DbValue as Value, ParameterValue as Param};
pub use error::{Error, is_passing};
pub use param::{Element, array};
pub use row::{Row, Rows};
pub use value::FromValue;

use std::{cell::RefCell, rc::Rc};

use bindings::spin::postgres::postgres as wit;

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        reason = "wit-bindgen writes it; what is public of it are the two types of values"
    )]
    wit_bindgen::generate!({
        inline: "
            package marquee:guest-sql;

            world guest {
                import spin:postgres/postgres@4.2.0;
            }
        ",
        path: "../wit/deps/spin-postgres@4.2.0",
        generate_all,
    });
}

/// A component's database.
#[derive(Debug, Clone, Copy)]
pub struct Database {
    variable: &'static str,
}

impl Database {
    /// The one whose address the variable of this name has.
    pub const fn at(variable: &'static str) -> Self {
        Self { variable }
    }

    /// Send a statement and read all of its rows.
    pub async fn query(&self, statement: &str, params: Vec<Param>) -> Result<Rows, Error> {
        let address = self.address().await?;
        if is_named(&address) {
            let set = wit::Connection::open(&address)?.query(statement, &params)?;
            return Ok(Rows::new(set.columns, set.rows));
        }
        let connection = wit::Connection::open_async(address.to_string()).await?;
        let (columns, rows, end) = connection.query_async(statement.to_owned(), params).await?;
        let rows = rows.collect().await;
        // A failure after the first row shows only here.
        end.await?;
        Ok(Rows::new(columns, rows))
    }

    /// Send a statement that has exactly one row; another number is [`Error::Broken`].
    pub async fn one(&self, statement: &str, params: Vec<Param>) -> Result<Row, Error> {
        let found = self.optional(statement, params).await?;
        found.ok_or_else(|| Error::Broken("no row where one was expected".to_owned()))
    }

    /// Send a statement that has one row or none; more are [`Error::Broken`].
    pub async fn optional(
        &self,
        statement: &str,
        params: Vec<Param>,
    ) -> Result<Option<Row>, Error> {
        let mut rows = self.query(statement, params).await?;
        let first = rows.next();
        match rows.len() {
            0 => Ok(first),
            more => Err(Error::Broken(format!(
                "{more} rows more than the one that was expected"
            ))),
        }
    }

    /// Send a statement for its effect. Returns how many rows it touched.
    pub async fn execute(&self, statement: &str, params: Vec<Param>) -> Result<u64, Error> {
        let address = self.address().await?;
        if is_named(&address) {
            return Ok(wit::Connection::open(&address)?.execute(statement, &params)?);
        }
        let connection = wit::Connection::open_async(address.to_string()).await?;
        Ok(connection
            .execute_async(statement.to_owned(), params)
            .await?)
    }

    async fn address(&self) -> Result<Rc<str>, Error> {
        let known = |all: &Vec<(&str, Rc<str>)>| {
            let mut all = all.iter();
            let (_, address) = all.find(|(variable, _)| *variable == self.variable)?;
            Some(Rc::clone(address))
        };
        if let Some(address) = NAMED.with_borrow(known) {
            return Ok(address);
        }
        let address = crate::variables::get(self.variable).await;
        let address: Rc<str> = address
            .map_err(|error| Error::Broken(error.to_string()))?
            .into();
        if is_named(&address) {
            NAMED.with_borrow_mut(|all| all.push((self.variable, Rc::clone(&address))));
        }
        Ok(address)
    }
}

/// Whether an address names a database that Marquee keeps at hand, and does not say where one is. Opening it is nothing
/// there, and an instance has one call at a time: so the interface's plain functions do, which hold the whole instance until
/// the answer is there and cost a fraction of the others. Elsewhere they would hold up other calls.
fn is_named(address: &str) -> bool {
    address.starts_with("marquee:")
}

thread_local! {
    /// Names by their variables. They are the manifest's, and do not change while the component runs.
    static NAMED: RefCell<Vec<(&'static str, Rc<str>)>> = const { RefCell::new(Vec::new()) };
}
