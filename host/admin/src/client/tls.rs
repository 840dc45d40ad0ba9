//! TLS to a host's admin listener: whom an operator trusts, and what is shown of them.
//!
//! Promise: the host's certificate is for the name or address in the URL, and signed by one that is trusted. Not here: what the
//! host makes of a certificate that it is shown.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::{Host, Url};

/// How a host is asked over TLS.
pub struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// With the host at a URL. `ca` has who signs its certificate, by default whom this system trusts; `own` is the
    /// certificate that it is shown, with its key. All of them are files in PEM.
    ///
    /// # Errors
    /// A file cannot be used, or the host's name can be in no certificate.
    pub fn new(
        url: &Url,
        ca: Option<&Path>,
        own: Option<&(PathBuf, PathBuf)>,
    ) -> anyhow::Result<Self> {
        let config = config(ca, own)?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name: name(url)?,
        })
    }

    pub(crate) async fn connect(&self, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
        let connected = self.connector.connect(self.name.clone(), stream).await;
        connected
            .context("there is no TLS with the host; --admin-ca names who signs its certificate")
    }
}

/// Whoever shows a certificate by one who signs in this file, or whom the system trusts.
pub fn trusting(ca: Option<&Path>) -> anyhow::Result<Arc<ClientConfig>> {
    config(ca, None).map(Arc::new)
}

fn config(ca: Option<&Path>, own: Option<&(PathBuf, PathBuf)>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates(path)? {
                { roots.add(certificate) }.with_context(|| unusable(path))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            ensure!(
                !roots.is_empty(),
                "this system trusts no certificate; name who signs the other's with --admin-ca or --registry-ca"
            );
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let Some((certificate, key)) = own else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate)?;
    let read = PrivateKeyDer::from_pem_file(key).with_context(|| unusable(key))?;
    let both = || {
        format!(
            "{} and {} cannot be used together",
            certificate.display(),
            key.display()
        )
    };
    { builder.with_client_auth_cert(chain, read) }.with_context(both)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.with_context(|| unusable(path))?;
    ensure!(
        !found.is_empty(),
        "{} has no certificate in PEM",
        path.display()
    );
    Ok(found)
}

fn unusable(path: &Path) -> String {
    format!("{} cannot be used", path.display())
}

/// Whom the certificate has to name.
fn name(url: &Url) -> anyhow::Result<ServerName<'static>> {
    match url.host() {
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned())
            .with_context(|| format!("{name} can be in no certificate")),
        Some(Host::Ipv4(address)) => Ok(ServerName::IpAddress(address.into())),
        Some(Host::Ipv6(address)) => Ok(ServerName::IpAddress(address.into())),
        None => bail!("{url} names no host"),
    }
}
