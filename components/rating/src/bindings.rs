//! What wit-bindgen makes of the world `movie:rating/rating`. Only `lib.rs` and `handler.rs` name anything in here.

wit_bindgen::generate!({
    path: ["../../wit/marquee-messaging", "../../wit/movie-rating"],
    world: "movie:rating/rating",
    generate_all,
});

// The names of a component's exports are no symbols that a native linker takes.
#[cfg(target_family = "wasm")]
use super::Rating;
#[cfg(target_family = "wasm")]
export!(Rating);
