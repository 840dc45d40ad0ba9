//! What wit-bindgen makes of the world `movie:metadata/metadata`. Only `lib.rs` names anything in here.

wit_bindgen::generate!({
    path: "../../wit/movie-metadata",
    world: "movie:metadata/metadata",
});

// The names of a component's exports are no symbols that a native linker takes.
#[cfg(target_family = "wasm")]
use super::Metadata;
#[cfg(target_family = "wasm")]
export!(Metadata);
