//! `marquee deploy`, `promote`, `rollback`, `unlabel` and `pin`: what is live, changed.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use http::Method;
use marquee_admin::{Pin, Promote, client::at};
use marquee_manifest::ComponentId;
use marquee_registry::{Ramp, Weight};
use serde::Serialize;
use url::form_urlencoded;

use super::{
    pull::PullFlags,
    remote::RemoteFlags,
    versions::{Format, show},
};

/// What every step is told.
#[derive(Debug, Args)]
struct Step {
    #[command(flatten)]
    host: RemoteFlags,
    /// The component, as the manifest calls it
    component: ComponentId,
}

/// How a version is made live.
#[derive(Debug, Args)]
struct How {
    /// How much of the calls it gets; the rest stays where it is
    #[arg(long, default_value = "100%")]
    weight: Weight,
    /// Shares that it gets one after the other, e.g. 1%,10%,50%,100%; the guard takes it back if it does worse
    #[arg(
        long,
        value_name = "WEIGHTS",
        requires = "every",
        conflicts_with = "weight"
    )]
    ramp: Option<Ramp>,
    /// For how long it has each of them, e.g. 5m
    #[arg(long, value_name = "DURATION", requires = "ramp")]
    every: Option<String>,
    /// Let it import what the live version does not
    #[arg(long)]
    widen: bool,
    /// How many hosts get it first; the others get it when it is live there [default: all at once]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    canary_hosts: Option<u32>,
}

/// Check a new version of a component and make it live; FILE.sig goes with it, where it is there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee deploy rating target/rating.wasm
  marquee deploy rating target/rating.wasm --label 1.5.0 --weight 10%
  marquee deploy rating target/rating.wasm --ramp 1%,10%,50%,100% --every 5m
  marquee deploy rating target/rating.wasm --canary-hosts 1
  marquee deploy rating oci://registry.example/movies/rating:2.0")]
pub(crate) struct Deploy {
    #[command(flatten)]
    step: Step,
    /// The file with the new version, or where it lies in a registry: oci://HOST/PATH:TAG
    file: PathBuf,
    #[command(flatten)]
    pull: PullFlags,
    /// A name for the version
    #[arg(long)]
    label: Option<String>,
    #[command(flatten)]
    how: How,
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
    step: Step,
    /// A label, or the first digits of a version, six at least
    version: String,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    format: Format,
}

/// Roll back to what was live before, one step, or to a version.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee rollback rating
  marquee rollback rating --to 1.4.0 --force")]
pub(crate) struct RollbackVerb {
    #[command(flatten)]
    step: Step,
    /// To this version, whatever came since: a label, or its first digits, six at least
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Do not ask it whether it is healthy, and take it though its file is gone, if its code is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    format: Format,
}

/// Take names of versions away: what nothing else keeps is removed in time.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  marquee unlabel rating 1.3.0 1.3.1")]
pub(crate) struct Unlabel {
    #[command(flatten)]
    step: Step,
    /// The names
    #[arg(required = true)]
    labels: Vec<String>,
    #[command(flatten)]
    format: Format,
}

/// Pin a component: its live version cannot be changed until it is unpinned.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  marquee pin rating\n  marquee pin rating --off")]
pub(crate) struct PinVerb {
    #[command(flatten)]
    step: Step,
    /// Unpin it
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    format: Format,
}

impl Deploy {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let brought = self.pull.bring(&self.file).await?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("weight", &self.how.weight.to_string());
        query.append_pair("widen", &self.how.widen.to_string());
        if let (Some(ramp), Some(every)) = (&self.how.ramp, &self.how.every) {
            query.append_pair("ramp", &ramp.to_string());
            query.append_pair("every", every);
        }
        if let Some(hosts) = self.how.canary_hosts {
            query.append_pair("hosts", &hosts.to_string());
        }
        if let Some(signature) = &brought.signature {
            query.append_pair("signature", &signature.to_string());
        }
        if let Some(from) = &brought.from {
            query.append_pair("from", from);
        }
        if let Some(label) = &self.label {
            query.append_pair("label", label);
        }
        let address = at(
            &self.step.component,
            &format!("/versions?{}", query.finish()),
        );
        let remote = self.step.host.remote()?;
        let report = remote.upload(&address, brought.bytes).await?;
        show(vec![report], self.format)
    }
}

impl PromoteVerb {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let wanted = Promote {
            version: self.version,
            weight: self.how.weight,
            widen: self.how.widen,
            ramp: self.how.ramp,
            every: self.how.every,
            hosts: self.how.canary_hosts,
        };
        self.step
            .take(Method::POST, "/promote", &wanted, self.format)
            .await
    }
}

impl RollbackVerb {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("force", &self.force.to_string());
        if let Some(to) = &self.to {
            query.append_pair("to", to);
        }
        let rest = format!("/rollback?{}", query.finish());
        self.step.take(Method::POST, &rest, &(), self.format).await
    }
}

impl Unlabel {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let remote = self.step.host.remote()?;
        let mut reports = Vec::new();
        for label in &self.labels {
            let label: String = form_urlencoded::byte_serialize(label.as_bytes()).collect();
            let address = at(&self.step.component, &format!("/labels/{label}"));
            let report = remote.send(Method::DELETE, &address, &()).await?;
            reports = vec![report];
        }
        show(reports, self.format)
    }
}

impl PinVerb {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let pin = Pin { pinned: !self.off };
        self.step.take(Method::PUT, "/pin", &pin, self.format).await
    }
}

impl Step {
    /// Ask the host for it, and show what is live then.
    async fn take(
        &self,
        method: Method,
        rest: &str,
        wanted: &impl Serialize,
        format: Format,
    ) -> anyhow::Result<ExitCode> {
        let address = at(&self.component, rest);
        let report = self.host.remote()?.send(method, &address, wanted).await?;
        show(vec![report], format)
    }
}
