//! What wit-bindgen makes of a world with jobs.

wit_bindgen::generate!({
    path: "../../../wit/marquee-schedule",
    world: "marquee:schedule/scheduled",
    generate_all,
});

// The names of a component's exports are no symbols that a native linker takes.
#[cfg(target_family = "wasm")]
use super::Misbehave;
#[cfg(target_family = "wasm")]
export!(Misbehave);
