//! Certificates of listeners, by server name, and set-ups to call endpoints with.

use std::sync::{Arc, OnceLock};

use atoll_world::{
    net::TlsAcceptor,
    pki::{
        PkiError,
        tls::{self, ByName, Calling, ShownCertificate, Trusted},
    },
};

use crate::core::config::{BackendTls, Fallback, Tls};

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

/// Set-ups to call endpoints with: one for those who believe the same and show the same, so that
/// the machine's authorities are there once, however many clusters believe them. Sessions
/// are shared with it: their endpoints were held against the same authorities for the same name.
#[derive(Debug, Default)]
pub(super) struct Callings(Vec<(Trusted, Option<ShownCertificate>, Arc<Calling>)>);

impl Callings {
    /// One that there is already.
    pub(super) fn keep(&mut self, tls: &BackendTls, calling: &Arc<Calling>) {
        if self.find(tls).is_none() {
            let (trusted, shown) = (tls.trusted.clone(), tls.shown.clone());
            self.0.push((trusted, shown, calling.clone()));
        }
    }

    /// The one for a cluster; made if there is none yet.
    ///
    /// # Errors
    /// What is to be believed can't be used.
    pub(super) fn of(&mut self, tls: &BackendTls) -> Result<Arc<Calling>, PkiError> {
        if let Some(known) = self.find(tls) {
            return Ok(known.clone());
        }
        let made = Arc::new(Calling::new(&tls.trusted, tls.shown.as_ref())?);
        self.keep(tls, &made);
        Ok(made)
    }

    fn find(&self, tls: &BackendTls) -> Option<&Arc<Calling>> {
        let is_it = |trusted: &Trusted, shown: &Option<ShownCertificate>| {
            *trusted == tls.trusted && *shown == tls.shown
        };
        let mut all = self.0.iter();
        all.find(|(trusted, shown, _)| is_it(trusted, shown))
            .map(|(.., calling)| calling)
    }
}
