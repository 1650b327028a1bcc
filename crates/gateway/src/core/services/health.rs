//! Health checks of a Service's endpoints, by annotations of a Service or an Ingress:
//! `atoll.dev/health-probe` says what is asked, others say how.

use super::written::{PREFIX, Written};
use crate::core::{checks::Wanted, config::HealthCheck};

/// Those that are read together with `health-probe`.
pub(super) const BESIDE: [&str; 7] = [
    "health-path",
    "health-host",
    "health-service",
    "health-interval-ms",
    "health-timeout-ms",
    "health-healthy-after",
    "health-unhealthy-after",
];

impl Written<'_> {
    /// What is asked for, where `health-probe` is this.
    pub(super) fn health(&self, probe: &str) -> Result<Option<HealthCheck>, String> {
        if probe == "none" {
            return Ok(None);
        }
        let wanted = Wanted {
            probe,
            path: self.other("health-path"),
            host: self.other("health-host"),
            service: self.other("health-service"),
            interval_ms: self.number("health-interval-ms")?,
            timeout_ms: self.number("health-timeout-ms")?,
            healthy_after: self.number("health-healthy-after")?,
            unhealthy_after: self.number("health-unhealthy-after")?,
        };
        let told = |(field, problem): (&str, String)| match field {
            "probe" => format!("{problem}, none"),
            field => format!("{PREFIX}health-{}: {problem}", field.replace('_', "-")),
        };
        wanted.check().map(Some).map_err(told)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let told = || format!("{PREFIX}{name}: it is a number");
        let number = self.other(name).map(|it| it.parse().map_err(|_| told()));
        number.transpose()
    }
}
