//! Servers that end with the process that started them, even if it is killed.
//!
//! A shell waits on a pipe that only this process holds open. When the process ends, whatever ends it, the pipe closes
//! and the shell runs the command that ends the server.

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

/// As long as this lives, the command waits.
pub(crate) struct Guardian(#[expect(dead_code, reason = "holds the pipe open")] Child);

/// Run `command` (for `sh`) when this process is gone.
pub(crate) fn after_this_process(command: &str) -> Guardian {
    let child = Command::new("sh")
        .arg("-c")
        .arg(format!("read -r _ || true; {command}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a shell");
    Guardian(child)
}
