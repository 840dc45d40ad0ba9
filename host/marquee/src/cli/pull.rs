//! Where `marquee deploy` has a component from: a file, or a registry.
//!
//! The verb gets it, and not the host: so what may be deployed, and by whom, is the same for both, and no host needs a way to
//! a registry or its password.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use marquee_admin::{UPLOAD_BYTES, client::trusting};
use marquee_oci::{Access, Credentials, Reference, SCHEME};
use marquee_releases::Signature;

use super::environment;

/// How a registry is asked.
#[derive(Debug, Args)]
pub(super) struct PullFlags {
    /// Who asks the registry [default: as `docker login` has it]
    #[arg(long, value_name = "NAME", requires = "registry_password_file")]
    registry_user: Option<String>,
    /// The file with the password of that user
    #[arg(long, value_name = "FILE", requires = "registry_user")]
    registry_password_file: Option<PathBuf>,
    /// Who signs the certificate of the registry, in PEM [default: whom this system trusts]
    #[arg(long, value_name = "FILE", conflicts_with = "plain_http")]
    registry_ca: Option<PathBuf>,
    /// Ask the registry without TLS, as one at localhost is asked anyway
    #[arg(long)]
    plain_http: bool,
}

/// A component to be deployed.
pub(super) struct Brought {
    pub(super) bytes: Vec<u8>,
    /// Who vouches for it.
    pub(super) signature: Option<Signature>,
    /// The reference that it lay at, with its digest; none for a file.
    pub(super) from: Option<String>,
}

impl PullFlags {
    /// The component at a path or a reference.
    pub(super) async fn bring(&self, source: &Path) -> anyhow::Result<Brought> {
        match source.to_str().filter(|text| text.starts_with(SCHEME)) {
            Some(text) => self.pull(&text.parse()?).await,
            None => read(source),
        }
    }

    async fn pull(&self, reference: &Reference) -> anyhow::Result<Brought> {
        let local = reference.is_local() && self.registry_ca.is_none();
        let access = Access {
            tls: trusting(self.registry_ca.as_deref())?,
            plain: self.plain_http || local,
            credentials: self.credentials(reference)?,
            most_bytes: UPLOAD_BYTES as u64,
            patience: PATIENCE,
        };
        let pulled = marquee_oci::pull(reference, &access).await?;
        let signature = pulled.signature.map(|text| text.parse()).transpose();
        let from = reference.clone().at(pulled.manifest).to_string();
        Ok(Brought {
            bytes: pulled.bytes,
            signature: signature
                .with_context(|| format!("the annotation marquee.signature of {from} is none"))?,
            from: Some(from),
        })
    }

    fn credentials(&self, reference: &Reference) -> anyhow::Result<Credentials> {
        if let (Some(name), Some(path)) = (&self.registry_user, &self.registry_password_file) {
            let read = std::fs::read_to_string(path);
            let password = read.with_context(|| format!("{} cannot be read", path.display()))?;
            return Ok(Credentials::User {
                name: name.clone(),
                password: password.trim_end_matches(['\r', '\n']).to_owned(),
            });
        }
        let environment = environment();
        let folder = environment.get("DOCKER_CONFIG").map(PathBuf::from);
        let home = environment.get("HOME").map(PathBuf::from);
        match folder.or_else(|| Some(home?.join(".docker"))) {
            Some(folder) => {
                let config = folder.join("config.json");
                Ok(Credentials::of_docker(&config, reference.registry())?)
            }
            None => Ok(Credentials::Nobody),
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Brought> {
    let path = file.display();
    let unread = || format!("{path} cannot be read");
    let size = std::fs::metadata(file).with_context(unread)?.len();
    ensure!(
        size <= UPLOAD_BYTES as u64,
        "{path} has {} MiB; a component has at most {}",
        size >> 20,
        UPLOAD_BYTES >> 20
    );
    Ok(Brought {
        bytes: std::fs::read(file).with_context(unread)?,
        signature: Signature::beside(file)?,
        from: None,
    })
}

/// As long as an upload of the largest component may take.
const PATIENCE: Duration = Duration::from_secs(330);
