//! What OpenTelemetry's standard variables say. Not here: where they are read from.

use std::{str::FromStr, time::Duration};

use percent_encoding::percent_decode_str;
use url::Url;

use super::Sampling;

/// Where spans go, and as whose.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Whose spans they are: `service.name`.
    pub service: String,
    /// What else is known of it, by the names of OpenTelemetry's resources.
    pub attributes: Vec<(String, String)>,
    /// The collector. None: there is none.
    pub export: Option<Export>,
}

/// A collector.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// Where it is; over HTTP with the path of traces.
    pub endpoint: Url,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What it is told with each request; may be secrets.
    pub headers: Vec<(String, String)>,
    /// A request's time.
    pub timeout: Duration,
    /// Which traces it gets.
    pub sampling: Sampling,
    /// What waits for it.
    pub queue: Queue,
}

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP in HTTP/1.1, as protobuf.
    Http,
    /// OTLP in gRPC.
    Grpc,
}

/// What waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// So many spans; more are dropped.
    pub spans: usize,
    /// So many go together.
    pub batch: usize,
    /// As long as a span waits for others.
    pub delay: Duration,
    /// As long as a batch is tried to be sent.
    pub patience: Duration,
}

/// A variable that says nothing that can be done.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{variable} is {value:?}, and has to be {what}")]
pub struct SettingsError {
    variable: String,
    value: String,
    what: &'static str,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            spans: 2_048,
            batch: 512,
            delay: Duration::from_secs(5),
            patience: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// What they say, each asked for by its name; an empty one counts as none. `service` is whose spans they are where
    /// none of them says it.
    pub fn parse(
        service: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let asked = Asked(|name: &str| variable(name).filter(|value| !value.is_empty()));
        let mut attributes = asked.pairs("OTEL_RESOURCE_ATTRIBUTES")?;
        let named = attributes.iter().position(|(name, _)| name == SERVICE);
        let named = named.map(|place| attributes.remove(place).1);
        let name = asked.text("OTEL_SERVICE_NAME").or(named);
        Ok(Self {
            service: name.unwrap_or_else(|| service.to_owned()),
            attributes,
            export: asked.export()?,
        })
    }
}

/// The variables.
struct Asked<F>(F);

impl<F: Fn(&str) -> Option<String>> Asked<F> {
    fn export(&self) -> Result<Option<Export>, SettingsError> {
        let is_disabled = self.one("OTEL_SDK_DISABLED", "true or false", |text| match text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })?;
        let goes = self.one("OTEL_TRACES_EXPORTER", "otlp or none", |text| match text {
            "otlp" => Some(true),
            "none" => Some(false),
            _ => None,
        })?;
        if is_disabled == Some(true) || goes == Some(false) {
            return Ok(None);
        }
        let (protocol, _) =
            self.of_traces("PROTOCOL", "http/protobuf or grpc", |text| match text {
                "http/protobuf" => Some(Protocol::Http),
                "grpc" => Some(Protocol::Grpc),
                _ => None,
            })?;
        let protocol = protocol.unwrap_or(Protocol::Http);
        let address = "an address such as http://127.0.0.1:4318";
        let (endpoint, is_of_traces) = self.of_traces("ENDPOINT", address, address_of)?;
        let Some(mut endpoint) = endpoint else {
            return Ok(None);
        };
        if protocol == Protocol::Http && !is_of_traces {
            let path = endpoint.path().trim_end_matches('/').to_owned();
            endpoint.set_path(&format!("{path}/v1/traces"));
        }
        for what in ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"] {
            let unset = "unset: whom the system trusts is trusted, and no certificate is shown";
            self.of_traces(what, unset, |_| None::<()>)?;
        }
        self.of_traces("COMPRESSION", "none", |text| (text == "none").then_some(()))?;
        let (timeout, _) = self.of_traces("TIMEOUT", MILLISECONDS, milliseconds)?;
        Ok(Some(Export {
            endpoint,
            protocol,
            headers: match self.pairs("OTEL_EXPORTER_OTLP_TRACES_HEADERS")? {
                own if !own.is_empty() => own,
                _ => self.pairs("OTEL_EXPORTER_OTLP_HEADERS")?,
            },
            timeout: timeout.unwrap_or(TIMEOUT),
            sampling: self.sampling()?,
            queue: self.queue()?,
        }))
    }

    fn sampling(&self) -> Result<Sampling, SettingsError> {
        let ratio = self.one("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1", |text| {
            let ratio = text.parse::<f64>().ok();
            ratio.filter(|ratio| (0.0..=1.0).contains(ratio))
        });
        let samplers = "always_on, always_off, traceidratio or one of these behind parentbased_";
        let sampler = self.one("OTEL_TRACES_SAMPLER", samplers, |text| {
            let (by_parent, root) = match text.strip_prefix("parentbased_") {
                Some(root) => (true, root),
                None => (false, text),
            };
            match root {
                "always_on" => Some((by_parent, Some(1.0))),
                "always_off" => Some((by_parent, Some(0.0))),
                "traceidratio" => Some((by_parent, None)),
                _ => None,
            }
        })?;
        let (by_parent, fixed) = sampler.unwrap_or((true, Some(1.0)));
        let ratio = match fixed {
            Some(ratio) => ratio,
            None => ratio?.unwrap_or(1.0),
        };
        Ok(Sampling { by_parent, ratio })
    }

    fn queue(&self) -> Result<Queue, SettingsError> {
        let usual = Queue::default();
        let number = |text: &str| {
            text.parse()
                .ok()
                .filter(|number| (1..=MOST).contains(number))
        };
        let what = "a number from 1 to 1000000";
        let spans = self.one("OTEL_BSP_MAX_QUEUE_SIZE", what, number)?;
        let batch = self.one("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", what, number)?;
        let delay = self.one("OTEL_BSP_SCHEDULE_DELAY", MILLISECONDS, milliseconds)?;
        let patience = self.one("OTEL_BSP_EXPORT_TIMEOUT", MILLISECONDS, milliseconds)?;
        let spans = spans.unwrap_or(usual.spans);
        Ok(Queue {
            spans,
            batch: batch.unwrap_or(usual.batch).min(spans),
            delay: delay.unwrap_or(usual.delay),
            patience: patience.unwrap_or(usual.patience),
        })
    }

    /// What a variable of OTLP says of traces, or else of all; and whether it was of traces.
    fn of_traces<T>(
        &self,
        name: &str,
        what: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<(Option<T>, bool), SettingsError> {
        let own = format!("OTEL_EXPORTER_OTLP_TRACES_{name}");
        if let Some(value) = self.one(&own, what, &read)? {
            return Ok((Some(value), true));
        }
        let all = format!("OTEL_EXPORTER_OTLP_{name}");
        Ok((self.one(&all, what, read)?, false))
    }

    /// `name=value`, with commas between them; what else stands in a value is percent-encoded.
    fn pairs(&self, variable: &str) -> Result<Vec<(String, String)>, SettingsError> {
        // It may be a secret.
        let shown = |_: &str| "...".to_owned();
        let Some(text) = self.text(variable) else {
            return Ok(Vec::new());
        };
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let name = Some(name.trim()).filter(|name| !name.is_empty())?;
            Some((name.to_owned(), value.into_owned()))
        };
        let pairs = text.split(',').filter(|text| !text.trim().is_empty());
        pairs
            .map(pair)
            .collect::<Option<_>>()
            .ok_or_else(|| SettingsError {
                variable: variable.to_owned(),
                value: shown(&text),
                what: "pairs such as a=1,b=2, with what else is in a value percent-encoded",
            })
    }

    fn one<T>(
        &self,
        variable: &str,
        what: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.text(variable) else {
            return Ok(None);
        };
        match read(value.trim()) {
            Some(read) => Ok(Some(read)),
            None => Err(SettingsError {
                variable: variable.to_owned(),
                value,
                what,
            }),
        }
    }

    fn text(&self, variable: &str) -> Option<String> {
        (self.0)(variable)
    }
}

fn address_of(text: &str) -> Option<Url> {
    let url = Url::from_str(text).ok()?;
    let speaks = matches!(url.scheme(), "http" | "https") && url.has_host();
    speaks.then_some(url)
}

fn milliseconds(text: &str) -> Option<Duration> {
    let milliseconds = text
        .parse()
        .ok()
        .filter(|number| (1..=LONGEST_MS).contains(number))?;
    Some(Duration::from_millis(milliseconds))
}

const SERVICE: &str = "service.name";
const MILLISECONDS: &str = "milliseconds, 1 to 3600000";
/// Nobody waits longer for a collector.
const LONGEST_MS: u64 = 3_600_000;
/// A gigabyte of spans.
const MOST: usize = 1_000_000;
/// As the specification has it.
const TIMEOUT: Duration = Duration::from_secs(10);
