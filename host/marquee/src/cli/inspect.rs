//! `marquee inspect` and `diff`: what a version imports and exports, in WIT.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::Args;
use marquee_admin::{client::at, wit::describe};
use marquee_manifest::ComponentId;
use similar::TextDiff;

use super::{print, remote::RemoteFlags, shadow};

/// Show what a component imports and exports.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  marquee inspect target/rating.wasm")]
pub(crate) struct Inspect {
    /// The component's file
    file: PathBuf,
}

/// Compare two versions of a component: size, imports, exports, WIT; or, with --live, what the live one and its shadow did.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee diff rating 1.4.0 1.5.0
  marquee diff rating e887c9cb fc5ae81b
  marquee diff --live rating")]
pub(crate) struct Diff {
    #[command(flatten)]
    host: RemoteFlags,
    /// The component, as the manifest calls it
    component: ComponentId,
    /// A label, or the first digits of a version, six at least
    #[arg(required_unless_present = "live", conflicts_with = "live")]
    old: Option<String>,
    /// The same of the other version
    #[arg(required_unless_present = "live", conflicts_with = "live")]
    new: Option<String>,
    /// What the shadow did otherwise than the live version, on the host that is asked
    #[arg(long)]
    live: bool,
    /// Print JSON
    #[arg(long, requires = "live")]
    json: bool,
}

impl Inspect {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let path = self.file.display();
        let bytes = std::fs::read(&self.file).with_context(|| format!("{path} cannot be read"))?;
        let shown = describe(&bytes).with_context(|| format!("{path} cannot be inspected"))?;
        print(shown.trim_end())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Diff {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let remote = self.host.remote()?;
        let (Some(old), Some(new)) = (&self.old, &self.new) else {
            let known = remote.get(&at(&self.component, "/shadow")).await?;
            return shadow::show(&self.component, &known, self.json);
        };
        let mut shown = Vec::new();
        for version in [old, new] {
            let name: String = url::form_urlencoded::byte_serialize(version.as_bytes()).collect();
            let address = at(&self.component, &format!("/versions/{name}"));
            shown.push(describe(&remote.bytes(&address).await?)?);
        }
        let [one, other] = shown.as_slice() else {
            bail!("two versions are compared");
        };
        let diff = TextDiff::from_lines(one.as_str(), other.as_str());
        let text = diff.unified_diff().header(old, new).to_string();
        if text.is_empty() {
            print("they are the same")?;
        } else {
            print(text.trim_end())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
