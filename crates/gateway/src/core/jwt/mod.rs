//! Tokens that somebody signed (JSON Web Token, RFC 7519, in its compact form, RFC 7515).
//!
//! The key says which algorithm it is for; a token that names another one is refused, so that
//! nobody takes a public key for a shared secret, and `none` is no algorithm (RFC 8725). A token
//! has to say when it ends.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

mod keys;
#[cfg(test)]
mod tests;

pub use keys::{KEY_BITS_MIN, KEYS_MAX, Key, KeysError, keys};

/// The longest token, bytes.
pub const TOKEN_BYTES_MAX: usize = 8_192;

/// What tokens are held against.
#[derive(Clone, Debug, PartialEq)]
pub struct Jwt {
    /// Who may have signed.
    pub keys: Vec<Key>,
    /// What `iss` has to be.
    pub issuer: Option<String>,
    /// What `aud` has to name, one of these; empty: anything.
    pub audiences: Vec<String>,
    /// How far clocks may be apart, seconds.
    pub leeway_s: u64,
}

/// Why a token does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It has not the form of one.
    #[error("the token is malformed")]
    Malformed,
    /// No key that it could be of.
    #[error("no key is known for the token")]
    NoKey,
    /// It was not signed by the key that it names.
    #[error("the token's signature is wrong")]
    Signature,
    /// It is over, or does not say when it is.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    Early,
    /// Another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// It is for others.
    #[error("the token is for another audience")]
    Audience,
}

impl Jwt {
    /// Verifies a token at `now_s`, seconds since the epoch, and says whose it is (`sub`; may be
    /// empty).
    ///
    /// # Errors
    /// It does not pass.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<String, JwtError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwtError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (head, claims) = signed.split_once('.').ok_or(JwtError::Malformed)?;
        let signature = decode(signature)?;
        self.verify_signature(&object(head)?, signed.as_bytes(), &signature)?;
        self.judge(&object(claims)?, now_s)
    }

    fn verify_signature(
        &self,
        head: &Value,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), JwtError> {
        // What must be understood is not.
        if !head["crit"].is_null() {
            return Err(JwtError::Malformed);
        }
        let algorithm = head["alg"].as_str().ok_or(JwtError::Malformed)?;
        let id = head["kid"].as_str();
        let fitting = self.keys.iter().filter(|key| key.fits(algorithm, id));
        let mut error = JwtError::NoKey;
        for key in fitting {
            if key.verifies(signed, signature) {
                return Ok(());
            }
            error = JwtError::Signature;
        }
        Err(error)
    }

    fn judge(&self, claims: &Value, now_s: u64) -> Result<String, JwtError> {
        let ends_s = seconds(&claims["exp"])?.ok_or(JwtError::Expired)?;
        if now_s >= ends_s.saturating_add(self.leeway_s) {
            return Err(JwtError::Expired);
        }
        let begins_s = seconds(&claims["nbf"])?.unwrap_or(0);
        if now_s.saturating_add(self.leeway_s) < begins_s {
            return Err(JwtError::Early);
        }
        if self.issuer.as_ref().is_some_and(|it| claims["iss"] != **it) {
            return Err(JwtError::Issuer);
        }
        let is_ours = |it: &Value| self.audiences.iter().any(|ours| *it == **ours);
        let is_for_us = match &claims["aud"] {
            Value::Array(list) => list.iter().any(is_ours),
            one => is_ours(one),
        };
        if !self.audiences.is_empty() && !is_for_us {
            return Err(JwtError::Audience);
        }
        Ok(claims["sub"].as_str().unwrap_or_default().to_owned())
    }
}

/// A date of a claim. Parts of a second are cut off.
fn seconds(value: &Value) -> Result<Option<u64>, JwtError> {
    if value.is_null() {
        return Ok(None);
    }
    let number = value.as_f64().filter(|it| it.is_finite() && *it >= 0.0);
    number.map(|it| Some(it as u64)).ok_or(JwtError::Malformed)
}

fn decode(part: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwtError::Malformed)
}

fn object(part: &str) -> Result<Value, JwtError> {
    let value: Value = serde_json::from_slice(&decode(part)?).map_err(|_| JwtError::Malformed)?;
    match value.is_object() {
        true => Ok(value),
        false => Err(JwtError::Malformed),
    }
}
