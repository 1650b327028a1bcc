//! Keys that tokens are signed with, from a JSON Web Key Set (RFC 7517, RFC 7518 section 6).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{hmac, signature};
use serde_json::Value;

/// The most keys of one set.
pub const KEYS_MAX: usize = 64;
/// A shared secret has at least as many bits (RFC 7518 section 3.2).
pub const KEY_BITS_MIN: usize = 256;
/// The longest set, bytes.
const SET_BYTES_MAX: usize = 256 << 10;

/// A key and what it is for.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: Option<String>,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point of P-256, uncompressed.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
    Secret(Vec<u8>),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({} {:?})", self.algorithm(), self.id)
    }
}

/// What is wrong with a set. Keys are never told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Not JSON, or not an object with a list `keys`.
    #[error("it is not a JSON Web Key Set: an object with the list `keys`")]
    NotASet,
    /// Too many, or too long.
    #[error("it has more than {KEYS_MAX} keys, or is longer than {SET_BYTES_MAX} bytes")]
    TooLarge,
    /// A key that can't be used.
    #[error("key {0} (counted from 0) misses a part, or has one that is not what it should be")]
    Key(usize),
    /// None that tokens could be signed with.
    #[error("it has no key for RS256, ES256, EdDSA (Ed25519) or HS256")]
    Empty,
}

impl Key {
    fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::Rsa { .. } => "RS256",
            Kind::P256(_) => "ES256",
            Kind::Ed25519(_) => "EdDSA",
            Kind::Secret(_) => "HS256",
        }
    }

    /// Whether a token of this algorithm, and which names this key, may be of it.
    pub(super) fn fits(&self, algorithm: &str, id: Option<&str>) -> bool {
        let is_other = |own: &str| id.is_some_and(|id| id != own);
        self.algorithm() == algorithm && !self.id.as_deref().is_some_and(is_other)
    }

    pub(super) fn verifies(&self, signed: &[u8], by: &[u8]) -> bool {
        let verified = match &self.kind {
            Kind::Rsa { modulus, exponent } => {
                let (n, e) = (modulus, exponent);
                let key = signature::RsaPublicKeyComponents { n, e };
                key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, signed, by)
            }
            Kind::P256(point) => {
                let algorithm = &signature::ECDSA_P256_SHA256_FIXED;
                signature::UnparsedPublicKey::new(algorithm, point).verify(signed, by)
            }
            Kind::Ed25519(point) => {
                signature::UnparsedPublicKey::new(&signature::ED25519, point).verify(signed, by)
            }
            Kind::Secret(secret) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed, by)
            }
        };
        verified.is_ok()
    }
}

/// The keys of a set that sign with one of the algorithms known here; others are passed over.
///
/// # Errors
/// The set is malformed or has no such key.
pub fn keys(text: &str) -> Result<Vec<Key>, KeysError> {
    if text.len() > SET_BYTES_MAX {
        return Err(KeysError::TooLarge);
    }
    let set: Value = serde_json::from_str(text).map_err(|_| KeysError::NotASet)?;
    let list = set["keys"].as_array().ok_or(KeysError::NotASet)?;
    if list.len() > KEYS_MAX {
        return Err(KeysError::TooLarge);
    }
    let mut keys = Vec::new();
    for (place, key) in list.iter().enumerate() {
        keys.extend(read(key).map_err(|Unusable| KeysError::Key(place))?);
    }
    match keys.is_empty() {
        true => Err(KeysError::Empty),
        false => Ok(keys),
    }
}

/// A key is not what it should be.
struct Unusable;

fn read(key: &Value) -> Result<Option<Key>, Unusable> {
    let is_for_signing = key["use"].is_null() || key["use"] == "sig";
    let kind = match (key["kty"].as_str().ok_or(Unusable)?, key["crv"].as_str()) {
        ("RSA", _) => rsa(key)?,
        ("EC", Some("P-256")) => {
            let mut point = vec![4];
            point.extend(part(key, "x", 32)?);
            point.extend(part(key, "y", 32)?);
            Kind::P256(point)
        }
        ("OKP", Some("Ed25519")) => Kind::Ed25519(part(key, "x", 32)?),
        ("oct", _) => {
            let secret = bytes(key, "k")?;
            if secret.len() * 8 < KEY_BITS_MIN {
                return Err(Unusable);
            }
            Kind::Secret(secret)
        }
        _ => return Ok(None),
    };
    let id = key["kid"].as_str().map(str::to_owned);
    let key_read = Key { id, kind };
    let is_for_this = key["alg"].is_null() || key["alg"] == key_read.algorithm();
    Ok(Some(key_read).filter(|_| is_for_signing && is_for_this))
}

fn rsa(key: &Value) -> Result<Kind, Unusable> {
    let modulus = bytes(key, "n")?;
    let bits = modulus.len() * 8;
    let is_plain = modulus.first().is_some_and(|it| *it != 0);
    if !is_plain || !(2_048..=8_192).contains(&bits) {
        return Err(Unusable);
    }
    let exponent = bytes(key, "e")?;
    Ok(Kind::Rsa { modulus, exponent })
}

fn bytes(key: &Value, name: &str) -> Result<Vec<u8>, Unusable> {
    let text = key[name].as_str().ok_or(Unusable)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Unusable)
}

fn part(key: &Value, name: &str, length: usize) -> Result<Vec<u8>, Unusable> {
    let bytes = bytes(key, name)?;
    match bytes.len() == length {
        true => Ok(bytes),
        false => Err(Unusable),
    }
}
