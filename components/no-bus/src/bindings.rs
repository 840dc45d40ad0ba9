//! What wit-bindgen makes of a world that exports what others import.

wit_bindgen::generate!({
    inline: "
        package marquee:no-bus;

        world no-bus {
            export marquee:messaging/types@0.1.0;
            export marquee:messaging/producer@0.1.0;
        }
    ",
    path: "../../wit/marquee-messaging",
    world: "marquee:no-bus/no-bus",
    generate_all,
});

// The names of a component's exports are no symbols that a native linker takes.
#[cfg(target_family = "wasm")]
use super::NoBus;
#[cfg(target_family = "wasm")]
export!(NoBus);
