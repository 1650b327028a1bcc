//! `index.json` of the store: which names there are, and what they lead to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ImageError;
use crate::core::image::{Digest, DocumentError, Reference};

/// The version of the format that is written.
pub(super) const VERSION: u64 = 1;

/// All images by their whole names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    version: u64,
    /// What they lead to.
    pub(super) images: BTreeMap<String, Kept>,
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// What the registry has under the name.
    pub(super) target: Digest,
    /// The manifest for this machine: the target, or what it leads to.
    pub(super) manifest: Digest,
    /// It is from a file: no registry has to have it.
    #[serde(default, skip_serializing_if = "is_not")]
    pub(super) imported: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it so.
fn is_not(flag: &bool) -> bool {
    !flag
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Default for Index {
    fn default() -> Index {
        Index {
            version: VERSION,
            images: BTreeMap::new(),
        }
    }
}

impl Index {
    /// Reads one.
    ///
    /// # Errors
    /// It is none, or of a later version.
    pub(super) fn read(bytes: &[u8]) -> Result<Index, ImageError> {
        let malformed = |error: serde_json::Error| DocumentError::Malformed {
            what: "the index of the image store",
            why: error.to_string(),
        };
        let Versioned { version } = serde_json::from_slice(bytes).map_err(malformed)?;
        if version != VERSION {
            return Err(ImageError::Version(version));
        }
        Ok(serde_json::from_slice(bytes).map_err(malformed)?)
    }

    /// What it is written as.
    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("texts and numbers can be written")
    }

    /// What a name leads to. A digest may be that of an image which is here by another name of
    /// the same repository: it is the same image.
    pub(super) fn find(&self, name: &Reference) -> Option<Kept> {
        if let Some(kept) = self.images.get(&name.to_string()) {
            return Some(*kept);
        }
        let digest = name.digest()?;
        let is_it = |kept: &Kept| kept.target == digest || kept.manifest == digest;
        let is_repository = |other: &str| {
            let rest = other.strip_prefix(&name.name());
            rest.is_some_and(|rest| rest.starts_with([':', '@']))
        };
        let mut all = self.images.iter();
        let found = all.find(|(other, kept)| is_it(kept) && is_repository(other));
        found.map(|(_, kept)| *kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = r#"{
  "version": 1,
  "images": {
    "docker.io/library/a:1": {
      "target": "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
      "manifest": "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
    }
  }
}"#;

    fn index() -> Index {
        let kept = Kept {
            target: Digest::of(b"a"),
            manifest: Digest::of(b"b"),
            imported: false,
        };
        let mut index = Index::default();
        index
            .images
            .insert("docker.io/library/a:1".to_owned(), kept);
        index
    }

    #[test]
    fn the_format_is_the_one_of_version_1() {
        assert_eq!(String::from_utf8(index().write()).unwrap(), WRITTEN);
        assert_eq!(Index::read(WRITTEN.as_bytes()).unwrap(), index());
        let mut imported = index();
        for kept in imported.images.values_mut() {
            kept.imported = true;
        }
        assert_eq!(Index::read(&imported.write()).unwrap(), imported);
        let later = WRITTEN.replace("\"version\": 1", "\"version\": 2");
        let told = Index::read(later.as_bytes()).unwrap_err();
        assert!(matches!(told, ImageError::Version(2)), "{told}");
        for text in ["", "[]", "{}", &WRITTEN.replace("sha256:3e", "sha256:zz")] {
            assert!(Index::read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_digest_finds_its_image_in_its_repository() {
        let index = index();
        let (target, manifest) = (Digest::of(b"a"), Digest::of(b"b"));
        let found = |name: String| index.find(&name.parse().unwrap()).is_some();
        assert!(found("a:1".to_owned()));
        assert!(!found("a".to_owned()));
        assert!(found(format!("a@{target}")));
        assert!(found(format!("a:other@{manifest}")));
        assert!(!found(format!("aa@{target}")));
        assert!(!found(format!("a@{}", Digest::of(b"c"))));
    }
}
