//! Components out of OCI registries: the pulling half of the distribution protocol, for artifacts of one component.
//!
//! Promise: what is returned is what the manifest names, and that is what was asked for, where a digest was; by their SHA-256.
//! A password goes to the registry that it is for, or to the server of tokens that this one names, and to nobody else.
//! Bounds: the size of everything that is read, the time for all of it, how often it is sent elsewhere. Not here: what the
//! bytes are, and whether anybody vouches for them.

mod artifact;
mod credentials;
mod exchange;
mod reference;
mod registry;

use std::{sync::Arc, time::Duration};

use marquee_registry::Digest;
use rustls::ClientConfig;

pub use self::{
    artifact::NotAComponent,
    credentials::{Credentials, CredentialsError},
    reference::{NotAReference, Reference, SCHEME},
    registry::Error,
};

/// How registries are asked.
#[derive(Debug, Clone)]
pub struct Access {
    /// Over TLS so.
    pub tls: Arc<ClientConfig>,
    /// Whether in plain text, instead.
    pub plain: bool,
    /// As whom.
    pub credentials: Credentials,
    /// The largest component that is taken, in bytes.
    pub most_bytes: u64,
    /// The time for all of it.
    pub patience: Duration,
}

/// What a reference led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The component's bytes.
    pub bytes: Vec<u8>,
    /// The manifest's, by which it is found again whatever becomes of a tag.
    pub manifest: Digest,
    /// The annotation `marquee.signature` of the manifest or of the component's layer: who vouches for the bytes.
    pub signature: Option<String>,
}

/// Get the component.
pub async fn pull(reference: &Reference, access: &Access) -> Result<Pulled, Error> {
    let pulling = registry::Registry::new(reference, access).pull();
    match tokio::time::timeout(access.patience, pulling).await {
        Ok(result) => result,
        Err(_) => Err(Error::Unreachable {
            at: reference.registry().to_owned(),
            source: std::io::ErrorKind::TimedOut.into(),
        }),
    }
}
