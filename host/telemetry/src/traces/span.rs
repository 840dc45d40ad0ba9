//! A part of work, from its beginning to its end.

use std::{borrow::Cow, sync::Arc};

use opentelemetry::{
    KeyValue, Value,
    trace::{Span as _, Status},
};
use opentelemetry_sdk::trace::Span as Recorded;

use super::{By, Recorder, Trace, names};

/// A part of work. Dropped, it ends. The default is of no trace.
#[derive(Default)]
pub struct Span {
    /// None: nobody keeps it.
    open: Option<Box<Recorded>>,
    trace: Trace,
}

impl Span {
    /// None: what is done belongs where it did.
    pub fn none(trace: Trace) -> Self {
        Self { open: None, trace }
    }

    pub(super) fn of(span: Recorded, parent: &Trace, recorder: &Arc<Recorder>) -> Self {
        if span.is_recording() {
            let trace = Trace::at(span.span_context().clone(), By::Us(Arc::clone(recorder)));
            return Self {
                open: Some(Box::new(span)),
                trace,
            };
        }
        // What nobody keeps is passed on as it came; what began here is passed on as not sampled.
        if parent.context().is_some() || !span.span_context().is_valid() {
            return Self::none(parent.clone());
        }
        Self::none(Trace::at(span.span_context().clone(), By::Nobody))
    }

    /// The place of what is done in it.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Whether it is kept. Where it is not, nothing need be found out for it.
    pub fn is_recorded(&self) -> bool {
        self.open.is_some()
    }

    /// It has another name: one of few, since traces are sorted by it.
    pub fn rename(&mut self, name: String) {
        if let Some(span) = &mut self.open {
            span.update_name(name);
        }
    }

    /// It has this attribute; [`names`] has their names. Texts are cut at 2 KiB.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.open {
            span.set_attribute(KeyValue::new(name, shortened(value.into())));
        }
    }

    /// It failed: of what kind, from a small set, and how.
    pub fn fail(&mut self, kind: impl Into<Value>, how: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.open {
            span.set_attribute(KeyValue::new(names::ERROR_TYPE, kind.into()));
            span.set_status(Status::error(how));
        }
    }

    /// Something else that it has to do with.
    pub fn link(&mut self, trace: &Trace) {
        if let (Some(span), Some(context)) = (&mut self.open, trace.context()) {
            span.add_link(context.clone(), Vec::new());
        }
    }
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Span")
            .field("trace", &self.trace)
            .field("is_recorded", &self.is_recorded())
            .finish()
    }
}

fn shortened(value: Value) -> Value {
    match value {
        Value::String(text) if text.as_str().len() > TEXT_BYTES => {
            let text = text.as_str();
            let mut end = TEXT_BYTES;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Value::from(text.get(..end).unwrap_or_default().to_owned())
        }
        value => value,
    }
}

/// Of an attribute: what a person reads of a statement.
const TEXT_BYTES: usize = 2_048;
