//! No bus: what satisfies `marquee:messaging/producer` under stock Spin, which knows no bus.
//!
//! Every publish is *unavailable*, so a rating goes the fallback way. Under Marquee the host provides the
//! interface and this component is not loaded.

#[cfg_attr(
    target_family = "wasm",
    expect(unsafe_code, reason = "the canonical ABI; generated")
)]
mod bindings;

use bindings::exports::marquee::messaging::producer::{Guest, Outgoing, PublishError};

struct NoBus;

impl Guest for NoBus {
    async fn publish(_messages: Vec<Outgoing>) -> Result<(), PublishError> {
        Err(PublishError::Unavailable("there is no bus here".to_owned()))
    }
}
