//! `marquee up`: run the application.

use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

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
        // Before anything is begun that would have to be ended.
        let mut signals = Signals::listen()?;
        let settings = Settings::decide(&self.flags, &self.up, environment())?;
        let mut logging = logging::start(&settings.log.value, has_colours())?;
        let access = settings.access_log.value.map(|which| logging.access(which));
        let app = app::read(&settings.manifest.value)?;
        let stop = CancellationToken::new();
        let mut building = Box::pin(Host::build(&app, &settings, &stop));
        let built = tokio::select! {
            built = &mut building => built?,
            () = signals.next() => {
                said(print(STOPPING));
                stop.cancel();
                tokio::select! {
                    built = &mut building => built?,
                    () = signals.next() => return Ok(ExitCode::FAILURE),
                }
            }
        };
        let Some(host) = built else {
            return Ok(ExitCode::SUCCESS);
        };
        let summary = host.summary(&settings);
        let running = host.start(logging.omissions.clone(), access);
        // Whoever reads it finds the host ready.
        said(print(summary));
        if !stop.is_cancelled() {
            signals.next().await;
            said(print(STOPPING));
        }
        tokio::select! {
            () = running.drain(settings.drain_delay.value, settings.grace.value) => Ok(ExitCode::SUCCESS),
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

const STOPPING: &str = "stopping; a second signal ends the wait";
