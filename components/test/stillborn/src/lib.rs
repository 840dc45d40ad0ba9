//! A release that cannot start: it panics while it is instantiated. For tests of what keeps it from going live.

use spin_sdk::{
    http::{IntoResponse, Request},
    http_service,
};

#[http_service]
async fn stillborn(_: Request) -> impl IntoResponse {
    "Nobody sees this.\n"
}

/// Called before anything else, as constructors of statics are in other languages.
#[cfg(target_family = "wasm")]
#[expect(unsafe_code, reason = "Rust has no other way to run code at the start")]
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

#[cfg(target_family = "wasm")]
#[expect(clippy::panic, reason = "that is what it is for")]
extern "C" fn start() {
    panic!("it cannot start");
}
