//! How a call enters a version: as what the version was chosen, and the span of the call.

use std::sync::Arc;

use marquee_registry::{Choice, Live};
use marquee_telemetry::traces::{Span, SpanKind, names};

use crate::{
    Call, CallError, Prepared,
    client::ClientTime,
    instance::Job,
    pool::{Pool, Running},
};

/// A version that a call gets. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) version: Arc<Pool>,
    /// Among which it was chosen. None: it was asked for by itself.
    live: Option<Arc<Live<Prepared>>>,
}

impl Entry {
    /// The one that this choice gets.
    pub(crate) fn chosen(live: Arc<Live<Prepared>>, choice: &Choice) -> Self {
        Self {
            version: Arc::clone(&live.choose(choice).payload.0),
            live: Some(live),
        }
    }

    /// This one.
    pub(crate) fn of(version: Arc<Pool>) -> Self {
        Self {
            version,
            live: None,
        }
    }

    /// Start a call. `what` names it among the calls of the component; `client` says how long it waits for whoever asked,
    /// where somebody outside did.
    pub(crate) async fn start(
        &self,
        mut call: Call,
        client: Option<Arc<ClientTime>>,
        what: impl FnOnce() -> String,
        job: Job,
    ) -> Result<Running, CallError> {
        let component = &self.version.component.spec.id;
        let name = || format!("{component} {}", what());
        let mut span = call.trace.span(SpanKind::Internal, name);
        if span.is_recorded() {
            self.describe(&call, &mut span);
            call.trace = span.trace().clone();
        }
        self.version.start(call, client, span, job).await
    }

    fn describe(&self, call: &Call, span: &mut Span) {
        let component = &self.version.component;
        let version = component.version;
        span.set(names::COMPONENT, component.spec.id.to_string());
        span.set(names::VERSION, version.to_string());
        span.set(names::REQUEST_ID, call.request_id.to_string());
        let Some(live) = &self.live else { return };
        let is_stable = live.stable.digest == version;
        span.set(names::ROLE, if is_stable { "stable" } else { "canary" });
        // The first by name, so that it is the same each time.
        let labels = live.labels.iter().filter(|(_, digest)| **digest == version);
        if let Some(label) = labels.map(|(label, _)| label).min() {
            span.set(names::LABEL, label.clone());
        }
    }
}
