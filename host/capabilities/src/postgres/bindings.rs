//! Generated from `wit/deps/spin-postgres@4.2.0`.

wasmtime::component::bindgen!({
    path: "../../wit/deps/spin-postgres@4.2.0",
    inline: "
        package marquee:host;
        world imports {
            import spin:postgres/postgres@4.2.0;
        }
    ",
    world: "marquee:host/imports",
    imports: { default: async | trappable },
    with: {
        "spin:postgres/postgres.connection": super::host::Connection,
        "spin:postgres/postgres.connection-builder": super::host::Builder,
    },
});

pub(super) use spin::postgres::postgres as wit;
