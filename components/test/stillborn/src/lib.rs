//! A release that cannot start: it traps while it is instantiated. For tests of what keeps it from going live.

use spin_sdk::{
    http::{IntoResponse, Request},
    http_service,
};

#[http_service]
async fn stillborn(_: Request) -> impl IntoResponse {
    "Nobody sees this.\n"
}

/// Called when a module is instantiated, before anything else.
#[cfg(target_family = "wasm")]
#[expect(unsafe_code, reason = "the name is what makes it the start")]
#[unsafe(export_name = "_initialize")]
extern "C" fn initialize() {
    std::process::abort();
}
