//! What a component is granted of PostgreSQL.

use std::sync::Arc;

use marquee_database::Database;

/// One component's database.
#[derive(Clone)]
pub struct Granted {
    /// Its database.
    pub database: Database,
    /// The addresses under which it may open it.
    pub addresses: Vec<String>,
    /// Rows that one statement may return.
    pub rows: usize,
    /// What one statement may return, in bytes as they come from the server.
    pub result_bytes: usize,
    /// Called after something that was published, or touched, stands, and before anybody is told: the relay looks at once, and
    /// no answer that was kept is true before somebody has looked.
    pub poke: Poke,
}

/// Tells those whom it concerns.
pub type Poke = Arc<dyn Fn() + Send + Sync>;
