//! Sealing: what is kept secret in places that others can read, as the cluster's own log.
//!
//! AES-256-GCM (NIST SP 800-38D). Each text gets a key of its own, drawn by HKDF-SHA256 (RFC
//! 5869) from the sealing key and 32 random bytes, so that no nonce is ever used twice, however
//! much is sealed. A text is bound to a context, such as the key it is stored under: moved
//! elsewhere, it can't be opened.

use std::fmt;

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};
use zeroize::Zeroizing;

use crate::random;

/// The version of the form: `version, salt, sealed text with its tag`.
const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
/// How much longer a text gets by being sealed.
pub const SEALING_BYTES: usize = 1 + SALT_BYTES + 16;

/// Why a sealed text can't be opened: the wrong key, another context, or damage, which can't be
/// told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was sealed with another key or for another place, or is damaged")]
pub struct SealError;

/// A key to seal with. It is wiped when it is dropped.
pub struct SealingKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

impl SealingKey {
    /// A new one.
    pub fn random() -> SealingKey {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        random::fill(&mut key[..]);
        SealingKey(key)
    }

    /// The one of a secret, for one purpose.
    pub(super) fn derived(secret: &[u8], purpose: &[u8]) -> SealingKey {
        SealingKey(expand(&[], secret, purpose))
    }

    /// The one whose bytes these are; none if they are too few or too many.
    pub fn from_bytes(bytes: &[u8]) -> Option<SealingKey> {
        let bytes = <[u8; KEY_BYTES]>::try_from(bytes).ok()?;
        Some(SealingKey(Zeroizing::new(bytes)))
    }

    /// Its bytes, to be sealed with another key.
    pub fn bytes(&self) -> &[u8] {
        &self.0[..]
    }

    /// Seals a text for a context.
    pub fn seal(&self, context: &[u8], text: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(text.len() + SEALING_BYTES);
        sealed.push(VERSION);
        sealed.resize(1 + SALT_BYTES, 0);
        random::fill(&mut sealed[1..]);
        let key = self.of_text(&sealed[1..]);
        let mut body = text.to_vec();
        key.seal_in_place_append_tag(nonce(), Aad::from(context), &mut body)
            .expect("texts are shorter than AES-GCM's limit of 64 GiB");
        sealed.extend_from_slice(&body);
        sealed
    }

    /// Opens what was sealed for the same context.
    ///
    /// # Errors
    /// It was not sealed so.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (&version, rest) = sealed.split_first().ok_or(SealError)?;
        if version != VERSION || rest.len() < SALT_BYTES {
            return Err(SealError);
        }
        let (salt, body) = rest.split_at(SALT_BYTES);
        let mut text = Zeroizing::new(body.to_vec());
        let opened = self
            .of_text(salt)
            .open_in_place(nonce(), Aad::from(context), &mut text)
            .map(|plain| plain.len());
        let length = opened.map_err(|_| SealError)?;
        text.truncate(length);
        Ok(text)
    }

    fn of_text(&self, salt: &[u8]) -> LessSafeKey {
        let key = expand(salt, &self.0[..], b"atoll text v1");
        let key = UnboundKey::new(&AES_256_GCM, &key[..]);
        LessSafeKey::new(key.expect("a key of 256 bits"))
    }
}

/// Each key seals one text, so the nonce need not tell any apart.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn expand(salt: &[u8], secret: &[u8], purpose: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let drawn = Salt::new(HKDF_SHA256, salt).extract(secret);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let purpose = [purpose];
    drawn
        .expand(&purpose, &AES_256_GCM)
        .and_then(|expanded| expanded.fill(&mut key[..]))
        .expect("HKDF-SHA256 gives up to 8,160 bytes");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_key_and_place_open_it() {
        let key = SealingKey::random();
        let sealed = key.seal(b"place", b"hush");
        assert_eq!(sealed.len(), 4 + SEALING_BYTES);
        assert!(!sealed.windows(4).any(|it| it == b"hush"));
        assert_eq!(&key.open(b"place", &sealed).unwrap()[..], b"hush");
        let same = SealingKey::from_bytes(key.bytes()).unwrap();
        assert_eq!(&same.open(b"place", &sealed).unwrap()[..], b"hush");
        assert!(key.open(b"elsewhere", &sealed).is_err());
        assert!(SealingKey::random().open(b"place", &sealed).is_err());
        assert_ne!(
            key.seal(b"place", b"hush"),
            sealed,
            "nobody sees that it is the same"
        );
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(key.open(b"place", &damaged).is_err(), "byte {at}");
            assert!(key.open(b"place", &sealed[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn a_secret_gives_a_key_for_each_purpose() {
        let one = SealingKey::derived(b"secret", b"a");
        let sealed = one.seal(b"", b"x");
        assert!(
            SealingKey::derived(b"secret", b"a")
                .open(b"", &sealed)
                .is_ok()
        );
        assert!(
            SealingKey::derived(b"secret", b"b")
                .open(b"", &sealed)
                .is_err()
        );
        assert!(
            SealingKey::derived(b"other", b"a")
                .open(b"", &sealed)
                .is_err()
        );
    }
}
