//! The functions of the interface.

use marquee_runtime::State;
use wasmtime::component::{
    Accessor, FutureReader, HasData, Linker, Resource, ResourceTable, StreamReader,
};

use super::{
    bindings::{Imports, wit},
    client::Client,
    values,
};

/// An open connection: a right to ask. Nothing is held between statements but the transaction that was begun on it.
#[expect(
    unreachable_pub,
    reason = "the generated bindings re-export it, and are private themselves"
)]
pub struct Connection;

/// A connection that is being described.
#[expect(
    unreachable_pub,
    reason = "the generated bindings re-export it, and are private themselves"
)]
pub struct Builder {
    address: String,
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    Imports::add_to_linker::<State, Postgres>(linker, |state| {
        Context(
            state
                .view_and_table::<Client>()
                .map(|(client, table)| Parts { client, table }),
        )
    })
}

/// Names what the functions work on.
struct Postgres;

impl HasData for Postgres {
    type Data<'a> = Context<'a>;
}

/// What a call has; nothing outside a call.
struct Context<'a>(Option<Parts<'a>>);

struct Parts<'a> {
    client: &'a mut Client,
    table: &'a mut ResourceTable,
}

impl Context<'_> {
    fn client(&self, connection: &Resource<Connection>) -> wasmtime::Result<Client> {
        let parts = self.0.as_ref().ok_or_else(outside)?;
        parts.table.get(connection)?;
        Ok(parts.client.clone())
    }

    fn connect(&mut self, address: &str) -> Answer<Resource<Connection>> {
        let parts = self.0.as_mut().ok_or_else(outside)?;
        match parts.client.open(address) {
            Ok(()) => Ok(Ok(parts.table.push(Connection)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    fn finish(&mut self, builder: &Resource<Builder>) -> Answer<Resource<Connection>> {
        let parts = self.0.as_ref().ok_or_else(outside)?;
        let address = parts.table.get(builder)?.address.clone();
        self.connect(&address)
    }
}

type Answer<T> = wasmtime::Result<Result<T, wit::Error>>;

fn outside() -> wasmtime::Error {
    wasmtime::Error::msg("PostgreSQL was used outside of any call")
}

async fn rows(
    client: Client,
    connection: u32,
    statement: &str,
    params: Vec<wit::ParameterValue>,
) -> Result<wit::RowSet, wit::Error> {
    let rows = client.query(connection, statement, params).await?;
    Ok(wit::RowSet {
        columns: values::columns(&rows),
        rows: values::rows(&rows)?,
    })
}

impl wit::Host for Context<'_> {}

impl wit::HostConnection for Context<'_> {
    async fn open(&mut self, address: String) -> Answer<Resource<Connection>> {
        self.connect(&address)
    }

    async fn query(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        params: Vec<wit::ParameterValue>,
    ) -> Answer<wit::RowSet> {
        let client = self.client(&connection)?;
        Ok(rows(client, connection.rep(), &statement, params).await)
    }

    async fn execute(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        params: Vec<wit::ParameterValue>,
    ) -> Answer<u64> {
        let client = self.client(&connection)?;
        Ok(client.execute(connection.rep(), &statement, params).await)
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        let parts = self.0.as_mut().ok_or_else(outside)?;
        parts.client.transactions.forget(connection.rep());
        parts.table.delete(connection)?;
        Ok(())
    }
}

impl wit::HostConnectionBuilder for Context<'_> {
    async fn new(&mut self, address: String) -> wasmtime::Result<Resource<Builder>> {
        Ok(self
            .0
            .as_mut()
            .ok_or_else(outside)?
            .table
            .push(Builder { address })?)
    }

    async fn set_ca_root(&mut self, _: Resource<Builder>, _: String) -> Answer<()> {
        let refused =
            "certificates are the operator's matter here: they stand in the database's URL";
        Ok(Err(wit::Error::Other(refused.to_owned())))
    }

    async fn build(&mut self, builder: Resource<Builder>) -> Answer<Resource<Connection>> {
        self.finish(&builder)
    }

    async fn drop(&mut self, builder: Resource<Builder>) -> wasmtime::Result<()> {
        self.0.as_mut().ok_or_else(outside)?.table.delete(builder)?;
        Ok(())
    }
}

impl<T: Send> wit::HostConnectionWithStore<T> for Postgres {
    async fn open_async(
        accessor: &Accessor<T, Self>,
        address: String,
    ) -> Answer<Resource<Connection>> {
        accessor.with(|mut access| access.get().connect(&address))
    }

    async fn query_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        statement: String,
        params: Vec<wit::ParameterValue>,
    ) -> Answer<(
        Vec<wit::Column>,
        StreamReader<wit::Row>,
        FutureReader<Result<(), wit::Error>>,
    )> {
        let client = accessor.with(|mut access| access.get().client(&connection))?;
        let (asking, connection) = (client.clone(), connection.rep());
        let asked = async move { rows(asking, connection, &statement, params).await };
        let set = match client.drive(asked).await {
            Ok(set) => set,
            Err(error) => return Ok(Err(error)),
        };
        accessor.with(|mut access| {
            let rows = StreamReader::new(&mut access, set.rows)?;
            let end = FutureReader::new(&mut access, async { wasmtime::error::Ok(Ok(())) })?;
            Ok(Ok((set.columns, rows, end)))
        })
    }

    async fn execute_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        statement: String,
        params: Vec<wit::ParameterValue>,
    ) -> Answer<u64> {
        let client = accessor.with(|mut access| access.get().client(&connection))?;
        Ok(client.execute(connection.rep(), &statement, params).await)
    }
}

impl<T: Send> wit::HostConnectionBuilderWithStore<T> for Postgres {
    async fn build_async(
        accessor: &Accessor<T, Self>,
        builder: Resource<Builder>,
    ) -> Answer<Resource<Connection>> {
        accessor.with(|mut access| access.get().finish(&builder))
    }
}
