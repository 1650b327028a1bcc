//! Images in a Node's status, as the kubelet tells of them: the largest first, each by digest and
//! by tag, and not too many of either (`pkg/kubelet/nodestatus/setters.go`,
//! `nodeStatusMaxImages`, `MaxNamesPerImageInNodeStatus`).

use std::{cmp::Reverse, collections::BTreeSet};

use serde_json::{Value, json};

use super::{Digest, Reference};

/// So many images are told of.
const IMAGES_MAX: usize = 50;
/// So many names of each.
const NAMES_MAX: usize = 5;

/// An image that a node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it is called, by whole names.
    pub names: Vec<String>,
    /// What the names lead to.
    pub target: Digest,
    /// Its size as it was sent.
    pub bytes: u64,
}

/// `status.images` of a Node.
pub fn report(mut images: Vec<Known>) -> Value {
    images.sort_by_key(|image| (Reverse(image.bytes), image.target));
    let images = images.into_iter().take(IMAGES_MAX);
    let told = images.map(|image| {
        let references = image.names.iter().filter_map(|name| name.parse().ok());
        let by_digest = references.map(|name: Reference| name.at(image.target).to_string());
        let by_digest: BTreeSet<String> = by_digest.collect();
        let tags = image.names.iter().filter(|name| !by_digest.contains(*name));
        let names: Vec<&String> = by_digest.iter().chain(tags).take(NAMES_MAX).collect();
        json!({"names": names, "sizeBytes": image.bytes})
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_told_by_digest_and_tag() {
        let known = |name: String, bytes| Known {
            names: vec![name],
            target: Digest::of(b"a"),
            bytes,
        };
        let mut images: Vec<Known> = (0..60).map(|n| known(format!("x.io/a:{n}"), n)).collect();
        images[7].names = (0..9).map(|n| format!("x.io/b:{n}")).collect();
        images[7].bytes = 100;
        let told = report(images);
        assert_eq!(told.as_array().map(Vec::len), Some(IMAGES_MAX));
        assert_eq!(told[0]["names"].as_array().map(Vec::len), Some(NAMES_MAX));
        let digest = Digest::of(b"a");
        assert_eq!(
            told[1],
            json!({"names": [format!("x.io/a@{digest}"), "x.io/a:59"], "sizeBytes": 59})
        );
        assert_eq!(report(Vec::new()), json!([]));
    }
}
