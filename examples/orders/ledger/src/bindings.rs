//! What wit-bindgen makes of the ledger's world.

wit_bindgen::generate!({
    path: ["../../../wit/marquee-messaging", "../../../wit/marquee-schedule", "../wit"],
    world: "shop:orders/ledger-component",
    generate_all,
});

// The names of a component's exports are no symbols that a native linker takes.
#[cfg(target_family = "wasm")]
use super::Ledger;
#[cfg(target_family = "wasm")]
export!(Ledger);
