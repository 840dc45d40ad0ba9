//! Lines for programs: each one JSON object of `docs/log.schema.json`.
//!
//! The fields of the spans that a line stands in are its own, the nearest span's and then the line's going first: what is about a
//! request has its `request_id` at one place, and no name is there twice. The library's own form has lists of spans.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_serde::fields::AsMap as _;
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// Formats a line. The fields of spans have to be formatted as JSON, too.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Map::new();
        let scope = context.event_scope();
        for span in scope.into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let Some(own) = extensions.get::<FormattedFields<N>>() else {
                continue;
            };
            if let Ok(Value::Object(own)) = serde_json::from_str(&own.fields) {
                fields.extend(own);
            }
        }
        if let Ok(Value::Object(own)) = serde_json::to_value(event.field_map()) {
            fields.extend(own);
        }
        // Of lines that come by way of the crate `log`: where they come from is told below.
        fields.retain(|name, _| !name.starts_with("log."));
        let message = fields.remove("message");
        let message = message.unwrap_or_else(|| Value::String(String::new()));
        let of_log = event.normalized_metadata();
        let metadata = of_log.as_ref().unwrap_or_else(|| event.metadata());

        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        let (level, target) = (metadata.level(), Value::from(metadata.target()));
        write!(
            writer,
            "\",\"level\":\"{level}\",\"target\":{target},\"message\":{message}"
        )?;
        for (name, value) in fields {
            if !OWN.contains(&name.as_str()) {
                write!(writer, ",{}:{value}", Value::String(name))?;
            }
        }
        writeln!(writer, "}}")
    }
}

/// What each line has anyway.
const OWN: [&str; 3] = ["timestamp", "level", "target"];

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::json;
    use tracing_subscriber::{fmt::format::JsonFields, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_the_fields_of_its_spans_and_each_name_once() {
        let page = Page::default();
        let writer = page.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .fmt_fields(JsonFields::new())
            .event_format(Json);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let _outer =
                tracing::info_span!("call", request_id = "r-1", component = "far").entered();
            let _inner = tracing::info_span!("call", component = "near", calls = 2).entered();
            tracing::warn!(target: "guest", component = "nearest", is_late = true, "it said \"no\"\n");
        });
        let written = page.0.lock().expect("no panic").clone();
        let text = String::from_utf8(written).expect("text");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert_eq!(text.matches("component").count(), 1, "{text}");
        let mut line: Value = serde_json::from_str(&text).expect("JSON");
        let time = line["timestamp"].take();
        let time = time.as_str().map(humantime::parse_rfc3339);
        assert!(matches!(time, Some(Ok(_))), "{text}");
        let expected = json!({
            "timestamp": null, "level": "WARN", "target": "guest", "message": "it said \"no\"\n",
            "request_id": "r-1", "component": "nearest", "calls": 2, "is_late": true,
        });
        assert_eq!(line, expected);
    }
}
