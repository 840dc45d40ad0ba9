//! `marquee migrate`: bring the databases to what the application needs.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;

use super::{environment, has_colours, print};
use crate::{
    app,
    databases::Databases,
    logging,
    settings::{Flags, Settings, UpFlags},
    shutdown::Signals,
};

/// Apply the missing migrations to every database of the application, and exit.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  DATABASE_URL_RATING=postgres://user@db/rating marquee migrate")]
pub(crate) struct Migrate {
    #[command(flatten)]
    flags: Flags,
}

impl Migrate {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut signals = Signals::listen()?;
        let settings = Settings::decide(&self.flags, &UpFlags::default(), environment())?;
        let _logging = logging::start(&settings.log.value, has_colours())?;
        let app = app::read(&settings.manifest.value)?;
        let databases = Databases::open(&app, &settings).await?;
        let applied = tokio::select! {
            applied = databases.migrate(&app, &settings) => applied,
            () = signals.next() => Err(anyhow!("stopped by a signal; the files before stand")),
        };
        databases.close().await;
        let applied = applied?;
        if applied.is_empty() {
            print("nothing to apply")?;
        }
        for name in applied {
            print(format!("applied {name}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
