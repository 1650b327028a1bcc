//! Listeners of a file.

use atoll_world::pki::{
    certificates_from_pem,
    tls::{ClientCertificate, ShownCertificate},
};

use super::{
    FileError, Read,
    fields::{self, MS_MAX, one_of, ranges},
    inner, written,
};
use crate::core::{
    config::{Certificate, ClientTrust, Fallback, Listener, ListenerLimits, Protocol, Tls},
    services::with_cause,
    sources::Sources,
};

/// Most certificates of one listener.
const CERTIFICATES_MAX: usize = 1_000;

/// A listener as it is written.
pub(super) fn listener(
    name: &str,
    written: &written::Listener,
    read: &Read<'_>,
) -> Result<Listener, FileError> {
    let table = format!("listeners.{name}");
    let port = written.address.rsplit_once(':').map(|(_, port)| port);
    if port.is_none_or(|port| port.parse::<u16>().is_err()) {
        let problem = "give it as HOST:PORT, such as 0.0.0.0:443";
        return Err(FileError::field(format!("{table}.address"), problem));
    }
    check_limits(&table, &written.limits)?;
    let tls = written.tls.as_ref();
    let tls = tls.map(|tls| self::tls(&format!("{table}.tls"), tls, read));
    Ok(Listener {
        tls: tls.transpose()?,
        sources: fields::sources(&table, &written.allow, &written.deny)?,
        proxies: proxies(&table, written)?,
        limits: written.limits.clone(),
        ..Listener::new(&inner(name), &written.address, protocol(&table, written)?)
    })
}

/// Who may say on whose behalf a connection comes.
fn proxies(table: &str, written: &written::Listener) -> Result<Option<Sources>, FileError> {
    if !written.proxy_protocol && !written.proxies.is_empty() {
        let problem = "it needs proxy_protocol = true beside it";
        return Err(FileError::field(format!("{table}.proxies"), problem));
    }
    let allow = fields::networks(format!("{table}.proxies"), &written.proxies)?;
    let sources = Sources {
        allow,
        deny: Vec::new(),
    };
    Ok(written.proxy_protocol.then_some(sources))
}

fn protocol(table: &str, written: &written::Listener) -> Result<Protocol, FileError> {
    let protocols = [("http", true), ("tcp", false)];
    let is_http = one_of(format!("{table}.protocol"), &written.protocol, &protocols)?;
    let only_for = |field: &str, protocol: &str| {
        let problem = format!("it is for listeners with the protocol {protocol:?}; leave it out");
        Err(FileError::field(format!("{table}.{field}"), problem))
    };
    if is_http {
        if written.backend.is_some() {
            return only_for("backend", "tcp");
        }
        let traces_percent = written.traces_percent;
        let percent = u64::from(traces_percent);
        ranges(table, &[("traces_percent", percent, 0, 100)])?;
        return Ok(Protocol::Http {
            trusts_forwarded: written.trusts_forwarded,
            traces_percent,
        });
    }
    if written.trusts_forwarded {
        return only_for("trusts_forwarded", "http");
    }
    if written.serves_ingresses {
        return only_for("serves_ingresses", "http");
    }
    let backend = written.backend.as_ref().ok_or_else(|| {
        let problem = "a listener with the protocol \"tcp\" names the backend of its connections";
        FileError::field(format!("{table}.backend"), problem)
    })?;
    Ok(Protocol::Tcp {
        cluster: inner(backend),
    })
}

fn tls(table: &str, written: &written::Tls, read: &Read<'_>) -> Result<Tls, FileError> {
    let count = written.certificates.len();
    if !(1..=CERTIFICATES_MAX).contains(&count) {
        let problem = format!("it has {count}, and has to have 1 to {CERTIFICATES_MAX}");
        return Err(FileError::field(format!("{table}.certificates"), problem));
    }
    let certificates = written.certificates.iter().enumerate();
    let certificates = certificates.map(|(place, written)| {
        let table = format!("{table}.certificates[{place}]");
        certificate(&table, written, read)
    });
    let fallbacks = [("first", Fallback::First), ("refuse", Fallback::Refuse)];
    let unknown = format!("{table}.unknown_name");
    Ok(Tls {
        certificates: certificates.collect::<Result<_, _>>()?,
        fallback: one_of(unknown, &written.unknown_name, &fallbacks)?,
        clients: clients(table, written, read)?,
    })
}

fn certificate(
    table: &str,
    written: &written::Certificate,
    read: &Read<'_>,
) -> Result<Certificate, FileError> {
    let chain = fields::text(&format!("{table}.cert"), &written.cert, read)?;
    let key = fields::text(&format!("{table}.key"), &written.key, read)?;
    let shown = ShownCertificate::from_pem(&chain, &key);
    Ok(Certificate {
        names: written.names.clone(),
        shown: shown.map_err(|error| FileError::field(table, with_cause(&error)))?,
    })
}

fn clients(
    table: &str,
    written: &written::Tls,
    read: &Read<'_>,
) -> Result<Option<ClientTrust>, FileError> {
    let field = format!("{table}.client_certificate");
    let Some(path) = &written.client_ca else {
        return match written.client_certificate {
            None => Ok(None),
            Some(_) => Err(FileError::field(field, "it needs client_ca beside it")),
        };
    };
    let demands = [
        ("required", ClientCertificate::Required),
        ("optional", ClientCertificate::Optional),
    ];
    let demand = written.client_certificate.as_deref().unwrap_or("required");
    let demand = one_of(field, demand, &demands)?;
    let field = format!("{table}.client_ca");
    let pem = fields::text(&field, path, read)?;
    let roots = certificates_from_pem("a certificate of an issuer", &pem)
        .map_err(|error| FileError::field(field, error))?;
    Ok(Some(ClientTrust { roots, demand }))
}

fn check_limits(table: &str, limits: &ListenerLimits) -> Result<(), FileError> {
    let numbers = [
        ("connections_max", limits.connections_max as u64, 1, 1 << 20),
        (
            "head_bytes_max",
            limits.head_bytes_max as u64,
            8_192,
            1 << 20,
        ),
        ("fields_max", limits.fields_max as u64, 1, 10_000),
        ("head_ms", limits.head_ms, 1, MS_MAX),
        ("keep_alive_ms", limits.keep_alive_ms, 1, MS_MAX),
        ("body_idle_ms", limits.body_idle_ms, 1, MS_MAX),
        ("send_stall_ms", limits.send_stall_ms, 1, MS_MAX),
        ("streams_max", u64::from(limits.streams_max), 1, 10_000),
        ("resets_max", limits.resets_max as u64, 1, 10_000),
    ];
    ranges(&format!("{table}.limits"), &numbers)
}
