//! Backends of a file.

use atoll_world::pki::tls::{ShownCertificate, Trusted};

use super::{
    FileError, Read, Served, ServicePort,
    fields::{self, MS_MAX, ranges},
    protocol, written,
};
use crate::core::{
    checks::Wanted,
    config::{
        Backend, BackendTls, Cluster, ClusterLimits, Endpoint, HealthCheck, Hedge, OutlierPolicy,
        Policy, ProxyVersion, Rate, Retries, Timeouts, WEIGHT_MAX,
    },
    services::{backend_name, balancer, hash_key, service_name, with_cause},
};

/// Attempts after the first.
const ATTEMPTS_MAX: u64 = 10;

/// A backend as it is written.
pub(super) fn backend(
    name: &str,
    written: &written::Backend,
    read: &Read<'_>,
) -> Result<Served, FileError> {
    let table = format!("backends.{name}");
    check_timeouts(&table, &written.timeouts)?;
    check_retries(&table, &written.retries)?;
    check_cluster_limits(&table, &written.limits)?;
    if let Some(outliers) = &written.outliers {
        check_outliers(&table, outliers)?;
    }
    if let Some(after_ms) = written.hedge_after_ms {
        ranges(&table, &[("hedge_after_ms", after_ms, 1, MS_MAX)])?;
    }
    let endpoints = written.endpoints.iter().enumerate();
    let endpoints =
        endpoints.map(|(place, written)| endpoint(&format!("{table}.endpoints[{place}]"), written));
    let health = written.health.as_ref();
    let health = health.map(|it| health_check(&format!("{table}.health"), it));
    let field = format!("{table}.proxy_protocol");
    let version = match written.proxy_protocol {
        None => None,
        Some(1) => Some(ProxyVersion::V1),
        Some(2) => Some(ProxyVersion::V2),
        Some(_) => return Err(FileError::field(field, "it is 1 or 2")),
    };
    let service = written.service.as_deref();
    let service = service.map(|it| service_port(&format!("{table}.service"), it));
    let backend = match &written.protocol {
        None => None,
        Some(text) => Some(protocol(text).ok_or_else(|| {
            FileError::field(format!("{table}.protocol"), "it is \"http1\" or \"http2\"")
        })?),
    };
    let service = service.transpose()?;
    let tls = written.tls.as_ref();
    let tls = tls.map(|it| self::tls(&format!("{table}.tls"), it, service.as_ref(), read));
    Ok(Served {
        cluster: Cluster {
            endpoints: endpoints.collect::<Result<_, _>>()?,
            backend: backend.unwrap_or(Backend::Http1),
            tls: tls.transpose()?,
            policy: policy(&table, written)?,
            prefers_zone: written.prefers_zone,
            timeouts: written.timeouts.clone(),
            retries: written.retries.clone(),
            hedge: written.hedge_after_ms.map(|after_ms| Hedge { after_ms }),
            health: health.transpose()?,
            outliers: written.outliers.clone(),
            limits: written.limits.clone(),
            sends_proxy_header: version,
        },
        service,
        is_protocol_open: backend.is_none(),
    })
}

fn endpoint(table: &str, written: &written::Endpoint) -> Result<Endpoint, FileError> {
    let address = written.address.parse().map_err(|_| {
        let problem = "give it as ADDRESS:PORT, such as 10.0.0.1:80 or [::1]:80";
        FileError::field(format!("{table}.address"), problem)
    })?;
    let weight = u64::from(written.weight);
    ranges(table, &[("weight", weight, 0, u64::from(WEIGHT_MAX))])?;
    Ok(Endpoint {
        weight: written.weight,
        zone: written.zone.clone(),
        is_draining: written.draining,
        ..Endpoint::new(address)
    })
}

/// How endpoints are called under TLS.
fn tls(
    table: &str,
    written: &written::BackendTls,
    service: Option<&ServicePort>,
    read: &Read<'_>,
) -> Result<BackendTls, FileError> {
    let told = |field: &str, problem: String| FileError::field(format!("{table}.{field}"), problem);
    let trusted = match (written.ca.as_deref(), written.accepts_any_certificate) {
        (Some(_), true) => {
            let problem = "it holds against nothing beside accepts_any_certificate; leave one out";
            return Err(told("ca", problem.to_owned()));
        }
        (None, true) => Trusted::Anybody,
        (None | Some("system"), false) => Trusted::System,
        (Some(path), false) => {
            let pem = fields::text(&format!("{table}.ca"), path, read)?;
            let trusted = Trusted::from_pem(&pem);
            trusted.map_err(|error| told("ca", with_cause(&error)))?
        }
    };
    let shown = match (&written.cert, &written.key) {
        (None, None) => None,
        (Some(cert), Some(key)) => {
            let chain = fields::text(&format!("{table}.cert"), cert, read)?;
            let key = fields::text(&format!("{table}.key"), key, read)?;
            let shown = ShownCertificate::from_pem(&chain, &key);
            Some(shown.map_err(|error| FileError::field(table, with_cause(&error)))?)
        }
        _ => return Err(FileError::field(table, "cert and key go together")),
    };
    let server_name = written.server_name.as_deref().map(backend_name);
    let server_name = server_name.transpose();
    let server_name = server_name.map_err(|problem| told("server_name", problem))?;
    let own = service.map(|it| service_name(&it.namespace, &it.name));
    Ok(BackendTls {
        server_name: server_name.or(own),
        trusted,
        shown,
        wraps_tcp: true,
    })
}

fn policy(table: &str, written: &written::Backend) -> Result<Policy, FileError> {
    let told = |field: &str| {
        let field = format!("{table}.{field}");
        move |problem: String| FileError::field(field, problem)
    };
    match (&written.balancer, &written.affinity) {
        (Some(_), Some(_)) => {
            let problem = "it takes the place of balancer; leave out one of them".to_owned();
            Err(told("affinity")(problem))
        }
        (Some(text), None) => balancer(text).map_err(told("balancer")),
        (None, Some(text)) => {
            let key = hash_key(text).map_err(told("affinity"))?;
            Ok(Policy::Maglev(key))
        }
        (None, None) => Ok(Policy::LeastRequests),
    }
}

fn service_port(field: &str, text: &str) -> Result<ServicePort, FileError> {
    let parts = text.split_once('/').and_then(|(namespace, rest)| {
        let (name, port) = rest.split_once(':')?;
        Some((namespace, name, port))
    });
    let Some((namespace, name, port)) = parts else {
        let problem = "give it as NAMESPACE/NAME:PORT, such as default/web:80";
        return Err(FileError::field(field, problem));
    };
    Ok(ServicePort {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        port: port.to_owned(),
    })
}

fn health_check(table: &str, written: &written::Health) -> Result<HealthCheck, FileError> {
    let wanted = Wanted {
        probe: &written.probe,
        path: written.path.as_deref(),
        host: written.host.as_deref(),
        service: written.service.as_deref(),
        interval_ms: written.interval_ms,
        timeout_ms: written.timeout_ms,
        healthy_after: written.healthy_after.map(u64::from),
        unhealthy_after: written.unhealthy_after.map(u64::from),
    };
    let told = |(field, problem)| FileError::field(format!("{table}.{field}"), problem);
    wanted.check().map_err(told)
}

fn check_timeouts(table: &str, timeouts: &Timeouts) -> Result<(), FileError> {
    let numbers = [
        ("connect_ms", timeouts.connect_ms, 1, MS_MAX),
        ("response_ms", timeouts.response_ms, 1, MS_MAX),
        ("idle_ms", timeouts.idle_ms, 1, MS_MAX),
        ("pool_idle_ms", timeouts.pool_idle_ms, 0, MS_MAX),
    ];
    ranges(&format!("{table}.timeouts"), &numbers)
}

fn check_retries(table: &str, retries: &Retries) -> Result<(), FileError> {
    let table = format!("{table}.retries");
    let per_second = u64::from(retries.budget_per_second);
    let numbers = [
        (
            "attempts_max",
            u64::from(retries.attempts_max),
            0,
            ATTEMPTS_MAX,
        ),
        (
            "budget_percent",
            u64::from(retries.budget_percent),
            0,
            1_000,
        ),
        ("budget_per_second", per_second, 0, 1_000_000),
    ];
    ranges(&table, &numbers)?;
    let statuses = retries.statuses.iter();
    let statuses: Vec<_> = statuses
        .map(|status| ("statuses", u64::from(*status), 400, 599))
        .collect();
    ranges(&table, &statuses)
}

fn check_outliers(table: &str, outliers: &OutlierPolicy) -> Result<(), FileError> {
    let percent = u64::from(outliers.ejected_percent_max);
    let numbers = [
        (
            "consecutive_errors",
            u64::from(outliers.consecutive_errors),
            1,
            1_000_000,
        ),
        ("ejection_ms", outliers.ejection_ms, 1, MS_MAX),
        (
            "ejection_ms_max",
            outliers.ejection_ms_max,
            outliers.ejection_ms,
            MS_MAX,
        ),
        ("ejected_percent_max", percent, 0, 100),
    ];
    ranges(&format!("{table}.outliers"), &numbers)
}

fn check_cluster_limits(table: &str, limits: &ClusterLimits) -> Result<(), FileError> {
    let table = format!("{table}.limits");
    let most = 1 << 20;
    let numbers = [
        (
            "connections_max",
            u64::from(limits.connections_max),
            1,
            most,
        ),
        ("requests_max", u64::from(limits.requests_max), 1, most),
        ("pending_max", u64::from(limits.pending_max), 1, most),
        (
            "idle_per_endpoint_max",
            limits.idle_per_endpoint_max as u64,
            0,
            most,
        ),
    ];
    ranges(&table, &numbers)?;
    match limits.rate {
        Some(rate) => check_rate(&format!("{table}.rate"), rate),
        None => Ok(()),
    }
}

/// A rate that lets something pass.
pub(super) fn check_rate(table: &str, rate: Rate) -> Result<(), FileError> {
    let most = u64::from(u32::MAX);
    let numbers = [
        ("per_second", u64::from(rate.per_second), 1, most),
        ("burst", u64::from(rate.burst), 1, most),
    ];
    ranges(table, &numbers)
}
