//! Calls over TLS, as a client on another machine makes them.

use super::client::{ById, Metadata, SubmitMetadata, frame};
use crate::{
    api::UNKNOWN,
    host::Setup,
    http2::{Raw, Reply},
    tls::Own,
};

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_tls_are_answered_with_their_status_in_trailers() {
    let folder = tempfile::tempdir().expect("a folder");
    let shown = Own::new(folder.path(), "host");
    let setup = Setup::databases().await;
    let setup = setup
        .with("MARQUEE_TLS_CERTIFICATE", &shown.certificate)
        .with("MARQUEE_TLS_KEY", &shown.key);
    let host = setup.start().await;
    let mut raw = Raw::over_tls(host.address(), &shown.certificate).await;
    let url = |path: &str| format!("{}{path}", host.url);

    let metadata = Metadata {
        title: "Trafic".to_owned(),
        director: "Jacques Tati".to_owned(),
        ..Metadata::default()
    };
    let metadata = Some(metadata);
    let submit = frame(&SubmitMetadata { metadata });
    let submitted = raw
        .call(&url("/MetadataService/SubmitMetadata"), submit)
        .await;
    let told = |reply: &Reply| {
        let status = reply.trailers.get("grpc-status");
        status.and_then(|status| status.to_str().ok().map(str::to_owned))
    };
    assert_eq!(told(&submitted).as_deref(), Some("0"), "{submitted:?}");
    assert!(submitted.body.windows(6).any(|part| part == b"Trafic"));
    let movie_id = UNKNOWN.to_owned();
    let unknown = frame(&ById { movie_id });
    let unknown = raw
        .call(&url("/MovieService/GetMovieDetails"), unknown)
        .await;
    assert_eq!(told(&unknown).as_deref(), Some("5"), "{unknown:?}");
}
