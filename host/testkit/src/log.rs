//! What the code under test logs, and what a test says of itself.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;

/// Say that something was not tried, since what it takes is not there. What a test prints is not shown when it passes;
/// this is.
pub fn not_tried(missing: &str) {
    let line = format!("NOT TRIED: there is no {missing}\n");
    // It goes past what captures a test's output. Nobody there to read it is no reason to fail.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// The errors that this thread logs while it is kept. A test's tasks run on its thread.
pub struct Errors {
    text: Text,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

/// Keep what is logged as an error from now on.
pub fn errors() -> Errors {
    let text = Text::default();
    let writer = text.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::ERROR)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    Errors {
        text,
        _guard: tracing::subscriber::set_default(subscriber),
    }
}

impl Errors {
    /// How many of them have this text in them.
    pub fn with(&self, text: &str) -> usize {
        let logged = self.text.0.lock().expect("no panic");
        let logged = String::from_utf8_lossy(&logged);
        logged.lines().filter(|line| line.contains(text)).count()
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
