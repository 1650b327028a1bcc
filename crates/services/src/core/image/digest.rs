//! What content is known by: the SHA-256 of its bytes (OCI Image Format, "Digests").

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

const ALGORITHM: &str = "sha256:";
const HEX_CHARS: usize = 64;

/// The SHA-256 of some content. Reads `sha256:` and 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text is no digest, or of an algorithm that is not known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// It has not the form of a digest.
    #[error("invalid checksum digest format")]
    Malformed,
    /// Another algorithm than SHA-256.
    #[error("unsupported digest algorithm")]
    Unsupported,
}

impl Digest {
    /// That of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The hexadecimal digits alone.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        let mut hex = String::with_capacity(HEX_CHARS);
        for byte in self.0 {
            write!(hex, "{byte:02x}").expect("a text takes what is written");
        }
        hex
    }

    /// From the hexadecimal digits alone.
    pub fn from_hex(hex: &str) -> Option<Digest> {
        let hex = hex.as_bytes();
        if hex.len() != HEX_CHARS {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Digest(bytes))
    }
}

/// Uppercase digits would give one content two names.
fn digit(of: u8) -> Option<u8> {
    match of {
        b'0'..=b'9' => Some(of - b'0'),
        b'a'..=b'f' => Some(of - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        match text.strip_prefix(ALGORITHM) {
            Some(hex) => Digest::from_hex(hex).ok_or(DigestError::Malformed),
            None if text.starts_with("sha384:") || text.starts_with("sha512:") => {
                Err(DigestError::Unsupported)
            }
            None => Err(DigestError::Malformed),
        }
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Makes a digest of content that comes in pieces.
#[derive(Clone, Default)]
pub struct Hasher {
    state: Sha256,
    bytes: u64,
}

impl Hasher {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.state.update(piece);
        self.bytes += piece.len() as u64;
    }

    /// How many bytes there were so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn content_has_the_digest_of_fips_180() {
        assert_eq!(Digest::of(b"abc").to_string(), OF_ABC);
        let mut hasher = Hasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.bytes(), 3);
        assert_eq!(hasher.finish(), OF_ABC.parse().unwrap());
    }

    #[test]
    fn only_one_spelling_is_a_digest() {
        let sha512 = format!("sha512:{}", "0".repeat(128));
        let wrong = [
            (OF_ABC.to_uppercase(), DigestError::Malformed),
            (OF_ABC.replace("ba78", "BA78"), DigestError::Malformed),
            (OF_ABC[..70].to_owned(), DigestError::Malformed),
            (format!("{OF_ABC}0"), DigestError::Malformed),
            (OF_ABC.replace("ba78", "gg78"), DigestError::Malformed),
            (String::new(), DigestError::Malformed),
            (sha512, DigestError::Unsupported),
        ];
        for (text, error) in wrong {
            assert_eq!(text.parse::<Digest>(), Err(error), "{text}");
        }
        let json = format!("\"{OF_ABC}\"");
        let read: Digest = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
    }
}
