//! No bus: what satisfies `marquee:messaging/producer` under stock Spin, which knows no bus.
//!
//! Every publish is *unavailable*, so a rating goes the fallback way. Under Marquee the host provides the
//! interface and this component is not loaded.

use bindings::exports::marquee::messaging::producer::{Guest, Outgoing, PublishError};

marquee_guest::component!(NoBus, {
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

struct NoBus;

impl Guest for NoBus {
    async fn publish(_messages: Vec<Outgoing>) -> Result<(), PublishError> {
        Err(PublishError::Unavailable("there is no bus here".to_owned()))
    }
}
