//! TLS for PostgreSQL through rustls, where the URL asks for it.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A connector that trusts the certificates in `root_file`, or the system's where there is none.
pub(crate) fn connector(root_file: Option<&str>) -> Result<MakeRustlsConnect, String> {
    let mut roots = RootCertStore::empty();
    match root_file {
        Some(path) => {
            let certificates = CertificateDer::pem_file_iter(path)
                .map_err(|error| format!("sslrootcert {path} cannot be read: {error}"))?;
            for certificate in certificates {
                let certificate = certificate
                    .map_err(|error| format!("sslrootcert {path} is not PEM: {error}"))?;
                roots.add(certificate).map_err(|error| {
                    format!("sslrootcert {path} has a bad certificate: {error}")
                })?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err("TLS is asked for but there is no certificate to trust; \
                    name one with sslrootcert=FILE"
            .to_owned());
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
