//! The SDK, set up: where spans go, by which protocol, as whose.

use std::{collections::HashMap, io, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::{InstrumentationScope, KeyValue, trace::TracerProvider as _};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
    WithTonicConfig as _,
    tonic_types::{metadata::MetadataMap, transport::ClientTlsConfig},
};
use opentelemetry_sdk::{
    Resource,
    resource::TelemetryResourceDetector,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, SpanProcessor},
};

use super::{
    Export, Protocol, Settings,
    queue::{Beside, Counted, Gate, Tally},
    sampler::Rule,
};

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings do not go together.
    #[error("the exporter of traces cannot be made")]
    Exporter(#[from] ExporterBuildError),
    /// Nobody can vouch for a collector.
    #[error("the certificates that the system trusts cannot be read")]
    Roots(#[source] io::Error),
    /// No header can have that name or value. The value, which may be a secret, is not repeated.
    #[error("header {0:?} for the collector cannot be sent; see OTEL_EXPORTER_OTLP_HEADERS")]
    Header(String),
}

/// All that becomes of spans, set up.
pub(super) fn provider(
    settings: &Settings,
    also: Vec<Box<dyn SpanProcessor>>,
    tally: &Arc<Tally>,
) -> Result<SdkTracerProvider, StartError> {
    let export = settings.export.as_ref();
    let rule = Rule::new(export.map(|export| export.sampling), !also.is_empty());
    let mut builder = SdkTracerProvider::builder()
        .with_sampler(rule)
        .with_max_links_per_span(LINKS)
        .with_resource(resource(settings));
    if let Some(export) = export {
        builder = builder.with_span_processor(gate(export, tally)?);
    }
    for other in also {
        builder = builder.with_span_processor(Beside(other));
    }
    Ok(builder.build())
}

/// What makes spans, under the host's name.
pub(super) fn tracer(provider: &SdkTracerProvider) -> SdkTracer {
    let scope = InstrumentationScope::builder("marquee").with_version(env!("CARGO_PKG_VERSION"));
    provider.tracer_with_scope(scope.build())
}

fn resource(settings: &Settings) -> Resource {
    let attributes = settings.attributes.iter();
    let attributes = attributes.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes)
        .with_service_name(settings.service.clone())
        .build()
}

fn gate(export: &Export, tally: &Arc<Tally>) -> Result<Gate, StartError> {
    let exporter = match export.protocol {
        Protocol::Http => http(export)?,
        Protocol::Grpc => grpc(export)?,
    };
    let queue = &export.queue;
    let exporter = Counted::new(exporter, queue.patience, tally);
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(queue.spans)
        .with_max_export_batch_size(queue.batch)
        .with_scheduled_delay(queue.delay)
        .build();
    Ok(Gate {
        inner: BatchSpanProcessor::new(exporter, batches),
        places: queue.spans,
        tally: Arc::clone(tally),
    })
}

fn http(export: &Export) -> Result<SpanExporter, StartError> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
        .map_err(StartError::Roots)?
        .https_or_http()
        .enable_http1()
        .build();
    headers(export)?;
    let headers: HashMap<String, String> = export.headers.iter().cloned().collect();
    Ok(SpanExporter::builder()
        .with_http()
        .with_http_client(HyperClient::new(connector, export.timeout, None))
        .with_headers(headers)
        .with_endpoint(export.endpoint.as_str())
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_timeout(export.timeout)
        .build()?)
}

fn grpc(export: &Export) -> Result<SpanExporter, StartError> {
    let builder = SpanExporter::builder()
        .with_tonic()
        .with_metadata(MetadataMap::from_headers(headers(export)?))
        .with_endpoint(export.endpoint.as_str())
        .with_timeout(export.timeout);
    let builder = match export.endpoint.scheme() {
        "https" => builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots()),
        _ => builder,
    };
    Ok(builder.build()?)
}

/// Whether they can be sent at all: the exporter would leave out those that cannot.
fn headers(export: &Export) -> Result<HeaderMap, StartError> {
    let headers = export.headers.iter().map(|(name, value)| {
        let wrong = || StartError::Header(name.clone());
        let header = HeaderName::try_from(name).map_err(|_| wrong())?;
        let value = HeaderValue::try_from(value).map_err(|_| wrong())?;
        Ok((header, value))
    });
    headers.collect()
}

/// As many messages as a batch can have.
const LINKS: u32 = 1_000;
