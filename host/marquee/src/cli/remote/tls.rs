//! TLS to a host's admin listener: whom the command line trusts, and what it shows of itself.
//!
//! Promise: the host's certificate is for the name or address in the URL, and signed by one that is trusted. Not here: what the
//! host makes of a certificate that it is shown.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::{Host, Url};

use crate::settings::Settings;

/// The files, on the command line.
#[derive(Debug, Clone, Args)]
pub(super) struct TlsFlags {
    /// Who signs the certificate of a host that is asked over https://, in PEM [default: whom this system trusts]
    #[arg(long, value_name = "FILE", global = true)]
    admin_ca: Option<PathBuf>,
    /// The certificate to show it, in PEM, where it knows its operators by theirs
    #[arg(long, value_name = "FILE", global = true)]
    admin_cert: Option<PathBuf>,
    /// Its key, in PEM
    #[arg(long, value_name = "FILE", global = true)]
    admin_key: Option<PathBuf>,
}

/// How a host is asked over TLS.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsFlags {
    /// What they, or else the environment, say of the host at `url`. None: it is asked in plain text.
    pub(super) fn decide(
        &self,
        settings: &Settings,
        url: Option<&Url>,
    ) -> anyhow::Result<Option<Tls>> {
        let Some(url) = url.filter(|url| url.scheme() == "https") else {
            let given = [&self.admin_ca, &self.admin_cert, &self.admin_key];
            ensure!(
                given.iter().all(|flag| flag.is_none()),
                "--admin-ca, --admin-cert and --admin-key are for a host that is asked over https:// (--admin or MARQUEE_ADMIN)"
            );
            return Ok(None);
        };
        let path = |flag: &Option<PathBuf>, name| {
            let set = settings.in_environment(name);
            { flag.clone() }.or_else(|| set.map(|set| PathBuf::from(set.value)))
        };
        let ca = path(&self.admin_ca, "MARQUEE_ADMIN_CA");
        let own = match (
            path(&self.admin_cert, "MARQUEE_ADMIN_CERT"),
            path(&self.admin_key, "MARQUEE_ADMIN_KEY"),
        ) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => bail!(
                "a certificate is shown together with its key: --admin-cert and --admin-key, or MARQUEE_ADMIN_CERT and MARQUEE_ADMIN_KEY"
            ),
        };
        let config = config(ca.as_deref(), own.as_ref())?;
        let connector = TlsConnector::from(Arc::new(config));
        let name = name(url)?;
        Ok(Some(Tls { connector, name }))
    }
}

impl Tls {
    pub(super) async fn connect(&self, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
        let connected = self.connector.connect(self.name.clone(), stream).await;
        connected
            .context("there is no TLS with the host; --admin-ca names who signs its certificate")
    }
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
                "this system trusts no certificate; name who signs the host's with --admin-ca"
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
