//! `marquee up`: run the application.

use std::process::ExitCode;

use clap::Args;

use super::{environment, has_colours, print};
use crate::{
    app,
    host::Host,
    logging,
    settings::{Flags, Settings, UpFlags},
    shutdown::Signals,
};

/// Run the application until a signal; start what it needs and what nobody named.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee up
  marquee up --listen 127.0.0.1:8080
  DATABASE_URL_RATING=postgres://user@db/rating KAFKA_BROKERS=kafka:9092 marquee up")]
pub(crate) struct Up {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    up: UpFlags,
}

impl Up {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let settings = Settings::decide(&self.flags, &self.up, environment())?;
        logging::start(&settings.log.value, has_colours())?;
        let app = app::read(&settings.manifest.value)?;
        let mut signals = Signals::listen()?;
        // A signal meanwhile is heeded as soon as there is something to stop in good order.
        let host = Host::build(&app, &settings).await?;
        said(print(host.summary(&settings)));
        let running = host.start();
        signals.next().await;
        said(print("stopping; a second signal ends the wait"));
        tokio::select! {
            () = running.drain(settings.grace.value) => Ok(ExitCode::SUCCESS),
            () = signals.next() => Ok(ExitCode::FAILURE),
        }
    }
}

/// Nobody may read it: no reason not to serve.
fn said(printed: anyhow::Result<()>) {
    if let Err(error) = printed {
        tracing::warn!("{error:#}");
    }
}
