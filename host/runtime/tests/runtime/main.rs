//! The runtime with real components: what one does wrong is an error of that call only.

#![expect(clippy::expect_used, reason = "a test that panics says what is wrong")]

mod advisories;
mod caching;
mod calling;
mod http;
mod loading;
mod making;
mod misdeeds;
mod pending;
mod room;
mod shadows;
mod support;
