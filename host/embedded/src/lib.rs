//! A PostgreSQL of the host's own, for development: started from the machine's programs, kept in a folder.
//!
//! Promise: what was acknowledged is durable (`fsync` is on); the server outlives a host that was killed and is taken
//! over by the next one; a terminal's Ctrl-C reaches the host and not the server. It listens on a unix socket that
//! only its user can reach, unless TCP is asked for. Not for production: no backups, no replicas, no tuning.

mod error;
mod programs;
mod server;
mod user;

pub use error::Error;
pub use programs::Programs;
pub use server::{Options, Server};
