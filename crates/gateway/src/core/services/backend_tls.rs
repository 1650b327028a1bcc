//! How endpoints of Services are called under TLS, by annotations of a Service or an Ingress:
//! `atoll.dev/backend-tls` says that they are, others say how.

use atoll_world::pki::tls::Trusted;
use rustls_pki_types::ServerName;

use super::{
    Key,
    written::{PREFIX, Written},
};
use crate::core::config::BackendTls;

/// Those that are read together with `backend-tls`.
pub(super) const BESIDE: [&str; 4] = [
    SERVER_NAME,
    CA_SECRET,
    CLIENT_SECRET,
    ACCEPTS_ANY_CERTIFICATE,
];
const SERVER_NAME: &str = "backend-tls-server-name";
const CA_SECRET: &str = "backend-tls-ca-secret";
const CLIENT_SECRET: &str = "backend-tls-client-secret";
const ACCEPTS_ANY_CERTIFICATE: &str = "backend-tls-accepts-any-certificate";

impl Written<'_> {
    /// What is asked for, where `backend-tls` is this.
    pub(super) fn tls(&self, text: &str) -> Result<Option<BackendTls>, String> {
        if !is_true(text)? {
            return Ok(None);
        }
        let told = |name: &'static str| move |problem| format!("{PREFIX}{name}: {problem}");
        let ca = self.other(CA_SECRET);
        let any = self.other(ACCEPTS_ANY_CERTIFICATE);
        let any = any.map_or(Ok(false), is_true);
        let trusted = match (ca, any.map_err(told(ACCEPTS_ANY_CERTIFICATE))?) {
            (Some(_), true) => {
                let why = "leave it out, or accepts-any-certificate, which makes it useless";
                return Err(told(CA_SECRET)(why.to_owned()));
            }
            (None, true) => Trusted::Anybody,
            (None, false) => Trusted::System,
            (Some(secret), false) => {
                let found = self.index.authorities((self.namespace, secret));
                found.map_err(told(CA_SECRET))?
            }
        };
        let shown = self.other(CLIENT_SECRET).map(|secret| {
            let found = self.index.certificate((self.namespace, secret), Vec::new());
            found.map(|it| it.shown).map_err(told(CLIENT_SECRET))
        });
        let name = self.other(SERVER_NAME).map(backend_name);
        Ok(Some(BackendTls {
            server_name: name.transpose().map_err(told(SERVER_NAME))?,
            trusted,
            shown: shown.transpose()?,
            // Who connects to a Service's address speaks with its endpoints as they are.
            wraps_tcp: false,
        }))
    }
}

impl BackendTls {
    /// It, for endpoints of this Service: without another name they have to prove to be it.
    pub(super) fn of_service(mut self, (namespace, name): Key<'_>) -> Self {
        let own = || service_name(namespace, name);
        self.server_name.get_or_insert_with(own);
        self
    }
}

/// What a Service is called in certificates.
pub(in crate::core) fn service_name(namespace: &str, name: &str) -> String {
    format!("{name}.{namespace}.svc")
}

/// A name of DNS or an address, for which a certificate can be.
pub(in crate::core) fn backend_name(text: &str) -> Result<String, String> {
    match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("it is neither a name of DNS nor an address".to_owned()),
    }
}

fn is_true(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("it is `true` or `false`".to_owned()),
    }
}
