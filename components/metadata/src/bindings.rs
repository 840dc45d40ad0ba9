//! What wit-bindgen makes of the world `movie:metadata/metadata`. Only `lib.rs` names anything in here.

wit_bindgen::generate!({
    path: "../../wit/movie-metadata",
    world: "movie:metadata/metadata",
});

use super::Metadata;

export!(Metadata);
