//! What Ingresses need of Secrets: certificates, lists of passwords, keys of tokens. Errors say
//! what is wrong and never what stands there.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::Index;
use crate::core::{
    basic::Users,
    config::Certificate,
    jwt::{self, Key},
};
use atoll_world::pki::tls::{ShownCertificate, Trusted};

impl Index<'_> {
    fn secret(&self, namespace: &str, name: &str) -> Result<&Value, String> {
        let found = self.secrets.get(&(namespace, name)).copied();
        found.ok_or_else(|| format!("there is no Secret {namespace}/{name}"))
    }

    /// What a Secret has at a key, as text.
    fn entry(&self, (namespace, name): (&str, &str), key: &str) -> Result<String, String> {
        let secret = self.secret(namespace, name)?;
        let data = secret["data"][key].as_str();
        let data = data.ok_or_else(|| format!("Secret {namespace}/{name} has no {key:?}"))?;
        let bytes = STANDARD.decode(data).ok();
        bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| format!("Secret {namespace}/{name}: {key:?} is not text in base64"))
    }

    /// The certificate of a Secret of type `kubernetes.io/tls`, for these names.
    pub(super) fn certificate(
        &self,
        secret: (&str, &str),
        names: Vec<String>,
    ) -> Result<Certificate, String> {
        let chain = self.entry(secret, "tls.crt")?;
        let key = self.entry(secret, "tls.key")?;
        let shown = ShownCertificate::from_pem(&chain, &key);
        let shown = shown.map_err(|error| broken(secret, &with_cause(&error)))?;
        Ok(Certificate { names, shown })
    }

    /// The authorities of a Secret, at the key `ca.crt`.
    pub(super) fn authorities(&self, secret: (&str, &str)) -> Result<Trusted, String> {
        Trusted::from_pem(&self.entry(secret, "ca.crt")?)
            .map_err(|error| broken(secret, &format!("\"ca.crt\": {}", with_cause(&error))))
    }

    /// The list of passwords at the key `auth`.
    pub(super) fn users(&self, secret: (&str, &str)) -> Result<Users, String> {
        Users::parse(&self.entry(secret, "auth")?)
            .map_err(|error| broken(secret, &format!("\"auth\": {error}")))
    }

    /// The keys of tokens at the key `jwks`.
    pub(super) fn keys(&self, secret: (&str, &str)) -> Result<Vec<Key>, String> {
        jwt::keys(&self.entry(secret, "jwks")?)
            .map_err(|error| broken(secret, &format!("\"jwks\": {error}")))
    }
}

fn broken((namespace, name): (&str, &str), error: &str) -> String {
    format!("Secret {namespace}/{name}: {error}")
}

/// An error and what caused it.
pub(in crate::core) fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
