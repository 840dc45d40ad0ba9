//! What wit-bindgen makes of the world.

wit_bindgen::generate!({
    path: "../wit",
    world: "example:greetings/web",
});
