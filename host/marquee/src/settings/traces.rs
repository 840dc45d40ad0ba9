//! Where traces go, as OpenTelemetry's standard variables say it.

use anyhow::Context as _;
use marquee_telemetry::traces;

use super::Settings;

impl Settings {
    /// What they say; `service` is whose traces they are where they do not say that.
    pub(crate) fn traces(&self, service: &str) -> anyhow::Result<traces::Settings> {
        let variable = |name: &str| self.environment.get(name).cloned();
        traces::Settings::parse(service, variable)
            .context("traces cannot be exported as the environment says")
    }
}
