//! Health checks as people write them, in `gateway.toml` and in annotations.

use super::config::{HealthCheck, Probe};

/// The longest that anything is waited for: a day.
const MS_MAX: u64 = 24 * 3600 * 1000;
/// From one check to the next, at least.
const INTERVAL_MS_MIN: u64 = 10;
/// The most checks in a row that may be asked for.
const IN_A_ROW_MAX: u64 = 1_000;
/// The longest name of a service of gRPC.
const SERVICE_BYTES_MAX: usize = 100;

/// What is written; what is not has its default.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted<'a> {
    /// `tcp`, `http` or `grpc`.
    pub(super) probe: &'a str,
    pub(super) path: Option<&'a str>,
    pub(super) host: Option<&'a str>,
    pub(super) service: Option<&'a str>,
    pub(super) interval_ms: Option<u64>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) healthy_after: Option<u64>,
    pub(super) unhealthy_after: Option<u64>,
}

/// A field, and what is wrong with it.
pub(super) type Problem = (&'static str, String);

impl Wanted<'_> {
    /// The check that is meant.
    pub(super) fn check(&self) -> Result<HealthCheck, Problem> {
        let mut check = HealthCheck::new(self.probe()?);
        let in_range = |field, written: Option<u64>, default, least, most| {
            let number = written.unwrap_or(default);
            match (least..=most).contains(&number) {
                true => Ok(number),
                false => {
                    let problem = format!("it is {number}, and has to be {least} to {most}");
                    Err((field, problem))
                }
            }
        };
        let in_a_row = |field, written, default| {
            let number = in_range(field, written, u64::from(default), 1, IN_A_ROW_MAX)?;
            Ok(u32::try_from(number).expect("it is small"))
        };
        let (interval, timeout) = (check.interval_ms, check.timeout_ms);
        check.interval_ms = in_range(
            "interval_ms",
            self.interval_ms,
            interval,
            INTERVAL_MS_MIN,
            MS_MAX,
        )?;
        check.timeout_ms = in_range("timeout_ms", self.timeout_ms, timeout, 1, MS_MAX)?;
        check.healthy_after = in_a_row("healthy_after", self.healthy_after, check.healthy_after)?;
        check.unhealthy_after = in_a_row(
            "unhealthy_after",
            self.unhealthy_after,
            check.unhealthy_after,
        )?;
        Ok(check)
    }

    fn probe(&self) -> Result<Probe, Problem> {
        let of_http = [("path", self.path), ("host", self.host)];
        let of_grpc = [("service", self.service)];
        match self.probe {
            "tcp" => {
                only_for("http", &of_http)?;
                only_for("grpc", &of_grpc)?;
                Ok(Probe::Tcp)
            }
            "http" => {
                only_for("grpc", &of_grpc)?;
                self.http()
            }
            "grpc" => {
                only_for("http", &of_http)?;
                let service = self.service.unwrap_or_default().to_owned();
                if service.len() > SERVICE_BYTES_MAX {
                    let problem = format!("it has more than {SERVICE_BYTES_MAX} letters");
                    return Err(("service", problem));
                }
                Ok(Probe::Grpc { service })
            }
            _ => Err(("probe", "it is one of: tcp, http, grpc".to_owned())),
        }
    }

    fn http(&self) -> Result<Probe, Problem> {
        let path = self.path.unwrap_or("/");
        if !path.starts_with('/') || path.parse::<hyper::Uri>().is_err() {
            return Err(("path", "it is a path, and begins with /".to_owned()));
        }
        let host = self.host.map(str::to_owned);
        let is_field = |host: &String| hyper::header::HeaderValue::from_str(host).is_ok();
        if !host.as_ref().is_none_or(is_field) {
            return Err(("host", "it is no host".to_owned()));
        }
        Ok(Probe::Http {
            path: path.to_owned(),
            host,
        })
    }
}

fn only_for(probe: &str, fields: &[(&'static str, Option<&str>)]) -> Result<(), Problem> {
    match fields.iter().find(|(_, written)| written.is_some()) {
        Some((field, _)) => Err((field, format!("it is for {probe:?}; leave it out"))),
        None => Ok(()),
    }
}
