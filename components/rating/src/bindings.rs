//! What wit-bindgen makes of the world `movie:rating/rating`. Only `lib.rs` and `handler.rs` name anything in here.

use super::Rating;

wit_bindgen::generate!({
    path: ["../../wit/marquee-messaging", "../../wit/movie-rating"],
    world: "movie:rating/rating",
    generate_all,
});

export!(Rating);
