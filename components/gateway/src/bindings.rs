//! What wit-bindgen makes of the world `movie:gateway/gateway`: the imports of the other components and of the bus. What
//! their records say is what clients see.

wit_bindgen::generate!({
    path: [
        "../../wit/marquee-messaging",
        "../../wit/movie-metadata",
        "../../wit/movie-rating",
        "../../wit/movie-gateway",
    ],
    world: "movie:gateway/gateway",
    generate_all,
    additional_derives: [serde::Serialize, utoipa::ToSchema],
});
