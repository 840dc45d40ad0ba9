//! A collector, as small as can be: it takes traces by OTLP, over HTTP and by gRPC on one port, and keeps them.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinSet};
use tonic::codegen::Service as _;

/// It listens until it is dropped.
pub(super) struct Collector {
    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(super) url: String,
    kept: Kept,
    _serving: JoinSet<()>,
}

/// All that came.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Came>>);

#[derive(Default)]
struct Came {
    spans: Vec<Span>,
    services: Vec<String>,
    headers: Vec<String>,
}

type Body = UnsyncBoxBody<Bytes, tonic::Status>;

impl Collector {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let kept = Kept::default();
        let (mut serving, takes) = (JoinSet::new(), kept.clone());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let takes = takes.clone();
                connections.spawn(async move {
                    let answer = service_fn(|request| takes.clone().answer(request));
                    let served = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                    // A host that ends closes as it likes.
                    drop(served);
                });
            }
        });
        Self {
            url,
            kept,
            _serving: serving,
        }
    }

    /// The spans that came so far.
    pub(super) fn spans(&self) -> Vec<Span> {
        self.kept.0.lock().expect("no panic").spans.clone()
    }

    /// Whose they were.
    pub(super) fn services(&self) -> Vec<String> {
        self.kept.0.lock().expect("no panic").services.clone()
    }

    /// The values of header `tenant` that they came with.
    pub(super) fn tenants(&self) -> Vec<String> {
        self.kept.0.lock().expect("no panic").headers.clone()
    }
}

impl Kept {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let tenant = request.headers().get("tenant");
        let tenant = tenant.and_then(|tenant| tenant.to_str().ok());
        let tenant = tenant.unwrap_or("nobody").to_owned();
        self.0.lock().expect("no panic").headers.push(tenant);
        let kind = request.headers().get(header::CONTENT_TYPE);
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
            let mut service = TraceServiceServer::new(self.clone());
            let answered = service.call(request).await;
            return answered.map(|answer| answer.map(|body| body.boxed_unsync()));
        }
        assert_eq!(request.uri().path(), "/v1/traces");
        let body = request.into_body().collect().await.expect("a whole body");
        let taken = ExportTraceServiceRequest::decode(body.to_bytes()).expect("protobuf");
        self.take(taken);
        let answer = ExportTraceServiceResponse::default().encode_to_vec();
        let body = Full::new(Bytes::from(answer)).map_err(|never| match never {});
        Ok(Response::new(body.boxed_unsync()))
    }

    fn take(&self, taken: ExportTraceServiceRequest) {
        let mut came = self.0.lock().expect("no panic");
        for resource in taken.resource_spans {
            let attributes = resource.resource.into_iter().flat_map(|it| it.attributes);
            let mut attributes = attributes.map(|pair| (pair.key, super::text(pair.value)));
            let service = attributes.find(|(name, _)| name == "service.name");
            came.services.extend(service.map(|(_, value)| value));
            let spans = resource.scope_spans.into_iter().flat_map(|it| it.spans);
            came.spans.extend(spans);
        }
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.take(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}
