//! `marquee compile`: what the host runs to compile a component apart from itself.

use std::{
    io::{Read as _, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;

/// Compile a component from standard input to standard output; the host calls this, a person need not.
#[derive(Debug, Args)]
#[command(
    hide = true,
    after_help = "Example:\n  marquee compile < component.wasm > component.artifact"
)]
pub(crate) struct Compile {
    /// Give way to everything else that runs on the machine
    #[arg(long)]
    background: bool,
}

impl Compile {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        marquee_releases::confine(self.background).context("the compiler cannot be confined")?;
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .context("standard input cannot be read")?;
        if let Some(what) = marquee_runtime::what_else(&bytes) {
            anyhow::bail!("{what}");
        }
        let artifact =
            marquee_runtime::compile(&bytes).map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let mut out = std::io::stdout().lock();
        out.write_all(artifact.bytes())
            .and_then(|()| out.flush())
            .context("standard output cannot be written")?;
        Ok(ExitCode::SUCCESS)
    }
}
