//! librdkafka's own log lines and errors go to `tracing`.

use rdkafka::{
    ClientContext, Statistics, config::RDKafkaLogLevel, consumer::ConsumerContext,
    error::KafkaError,
};

/// The context of a client that has no other callbacks.
pub(super) struct Logging;

impl ConsumerContext for Logging {}

impl ClientContext for Logging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        warn(&error, reason);
    }
}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        // At each start of a client, of what is so on purpose: all clients are given all properties, and the guarantee
        // that nothing is left out is called experimental.
        _ if facility == "CONFWARN"
            && (message.contains("property and will be ignored")
                || message.contains("enable.gapless.guarantee")) =>
        {
            tracing::debug!(target: "librdkafka", facility, "{message}");
        }
        // A broker that is down is an error to librdkafka; here it is degraded and retried.
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

pub(super) fn warn(error: &KafkaError, reason: &str) {
    tracing::warn!(target: "librdkafka", %error, "{reason}");
}
