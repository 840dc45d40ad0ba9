//! `marquee deploy`, `promote`, `rollback` and `pin`: what is live, changed.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, ensure};
use clap::Args;
use http::Method;
use marquee_manifest::ComponentId;
use marquee_registry::Weight;
use url::form_urlencoded;

use super::{
    environment,
    remote::Remote,
    versions::{Format, show},
};
use crate::{
    admin::{Pin, Promote, UPLOAD_BYTES},
    releases::ComponentReport,
    settings::{Flags, Settings, UpFlags},
};

/// Check a new version of a component and make it live.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee deploy rating target/rating.wasm
  marquee deploy rating target/rating.wasm --label 1.5.0 --weight 10%")]
pub(crate) struct Deploy {
    #[command(flatten)]
    flags: Flags,
    /// The component, as the manifest calls it
    component: ComponentId,
    /// The file with the new version
    file: PathBuf,
    /// A name for the version
    #[arg(long)]
    label: Option<String>,
    /// How much of the calls it gets; the rest stays where it is
    #[arg(long, default_value = "100%")]
    weight: Weight,
    /// Let it import what the live version does not
    #[arg(long)]
    widen: bool,
    #[command(flatten)]
    format: Format,
}

/// Make a stored version live: one with a label, or one that was live before.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee promote rating 1.5.0
  marquee promote rating e887c9cb --weight 50%")]
pub(crate) struct PromoteVerb {
    #[command(flatten)]
    flags: Flags,
    /// The component, as the manifest calls it
    component: ComponentId,
    /// A label, or the first digits of a version, six at least
    version: String,
    /// How much of the calls it gets; the rest stays where it is
    #[arg(long, default_value = "100%")]
    weight: Weight,
    /// Let it import what the live version does not
    #[arg(long)]
    widen: bool,
    #[command(flatten)]
    format: Format,
}

/// Back to what was live before, one step.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  marquee rollback rating")]
pub(crate) struct Rollback {
    #[command(flatten)]
    flags: Flags,
    /// The component, as the manifest calls it
    component: ComponentId,
    #[command(flatten)]
    format: Format,
}

/// Keep a component as it is, whoever asks.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  marquee pin rating\n  marquee pin rating --off")]
pub(crate) struct PinVerb {
    #[command(flatten)]
    flags: Flags,
    /// The component, as the manifest calls it
    component: ComponentId,
    /// Take the pin away
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    format: Format,
}

impl Deploy {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let remote = remote(&self.flags)?;
        let path = self.file.display();
        let size = std::fs::metadata(&self.file)
            .with_context(|| format!("{path} cannot be read"))?
            .len();
        ensure!(
            size <= UPLOAD_BYTES as u64,
            "{path} has {} MiB; a component has at most {}",
            size >> 20,
            UPLOAD_BYTES >> 20
        );
        let bytes = std::fs::read(&self.file).with_context(|| format!("{path} cannot be read"))?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("weight", &self.weight.to_string());
        query.append_pair("widen", &self.widen.to_string());
        if let Some(label) = &self.label {
            query.append_pair("label", label);
        }
        let address = at(&self.component, &format!("/versions?{}", query.finish()));
        let report: ComponentReport = remote.upload(&address, bytes).await?;
        show(&[report], self.format)
    }
}

impl PromoteVerb {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let wanted = Promote {
            version: self.version,
            weight: self.weight,
            widen: self.widen,
        };
        let address = at(&self.component, "/promote");
        let report = remote(&self.flags)?;
        let report: ComponentReport = report.send(Method::POST, &address, &wanted).await?;
        show(&[report], self.format)
    }
}

impl Rollback {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let address = at(&self.component, "/rollback");
        let remote = remote(&self.flags)?;
        let report: ComponentReport = remote.send(Method::POST, &address, &()).await?;
        show(&[report], self.format)
    }
}

impl PinVerb {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let pin = Pin { pinned: !self.off };
        let address = at(&self.component, "/pin");
        let remote = remote(&self.flags)?;
        let report: ComponentReport = remote.send(Method::PUT, &address, &pin).await?;
        show(&[report], self.format)
    }
}

/// The host that these flags mean.
pub(crate) fn remote(flags: &Flags) -> anyhow::Result<Remote> {
    let settings = Settings::decide(flags, &UpFlags::default(), environment())?;
    Ok(Remote::of(&settings))
}

/// A component's names need no encoding.
pub(crate) fn at(component: &ComponentId, rest: &str) -> String {
    format!("/admin/v1/components/{component}{rest}")
}
