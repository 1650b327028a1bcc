//! The scripts that a node was given, by the SHA-1 of their text.

use bytes::Bytes;
use indexmap::IndexMap;

use crate::core::script::{self, Digest};

/// So many scripts are kept.
const SCRIPTS_MAX: usize = 10_000;
/// So many bytes they have together.
const BYTES_MAX: usize = 64 << 20;

/// Scripts that are known; where there are too many, those are forgotten that have been there
/// long.
#[derive(Default)]
pub(super) struct Cache {
    scripts: IndexMap<Digest, Bytes, foldhash::fast::RandomState>,
    bytes: usize,
}

impl Cache {
    /// Keeps a script; its name.
    pub(super) fn add(&mut self, code: &Bytes) -> Digest {
        let digest = script::digest(code);
        if self.scripts.contains_key(&digest) {
            return digest;
        }
        // A copy: a script should not keep alive all that came with it.
        let code = Bytes::copy_from_slice(code);
        self.bytes += code.len();
        self.scripts.insert(digest, code);
        while self.scripts.len() > SCRIPTS_MAX || self.bytes > BYTES_MAX {
            // The last one takes its place, so that it is an old one, if not the oldest.
            match self.scripts.swap_remove_index(0) {
                Some((_, forgotten)) => self.bytes -= forgotten.len(),
                None => break,
            }
        }
        digest
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.scripts.len()
    }

    /// The script of a name.
    pub(super) fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.scripts.get(digest).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end_to_it() {
        let mut cache = Cache::default();
        for number in 0..SCRIPTS_MAX + 100 {
            let code = Bytes::from(format!("return {number}"));
            let digest = cache.add(&code);
            assert_eq!(cache.add(&code), digest);
            assert_eq!(cache.get(&digest), Some(code));
        }
        assert_eq!(cache.scripts.len(), SCRIPTS_MAX);
        let large = |byte: u8| Bytes::from(vec![byte; BYTES_MAX / 4]);
        for byte in 0..9 {
            cache.add(&large(byte));
        }
        assert!(cache.bytes <= BYTES_MAX);
        let bytes: usize = cache.scripts.values().map(Bytes::len).sum();
        assert_eq!(cache.bytes, bytes);
    }
}
