//! Movies in PostgreSQL: every statement that the component sends.
//!
//! Promises: a change of a movie and its event stand or fall together, by one statement, with a transaction around it or
//! without. All times are the database's. Bounds are the domain's; the tables' constraints repeat them.
//!
//! The functions without `async` make a statement with its parameters, the others send it and read the answer. So tests
//! can send the same.

pub mod commands;
pub mod queries;

use marquee_guest::sql::{Database, Error, Param, Row, Rows};

use crate::domain::Movie;

/// A statement with its parameters.
#[derive(Debug)]
pub struct Statement {
    /// The text; one of few, so that the host can keep them prepared.
    pub sql: &'static str,
    /// `$1` and so on.
    pub params: Vec<Param>,
}

impl Statement {
    async fn optional(self) -> Result<Option<Row>, Error> {
        DB.optional(self.sql, self.params).await
    }

    async fn one(self) -> Result<Row, Error> {
        DB.one(self.sql, self.params).await
    }

    async fn query(self) -> Result<Rows, Error> {
        DB.query(self.sql, self.params).await
    }
}

fn movie(mut row: Row) -> Result<Movie, Error> {
    Ok(Movie {
        id: row.take("id")?,
        title: row.take("title")?,
        year: row.take("year")?,
        description: row.take("description")?,
        director: row.take("director")?,
        version: row.take("version")?,
        created_at_ms: row.take("created_at_ms")?,
    })
}

const DB: Database = Database::at("metadata_database_url");
