//! Which images go when the disk fills up: those that no container was started with, the longest
//! unused first, one after the other until there is room again.
//!
//! Source: the kubelet's image garbage collection (`pkg/kubelet/images/image_gc_manager.go`) with
//! its default thresholds. How much an image's end frees is not known before, since images share
//! layers, so the disk is looked at anew after each.

use std::collections::BTreeMap;

use super::Digest;

/// Collection begins when so much of the disk is used, in percent.
pub const HIGH_PERCENT: u64 = 85;
/// And goes on until no more than so much is.
pub const LOW_PERCENT: u64 = 80;
/// An image stays for so long at least, in milliseconds: it was fetched for something.
pub const AGE_MS_MIN: u64 = 120_000;

/// An image as it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Its manifest.
    pub manifest: Digest,
    /// A container was started with it that is still there, or is being started.
    pub is_used: bool,
    /// Nobody has it but this node.
    pub is_pinned: bool,
}

/// The disk that images are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskRoom {
    /// All of it, in bytes.
    pub bytes: u64,
    /// What can be had of it, in bytes.
    pub free_bytes: u64,
}

impl DiskRoom {
    /// How much is used, in percent; none of a disk of which nothing is known.
    pub fn used_percent(self) -> u64 {
        let free = u128::from(self.free_bytes) * 100;
        let free = free.checked_div(u128::from(self.bytes)).unwrap_or(100);
        100 - u64::try_from(free.min(100)).expect("it is small")
    }
}

/// What is known of an image.
#[derive(Clone, Copy, Debug)]
struct Seen {
    first_ms: u64,
    used_ms: u64,
}

/// Watches images and the disk. Times are of any clock that does not go back.
#[derive(Debug, Default)]
pub struct Collection {
    seen: BTreeMap<Digest, Seen>,
    /// The disk was too full, and still is.
    is_under_way: bool,
}

impl Collection {
    /// Looks at all images and the disk; the image to remove now, if one is. Afterwards it is to
    /// be asked again at once.
    pub fn look(&mut self, now_ms: u64, images: &[Sight], disk: DiskRoom) -> Option<Digest> {
        self.note(now_ms, images);
        let used = disk.used_percent();
        self.is_under_way = used >= HIGH_PERCENT || (self.is_under_way && used > LOW_PERCENT);
        if !self.is_under_way {
            return None;
        }
        let unused = images
            .iter()
            .filter(|image| !image.is_used && !image.is_pinned);
        let seen =
            unused.filter_map(|image| Some((image.manifest, *self.seen.get(&image.manifest)?)));
        let old = seen.filter(|(_, seen)| now_ms.saturating_sub(seen.first_ms) >= AGE_MS_MIN);
        let first = old.min_by_key(|(manifest, seen)| (seen.used_ms, seen.first_ms, *manifest));
        // If there is none to remove, there may be at the next look.
        first.map(|(manifest, _)| manifest)
    }

    /// Whether the disk is too full.
    pub fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    fn note(&mut self, now_ms: u64, images: &[Sight]) {
        let mut before = std::mem::take(&mut self.seen);
        for image in images {
            let new = Seen {
                first_ms: now_ms,
                used_ms: 0,
            };
            let mut seen = before.remove(&image.manifest).unwrap_or(new);
            if image.is_used {
                seen.used_ms = now_ms;
            }
            self.seen.insert(image.manifest, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LATER_MS: u64 = AGE_MS_MIN;

    fn digest(name: u8) -> Digest {
        Digest::of(&[name])
    }

    fn image(name: u8) -> Sight {
        Sight {
            manifest: digest(name),
            is_used: false,
            is_pinned: false,
        }
    }

    fn used(name: u8) -> Sight {
        Sight {
            is_used: true,
            ..image(name)
        }
    }

    /// A disk of which so many percent are used.
    fn disk(percent: u64) -> DiskRoom {
        DiskRoom {
            bytes: 100 << 30,
            free_bytes: (100 - percent) << 30,
        }
    }

    #[test]
    fn it_begins_at_the_high_mark_and_ends_at_the_low_one() {
        let mut collection = Collection::default();
        let images = [image(1), image(2)];
        assert_eq!(collection.look(0, &images, disk(99)), None, "too young");
        for (percent, goes) in [
            (HIGH_PERCENT, true),
            (LOW_PERCENT + 1, true),
            (LOW_PERCENT, false),
            (HIGH_PERCENT - 1, false),
            (HIGH_PERCENT + 1, true),
        ] {
            let gone = collection.look(LATER_MS, &images, disk(percent));
            assert_eq!(gone.is_some(), goes, "{percent} %");
            assert_eq!(collection.is_under_way(), goes, "{percent} %");
        }
        let unknown = DiskRoom {
            bytes: 0,
            free_bytes: 0,
        };
        assert_eq!(Collection::default().look(LATER_MS, &images, unknown), None);
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let mut collection = Collection::default();
        collection.look(0, &[used(1), used(2), image(3)], disk(50));
        collection.look(10, &[used(1), image(2), image(3)], disk(50));
        let mut images = vec![image(1), image(2), image(3), used(4)];
        let mut gone = Vec::new();
        while let Some(next) = collection.look(LATER_MS, &images, disk(95)) {
            images.retain(|image| image.manifest != next);
            gone.push(next);
        }
        assert_eq!(gone, [digest(3), digest(2), digest(1)]);
    }

    #[test]
    fn what_was_away_is_new_again() {
        let mut collection = Collection::default();
        collection.look(0, &[image(1)], disk(95));
        collection.look(LATER_MS, &[], disk(95));
        let fetched = collection.look(LATER_MS + 1, &[image(1)], disk(95));
        assert_eq!(fetched, None, "it was fetched again right now");
    }

    proptest! {
        #[test]
        fn nothing_goes_that_is_needed(
            steps in prop::collection::vec(
                (0..90_000_u64, prop::collection::vec((0..5_u8, any::<bool>(), any::<bool>()), 0..5), 0..=100_u64),
                1..40,
            ),
        ) {
            let mut collection = Collection::default();
            let (mut now_ms, mut since) = (0, BTreeMap::new());
            for (wait_ms, images, percent) in steps {
                now_ms += wait_ms;
                let images: BTreeMap<_, _> = images.into_iter().map(|(name, is_used, is_pinned)| {
                    let manifest = digest(name);
                    (manifest, Sight { manifest, is_used, is_pinned })
                }).collect();
                since.retain(|manifest, _| images.contains_key(manifest));
                for manifest in images.keys() {
                    since.entry(*manifest).or_insert(now_ms);
                }
                let all: Vec<_> = images.values().copied().collect();
                if let Some(gone) = collection.look(now_ms, &all, disk(percent)) {
                    prop_assert!(percent > LOW_PERCENT);
                    prop_assert!(!images[&gone].is_used && !images[&gone].is_pinned);
                    prop_assert!(now_ms - since[&gone] >= AGE_MS_MIN);
                }
            }
        }
    }
}
