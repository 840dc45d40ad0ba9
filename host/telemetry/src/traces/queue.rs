//! What waits to be sent: a bounded queue before the SDK's, since that one does not say what it drops.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::runtime::Handle;

/// What became of spans.
#[derive(Debug, Default)]
pub(super) struct Tally {
    waiting: AtomicUsize,
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    /// By the names of what came of them.
    pub(super) fn read(&self) -> [(&'static str, u64); 3] {
        [
            ("exported", self.exported.load(Ordering::Relaxed)),
            ("failed", self.failed.load(Ordering::Relaxed)),
            ("dropped", self.dropped.load(Ordering::Relaxed)),
        ]
    }
}

/// Lets so many spans wait.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) inner: BatchSpanProcessor,
    pub(super) places: usize,
    pub(super) tally: Arc<Tally>,
}

impl SpanProcessor for Gate {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let waiting = self.tally.waiting.fetch_add(1, Ordering::Relaxed);
        if waiting >= self.places {
            self.tally.waiting.fetch_sub(1, Ordering::Relaxed);
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Sends spans in the async runtime, and counts them. The SDK's own thread only waits.
#[derive(Debug)]
pub(super) struct Counted<E> {
    inner: Arc<E>,
    runtime: Handle,
    patience: Duration,
    tally: Arc<Tally>,
    /// The last ones were not taken.
    fails: AtomicBool,
}

impl<E: SpanExporter> Counted<E> {
    /// To be made within the async runtime. A batch that has not been taken after `patience` never will be.
    pub(super) fn new(inner: E, patience: Duration, tally: &Arc<Tally>) -> Self {
        Self {
            inner: Arc::new(inner),
            runtime: Handle::current(),
            patience,
            tally: Arc::clone(tally),
            fails: AtomicBool::new(false),
        }
    }

    /// Said when it begins and when it is over.
    fn tell(&self, result: &OTelSdkResult) {
        let failed = self.fails.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !failed => tracing::warn!(
                %error,
                "spans cannot be sent to the collector, and are lost until they can; see OTEL_EXPORTER_OTLP_ENDPOINT"
            ),
            Ok(()) if failed => tracing::info!("spans are sent to the collector again"),
            _ => {}
        }
    }
}

impl<E: SpanExporter + 'static> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.tally.waiting.fetch_sub(spans, Ordering::Relaxed);
        let (inner, patience) = (Arc::clone(&self.inner), self.patience);
        let sent = self.runtime.spawn(async move {
            let sent = tokio::time::timeout(patience, inner.export(batch)).await;
            sent.unwrap_or(Err(OTelSdkError::Timeout(patience)))
        });
        let result = sent.await.unwrap_or_else(|_| {
            let ends = "the host ends".to_owned();
            Err(OTelSdkError::InternalFailure(ends))
        });
        let count = match result {
            Ok(()) => &self.tally.exported,
            Err(_) => &self.tally.failed,
        };
        count.fetch_add(u64::try_from(spans).unwrap_or(0), Ordering::Relaxed);
        self.tell(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        // It is told before anything is sent, when nobody else has it.
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.set_resource(resource);
        }
    }
}

/// One more that is told of all spans.
#[derive(Debug)]
pub(super) struct Beside(pub(super) Box<dyn SpanProcessor>);

impl SpanProcessor for Beside {
    fn on_start(&self, span: &mut Span, within: &Context) {
        self.0.on_start(span, within);
    }

    fn on_end(&self, span: SpanData) {
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
