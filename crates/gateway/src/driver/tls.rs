//! Certificates of listeners, by server name.

use std::sync::OnceLock;

use atoll_world::{
    net::TlsAcceptor,
    pki::{
        PkiError,
        tls::{self, ByName, ShownCertificate},
    },
};

use crate::core::config::{Fallback, Tls};

/// What the certificate that nobody trusts is called.
const SELF_SIGNED_NAME: &str = "no-certificate.atoll.invalid";

/// The set-up for a listener.
///
/// # Errors
/// What clients are to be held against can't be used.
pub(super) fn acceptor(tls: &Tls, is_http: bool) -> Result<TlsAcceptor, PkiError> {
    let alpn: &[&[u8]] = match is_http {
        true => &[b"h2", b"http/1.1"],
        false => &[],
    };
    let clients = tls.clients.as_ref();
    let clients = clients.map(|it| (it.roots.as_slice(), it.demand));
    let served = tls::named_listener_config(by_name(tls)?, clients, alpn)?;
    Ok(TlsAcceptor::new(Some(served), None))
}

fn by_name(tls: &Tls) -> Result<ByName, PkiError> {
    let mut named = ByName::default();
    for certificate in &tls.certificates {
        let names = match certificate.names.as_slice() {
            [] => &certificate.shown.facts().names,
            names => names,
        };
        for name in names {
            let name = name.to_ascii_lowercase();
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut named.wildcard, parent.to_owned()),
                None => (&mut named.exact, name),
            };
            map.entry(name).or_insert_with(|| certificate.shown.clone());
        }
    }
    named.fallback = match tls.fallback {
        Fallback::First => tls.certificates.first().map(|it| it.shown.clone()),
        Fallback::SelfSigned => Some(self_signed()?),
        Fallback::Refuse => None,
    };
    Ok(named)
}

/// One for the whole process, made when it is needed first.
fn self_signed() -> Result<ShownCertificate, PkiError> {
    static MADE: OnceLock<ShownCertificate> = OnceLock::new();
    if let Some(made) = MADE.get() {
        return Ok(made.clone());
    }
    let made = ShownCertificate::self_signed(SELF_SIGNED_NAME)?;
    Ok(MADE.get_or_init(|| made).clone())
}
