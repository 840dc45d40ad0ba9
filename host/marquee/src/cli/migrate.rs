//! `marquee migrate`: bring the databases to what the application needs, or take away what no version uses any more.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use http::Method;
use marquee_admin::{
    Migrated,
    client::{Client, at},
};
use marquee_database::migrate::in_folder;
use marquee_manifest::ComponentId;

use super::{has_colours, print, remote::RemoteFlags};
use crate::{app, databases::Databases, logging, shutdown::Signals};

/// Apply the missing migrations to every database of the application, but for those that take something away; with --contract,
/// have a running host apply those of a component, if every version that is live was released with them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  DATABASE_URL_RATING=postgres://user@db/rating marquee migrate
  marquee migrate --contract rating")]
pub(crate) struct Migrate {
    #[command(flatten)]
    host: RemoteFlags,
    /// Take away what no version of this component uses any more
    #[arg(long, value_name = "COMPONENT")]
    contract: Option<ComponentId>,
    /// The component's migrations [default: those that the manifest names]
    #[arg(long, value_name = "FOLDER", requires = "contract")]
    migrations: Option<PathBuf>,
}

impl Migrate {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let applied = match &self.contract {
            Some(component) => self.contract(component).await?,
            None => self.apply().await?,
        };
        if applied.is_empty() {
            print("nothing to apply")?;
        }
        for name in applied {
            print(format!("applied {name}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn apply(&self) -> anyhow::Result<Vec<String>> {
        let mut signals = Signals::listen()?;
        let settings = self.host.settings()?;
        let _logging = logging::start(&settings.log.value, has_colours())?;
        let app = app::read(&settings.manifest.value)?;
        let databases = Databases::open(&app, &settings).await?;
        let applied = tokio::select! {
            applied = databases.migrate(&app, &settings) => applied,
            () = signals.next() => Err(anyhow!("stopped by a signal; the files before stand")),
        };
        databases.close().await;
        applied
    }

    async fn contract(&self, component: &ComponentId) -> anyhow::Result<Vec<String>> {
        let (remote, settings) = self.host.decide()?;
        let folder = match &self.migrations {
            Some(folder) => folder.clone(),
            None => {
                let app = app::read(&settings.manifest.value)?;
                let own = app.components.get(component);
                let own = own.and_then(|own| own.database.as_ref()?.migrations.clone());
                let own = own.with_context(|| {
                    format!("the manifest names no migrations of component {component}")
                })?;
                settings.root().join(own)
            }
        };
        let done = send(&remote, component, &folder, true).await?;
        Ok(done.applied)
    }
}

/// Have a host run what is missing of a folder: what expands, or what takes away.
pub(super) async fn send(
    remote: &Client,
    component: &ComponentId,
    folder: &Path,
    contract: bool,
) -> anyhow::Result<Migrated> {
    let files = in_folder(folder, is_numbered)?;
    let wanted = marquee_admin::Migrate { files, contract };
    let address = at(component, "/migrations");
    remote.send(Method::POST, &address, &wanted).await
}

/// Others, such as an audit, are no migrations.
fn is_numbered(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(|first: char| first.is_ascii_digit())
}
