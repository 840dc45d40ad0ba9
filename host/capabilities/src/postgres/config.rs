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
    /// Called after something was published: the relay looks at once. A hint, nothing rests on it.
    pub poke: Arc<dyn Fn() + Send + Sync>,
}
