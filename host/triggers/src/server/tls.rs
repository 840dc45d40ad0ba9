//! TLS of a listener: certificates from files, read again when they change.
//!
//! Promise: a change that cannot be used is an error in the log, and the certificates before it go on. Where certificates of
//! clients are asked for, one that is shown must be good; who shows none is nobody yet.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use marquee_registry::Digest;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::listener::{Spoken, Stream};

/// The files, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and those that lead from it to one that clients know.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs the certificates of clients.
    pub clients: Option<PathBuf>,
}

/// What a listener shows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tls {
    files: Arc<Files>,
    current: Arc<ArcSwap<ServerConfig>>,
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has not what it should.
    #[error("{path} cannot be used: {reason}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// They do not fit each other.
    #[error("certificate and key cannot be used together: {0}")]
    Together(#[from] rustls::Error),
}

impl Tls {
    /// Read the files.
    pub fn read(files: Files) -> Result<Self, TlsError> {
        let current = Arc::new(ArcSwap::new(config(&files)?));
        let files = Arc::new(files);
        Ok(Self { files, current })
    }

    /// Look from time to time whether the files have changed, until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        let mut known = self.content().await;
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_some()
        {
            let found = self.content().await;
            if found == known {
                continue;
            }
            known = found;
            let path = self.files.certificate.display();
            match config(&self.files) {
                Ok(config) => {
                    self.current.store(config);
                    tracing::info!("the certificate {path} has changed and is used");
                }
                Err(error) => tracing::error!(
                    %error, "the certificate {path} has changed and cannot be used; the one before goes on"
                ),
            }
        }
    }

    /// The stream, the client's certificate, and what both agreed to speak.
    pub(super) async fn accept(
        &self,
        stream: Stream,
    ) -> io::Result<(Stream, Option<Digest>, Spoken)> {
        let acceptor = TlsAcceptor::from(self.current.load_full());
        let stream = acceptor.accept(stream).await?;
        let spoken = match stream.get_ref().1.alpn_protocol() {
            Some(H2) => Spoken::Http2,
            Some(_) => Spoken::Http1,
            None => Spoken::Either,
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let certificate = certificates.and_then(<[_]>::first);
        let certificate = certificate.map(|certificate| Digest::of(certificate));
        Ok((Box::new(stream), certificate, spoken))
    }

    /// None of what is not there now: whoever changes files may do it in two steps.
    async fn content(&self) -> Vec<Option<Vec<u8>>> {
        let files = [&self.files.certificate, &self.files.key].into_iter();
        let mut content = Vec::new();
        for path in files.chain(&self.files.clients) {
            content.push(tokio::fs::read(path).await.ok());
        }
        content
    }
}

fn config(files: &Files) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &files.clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| bad(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                // Health is for all.
                .allow_unauthenticated()
                .build()
                .map_err(|error| bad(path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| bad(&files.key, &error))?;
    let mut config = builder.with_single_cert(certificates(&files.certificate)?, key)?;
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(found) if Vec::is_empty(&found) => Err(bad(path, &"it has no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(bad(path, &error)),
    }
}

fn bad(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// HTTP/2, as clients ask for it.
const H2: &[u8] = b"h2";
/// Soon enough for a certificate that ends.
const LOOK: Duration = Duration::from_secs(5);
