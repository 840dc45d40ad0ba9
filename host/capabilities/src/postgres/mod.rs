//! `spin:postgres/postgres@4.2.0`.
//!
//! **What a guest gets**: a connection to each address that it was granted, which is its own database's. Opening one
//! costs nothing: a pooled connection is taken for each statement, alone or together with other reads, or the one of the
//! unit of work that the call runs in. The numbers of a statement's types are prepared once a connection, so that it costs one round trip.
//!
//! **Bounds**: 64 KiB of statement, 16 MiB of parameters, 1,000 rows and 4 MiB of result, the call's deadline; 32 MiB of
//! statements and parameters over all that a call has under way: one beyond is *connection-failed*. A result
//! is read whole within these bounds before the guest sees its first row: a failure half-way cannot then go unnoticed
//! until a commit.
//!
//! **Transactions**: in a unit of work the call is one, and what begins, ends or outlives it is refused. Outside one a guest
//! may `begin` on a connection that it has opened: from there to its `commit` or `rollback` the statements on it are one
//! conversation; what is open at the end of the call, or when the connection is dropped, is rolled back. What changes
//! the session (`set`, `listen`, `copy`) needs such a transaction or is refused; nothing of it is seen by another call.
//!
//! **In a dry run**: all of it is one transaction, which is rolled back; what would have stood is noted. Statements stand alone,
//! or together, as they would otherwise. A guest without one is as one without a database.
//!
//! **On failure**: the guest gets the interface's error; a failed statement fails the unit of work too. Outside a unit
//! each statement stands alone: one that found no connection is *connection-failed* and changed nothing; one whose
//! connection broke, or whose time ran out, is *query-failed* with a text and may have taken effect.

#![expect(
    clippy::result_large_err,
    reason = "the interface's own error, as large as it declares it"
)]

mod bindings;
mod client;
mod config;
mod dry_run;
#[cfg(test)]
mod dry_run_tests;
#[cfg(test)]
mod hang_up_tests;
mod host;
mod params;
#[cfg(test)]
mod shared_tests;
mod shown;
#[cfg(test)]
mod tests;
mod trace;
mod transactions;
#[cfg(test)]
mod transactions_tests;
mod transactor;
mod unit;
mod values;

use std::{any::Any, collections::BTreeMap, sync::Arc};

use marquee_manifest::ComponentId;
use marquee_runtime::{Call, Capability, Grant, State, View};
use wasmtime::component::Linker;

pub use config::{Granted, Poke};
pub use trace::commit;
pub use transactor::Transactor;
pub use unit::UnitOfWork;

/// The capability.
pub struct Postgres {
    granted: BTreeMap<ComponentId, Arc<Granted>>,
}

impl Postgres {
    /// What each component is granted.
    pub fn new(granted: BTreeMap<ComponentId, Granted>) -> Self {
        Self {
            granted: granted
                .into_iter()
                .map(|(id, granted)| (id, Arc::new(granted)))
                .collect(),
        }
    }
}

impl Capability for Postgres {
    fn interfaces(&self) -> &'static [&'static str] {
        &["spin:postgres/postgres@4.2.0"]
    }

    fn link(&self, linker: &mut Linker<State>) -> wasmtime::Result<()> {
        host::link(linker)
    }

    fn grant(&self, component: &ComponentId) -> Result<Grant, String> {
        match self.granted.get(component) {
            Some(granted) => Ok(Arc::clone(granted) as Grant),
            None => Err(format!(
                "it has no database; give it one with [component.{component}.tool.marquee] database"
            )),
        }
    }

    fn view(&self, grant: &Grant, call: &Call) -> View {
        let unit = || -> Option<Arc<dyn Any + Send + Sync>> { call.unit.clone() };
        let undone = unit().and_then(|unit| unit.downcast::<dry_run::Lent>().ok());
        let unit = unit().and_then(|unit| unit.downcast::<UnitOfWork>().ok());
        // Nothing stands, come what may.
        let may_ask = call.dry_run.is_none() || undone.is_some();
        let granted = Arc::clone(grant).downcast::<Granted>().ok();
        Box::new(client::Client {
            granted: granted.filter(|_| may_ask),
            unit,
            undone,
            transactions: transactions::Transactions::default(),
            deadline: call.deadline,
            let_down: call.let_down.clone(),
            exact: call.exact.clone(),
            trace: call.trace.clone(),
            pending: call.pending.clone(),
        })
    }
}
