//! `marquee deploy`, `promote`, `rollback`, `unlabel`, `unshadow` and `pin`: what is live, changed.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, ensure};
use clap::Args;
use http::Method;
use marquee_admin::{
    OneOf, Pin, Promote, Together,
    client::{Client, at},
};
use marquee_manifest::ComponentId;
use marquee_registry::{Digest, Ramp, Weight};
use marquee_releases::ComponentReport;
use serde::Serialize;
use url::form_urlencoded;

use super::{
    migrate,
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
    /// It gets no calls, but copies of so many of them; nothing that it does stands, and `marquee diff --live` shows what
    /// it does otherwise than the live version
    #[arg(
        long,
        value_name = "WEIGHT",
        conflicts_with_all = ["weight", "ramp", "every"]
    )]
    shadow: Option<Weight>,
    /// Let it import what the live version does not
    #[arg(long)]
    widen: bool,
    /// How many hosts get it first; the others get it when it is live there [default: all at once]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    canary_hosts: Option<u32>,
}

/// Check new versions of components and make them live; FILE.sig goes with each, where it is there. Several are one step: checked
/// together, live at one moment, with all calls, and rolled back together.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee deploy rating target/rating.wasm
  marquee deploy rating target/rating.wasm --label 1.5.0 --weight 10%
  marquee deploy rating target/rating.wasm --ramp 1%,10%,50%,100% --every 5m
  marquee deploy rating target/rating.wasm --canary-hosts 1
  marquee deploy rating oci://registry.example/movies/rating:2.0
  marquee deploy rating target/rating.wasm --migrations migrations/rating
  marquee deploy rating target/rating.wasm --shadow 5%
  marquee deploy rating=target/rating.wasm metadata=target/metadata.wasm --label 2.0")]
pub(crate) struct Deploy {
    #[command(flatten)]
    host: RemoteFlags,
    /// A component, as the manifest calls it, and the file with its new version, or where that lies in a registry:
    /// oci://HOST/PATH:TAG; or COMPONENT=FILE of each of several
    #[arg(required = true, value_name = "COMPONENT FILE")]
    what: Vec<String>,
    #[command(flatten)]
    pull: PullFlags,
    /// A name for the version, or for each of them
    #[arg(long)]
    label: Option<String>,
    /// The component's migrations: those that are missing and expand its tables are run before; COMPONENT=FOLDER of one
    /// of several
    #[arg(long, value_name = "FOLDER")]
    migrations: Vec<String>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    format: Format,
}

/// Make a stored version live: one with a label, or one that was live before.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee promote rating 1.5.0
  marquee promote rating e887c9cb --weight 50%
  marquee promote rating e887c9cb --shadow 5%")]
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

/// Roll back to what was live before, one step, or to a version. Components that came in one step go back in one, whichever is
/// named; with --to, the one that is named alone.
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

/// End a shadow: it gets no more copies of calls, and what was compared is forgotten.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  marquee unshadow rating")]
pub(crate) struct Unshadow {
    #[command(flatten)]
    step: Step,
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
        let remote = self.host.remote()?;
        let what = named(&self.what)?;
        let all_calls = self.how.weight == Weight::ALL && self.how.ramp.is_none();
        ensure!(
            all_calls || what.len() == 1,
            "several components go live with all calls: with less, a call of one's new version could meet another's old one; \
             deploy them one after the other to try them"
        );
        let migrations = self.migrate(&remote, &what).await?;
        let reports = match <[_; 1]>::try_from(what) {
            Ok([one]) => vec![self.one(&remote, one, &migrations).await?],
            Err(several) => self.together(&remote, several, &migrations).await?,
        };
        show(reports, self.format)
    }

    async fn one(
        &self,
        remote: &Client,
        (component, file): (ComponentId, PathBuf),
        migrations: &BTreeMap<ComponentId, i32>,
    ) -> anyhow::Result<ComponentReport> {
        let brought = self.pull.bring(&file).await?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("weight", &self.how.weight.to_string());
        query.append_pair("widen", &self.how.widen.to_string());
        if let (Some(ramp), Some(every)) = (&self.how.ramp, &self.how.every) {
            query.append_pair("ramp", &ramp.to_string());
            query.append_pair("every", every);
        }
        if let Some(copies) = self.how.shadow {
            query.append_pair("shadow", &copies.to_string());
        }
        if let Some(hosts) = self.how.canary_hosts {
            query.append_pair("hosts", &hosts.to_string());
        }
        if let Some(migration) = migrations.get(&component) {
            query.append_pair("migration", &migration.to_string());
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
        let address = at(&component, &format!("/versions?{}", query.finish()));
        remote.upload(&address, brought.bytes).await
    }

    /// Have run what is missing; the newest migration of each component that has any.
    async fn migrate(
        &self,
        remote: &Client,
        what: &[(ComponentId, PathBuf)],
    ) -> anyhow::Result<BTreeMap<ComponentId, i32>> {
        let folders = match (self.migrations.as_slice(), what) {
            ([], _) => return Ok(BTreeMap::new()),
            ([folder], [(component, _)]) if !folder.contains('=') => {
                vec![(component.clone(), PathBuf::from(folder))]
            }
            (pairs, _) => named(pairs)?,
        };
        let mut newest = BTreeMap::new();
        for (component, folder) in folders {
            let is_meant = what.iter().any(|(it, _)| *it == component);
            ensure!(
                is_meant,
                "--migrations names {component}, which is not deployed"
            );
            let done = migrate::send(remote, &component, &folder, false).await?;
            newest.insert(component, done.newest);
        }
        Ok(newest)
    }

    /// The bytes of one after the other, then the step.
    async fn together(
        &self,
        remote: &Client,
        what: Vec<(ComponentId, PathBuf)>,
        migrations: &BTreeMap<ComponentId, i32>,
    ) -> anyhow::Result<Vec<ComponentReport>> {
        let mut components = BTreeMap::new();
        for (component, file) in what {
            let brought = self.pull.bring(&file).await?;
            let version = format!("{:#}", Digest::of(&brought.bytes));
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Some(signature) = &brought.signature {
                query.append_pair("signature", &signature.to_string());
            }
            let rest = format!("/versions/{version}?{}", query.finish());
            remote
                .replace(&at(&component, &rest), brought.bytes)
                .await?;
            let one = OneOf {
                version,
                label: self.label.clone(),
                from: brought.from,
                migration: migrations.get(&component).copied(),
            };
            components.insert(component, one);
        }
        let step = Together {
            components,
            widen: self.how.widen,
            hosts: self.how.canary_hosts,
        };
        remote.send(Method::POST, "/admin/v1/steps", &step).await
    }
}

/// Components with their files: `COMPONENT FILE`, or `COMPONENT=FILE` as often as there are.
fn named(what: &[String]) -> anyhow::Result<Vec<(ComponentId, PathBuf)>> {
    if let [component, file] = what
        && !component.contains('=')
    {
        return Ok(vec![(component.parse()?, file.into())]);
    }
    let mut named: Vec<(ComponentId, PathBuf)> = Vec::new();
    for pair in what {
        let (component, file) = pair.split_once('=').with_context(|| {
            format!("{pair:?} is not COMPONENT=FILE; of one component, say COMPONENT FILE")
        })?;
        let component: ComponentId = component.parse()?;
        let is_new = named.iter().all(|(known, _)| *known != component);
        ensure!(is_new, "component {component} is named twice");
        named.push((component, file.into()));
    }
    Ok(named)
}

impl PromoteVerb {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let wanted = Promote {
            version: self.version,
            weight: self.how.weight,
            widen: self.how.widen,
            ramp: self.how.ramp,
            every: self.how.every,
            shadow: self.how.shadow,
            hosts: self.how.canary_hosts,
        };
        self.step
            .take(Method::POST, "/promote", &wanted, self.format)
            .await
    }
}

impl RollbackVerb {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let remote = self.step.host.remote()?;
        let component = &self.step.component;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("force", &self.force.to_string());
        let mut others = Vec::new();
        if let Some(to) = &self.to {
            query.append_pair("to", to);
        } else {
            let before: ComponentReport = remote.get(&at(component, "")).await?;
            others = before.together;
            others.retain(|other| other != component);
        }
        let address = at(component, &format!("/rollback?{}", query.finish()));
        let mut reports = vec![remote.send(Method::POST, &address, &()).await?];
        for other in others {
            reports.push(remote.get(&at(&other, "")).await?);
        }
        show(reports, self.format)
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

impl Unshadow {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        self.step
            .take(Method::DELETE, "/shadow", &(), self.format)
            .await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_component_has_its_file_behind_it_and_several_each_their_own() {
        let named = |what: &[&str]| {
            let what: Vec<String> = what.iter().map(ToString::to_string).collect();
            let named = named(&what).ok()?.into_iter();
            let named = named.map(|(id, file)| format!("{id}:{}", file.display()));
            Some(named.collect::<Vec<_>>().join(" "))
        };
        let is = |what: &[&str], as_: &str| assert_eq!(named(what).as_deref(), Some(as_));
        is(&["rating", "r.wasm"], "rating:r.wasm");
        is(&["rating", "a=b/r.wasm"], "rating:a=b/r.wasm");
        is(&["rating=r.wasm"], "rating:r.wasm");
        is(
            &["rating=r.wasm", "metadata=m.wasm"],
            "rating:r.wasm metadata:m.wasm",
        );
        for not in [
            &["rating"][..],
            &["rating", "r.wasm", "m.wasm"],
            &["a b", "r.wasm"],
        ] {
            assert_eq!(named(not), None, "{not:?}");
        }
    }
}
