//! Images that somebody has been given and may be about to start. Between that and the start nothing
//! else tells that they are needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use parking_lot::Mutex;

use crate::core::image::Digest;

/// What is held, by manifests. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Holds(Arc<Mutex<BTreeMap<Digest, usize>>>);

impl Holds {
    /// Holds an image.
    pub(super) fn hold(&self, manifest: Digest) -> Hold {
        *self.0.lock().entry(manifest).or_default() += 1;
        Hold(Some(Arc::new(Held {
            manifest,
            of: self.clone(),
        })))
    }

    /// All that is held.
    pub(super) fn all(&self) -> BTreeSet<Digest> {
        self.0.lock().keys().copied().collect()
    }
}

/// Keeps an image from being removed until the last clone is dropped. It is nothing that images
/// differ by.
#[derive(Clone, Default)]
pub(super) struct Hold(Option<Arc<Held>>);

struct Held {
    manifest: Digest,
    of: Holds,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.of.0.lock();
        if let Some(count) = all.get_mut(&self.manifest) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.manifest);
            }
        }
    }
}

impl PartialEq for Hold {
    fn eq(&self, _: &Hold) -> bool {
        true
    }
}

impl Eq for Hold {}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "held" } else { "not held" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_held_until_the_last_lets_go() {
        let holds = Holds::default();
        let image = Digest::of(b"a");
        let first = holds.hold(image);
        let second = holds.hold(image);
        let third = first.clone();
        drop((first, second));
        assert_eq!(holds.all(), BTreeSet::from([image]));
        drop(third);
        assert_eq!(holds.all(), BTreeSet::new());
    }
}
