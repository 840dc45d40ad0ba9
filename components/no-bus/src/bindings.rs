//! What wit-bindgen makes of a world that exports what others import.

wit_bindgen::generate!({
    inline: "
        package marquee:no-bus;

        world no-bus {
            export marquee:messaging/producer@0.1.0;
        }
    ",
    path: "../../wit/marquee-messaging",
    world: "marquee:no-bus/no-bus",
    generate_all,
});

use super::NoBus;

export!(NoBus);
