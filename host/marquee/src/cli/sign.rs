//! `marquee sign`: vouch for a version.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use marquee_registry::Digest;

use super::print;

/// Sign a component, for hosts that load signed ones only; `marquee deploy` sends the signature along.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee sign --new-key release
  marquee sign target/rating.wasm --key release")]
pub(crate) struct Sign {
    /// The file with the component
    #[arg(required_unless_present = "new_key")]
    file: Option<PathBuf>,
    /// The file with the private key: Ed25519, PEM
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    key: Option<PathBuf>,
    /// Make a key instead: FILE for whoever signs, and FILE.pub for the hosts
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "key"])]
    new_key: Option<PathBuf>,
}

impl Sign {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(path) = &self.new_key {
            let public = marquee_releases::make_key(path)?;
            let (private, public) = (path.display(), public.display());
            print(format!(
                "{private} signs: keep it where hosts are not. Hosts that have {public} among their keys trust it"
            ))?;
        }
        if let (Some(file), Some(key)) = (&self.file, &self.key) {
            let path = file.display();
            let bytes = std::fs::read(file).with_context(|| format!("{path} cannot be read"))?;
            let signature = marquee_releases::sign(key, &bytes)?;
            let kept = signature.keep_beside(file)?;
            let digest = Digest::of(&bytes);
            print(format!("version {digest} is signed: {}", kept.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
