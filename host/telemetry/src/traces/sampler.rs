//! Which traces are kept: for the collector by the sampler that was chosen, for others by their own bound.

use std::{num::NonZeroU32, sync::Arc};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// Which traces go to the collector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Whether the word of whoever asked counts, where it came with the request.
    pub by_parent: bool,
    /// Of how many others, 0 to 1.
    pub ratio: f64,
}

/// Decides about each trace that begins or comes in. Spans within one of ours follow it.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// None: there is no collector.
    export: Option<Sampling>,
    /// None: nobody else is told.
    beside: Option<Arc<DefaultDirectRateLimiter>>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            by_parent: true,
            ratio: 1.0,
        }
    }
}

impl Sampling {
    /// `causes` are what it is linked to: they count as whoever asked does.
    fn takes(self, parent: Option<bool>, trace_id: TraceId, causes: &[Link]) -> bool {
        let root = || match self.ratio {
            ratio if ratio >= 1.0 => true,
            ratio if ratio <= 0.0 => false,
            ratio => by_ratio(ratio, trace_id),
        };
        match parent.filter(|_| self.by_parent) {
            Some(sampled) => sampled,
            None if self.by_parent => {
                causes.iter().any(|cause| cause.span_context.is_sampled()) || root()
            }
            None => root(),
        }
    }
}

/// As every other SDK decides about the same trace.
fn by_ratio(ratio: f64, trace_id: TraceId) -> bool {
    let sampler = Sampler::TraceIdRatioBased(ratio);
    let result = sampler.should_sample(None, trace_id, "", &SpanKind::Internal, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

impl Rule {
    pub(super) fn new(export: Option<Sampling>, is_told_beside: bool) -> Self {
        let rate = NonZeroU32::new(TRACES_A_SECOND).unwrap_or(NonZeroU32::MIN);
        let beside = is_told_beside.then(|| RateLimiter::direct(Quota::per_second(rate)));
        Self {
            export,
            beside: beside.map(Arc::new),
        }
    }

    fn decide(&self, parent: Option<bool>, trace_id: TraceId, causes: &[Link]) -> SamplingDecision {
        let sampled = self
            .export
            .is_some_and(|export| export.takes(parent, trace_id, causes));
        // Asked in any case: what is exported counts in the bound too.
        let told = self
            .beside
            .as_ref()
            .is_some_and(|rate| rate.check().is_ok());
        // Without a collector the word of whoever asked is passed on.
        let passed_on = self.export.is_none() && parent == Some(true);
        match (sampled, told) {
            (true, _) => SamplingDecision::RecordAndSample,
            (false, true) if passed_on => SamplingDecision::RecordAndSample,
            (false, true) => SamplingDecision::RecordOnly,
            (false, false) => SamplingDecision::Drop,
        }
    }
}

impl ShouldSample for Rule {
    fn should_sample(
        &self,
        within: Option<&Context>,
        trace_id: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        causes: &[Link],
    ) -> SamplingResult {
        let within = within.filter(|within| within.has_active_span());
        let (decision, trace_state) = match within {
            None => (self.decide(None, trace_id, causes), TraceState::default()),
            Some(within) => {
                let span = within.span();
                let parent = span.span_context();
                let sampled = parent.is_sampled();
                let decision = match (parent.is_remote(), sampled) {
                    (true, _) => self.decide(Some(sampled), trace_id, causes),
                    // Of ours only those come here that are recorded.
                    (false, true) => SamplingDecision::RecordAndSample,
                    (false, false) => SamplingDecision::RecordOnly,
                };
                (decision, parent.trace_state().clone())
            }
        };
        SamplingResult {
            decision,
            attributes: Vec::new(),
            trace_state,
        }
    }
}

/// Told to whoever listens beside a collector: enough to see what is slow, and under load a small part of the work.
pub const TRACES_A_SECOND: u32 = 50;
