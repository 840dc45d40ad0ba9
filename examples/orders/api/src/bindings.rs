//! What wit-bindgen makes of the API's world.

wit_bindgen::generate!({
    path: ["../../../wit/marquee-messaging", "../../../wit/marquee-schedule", "../wit"],
    world: "shop:orders/api",
    generate_all,
});
