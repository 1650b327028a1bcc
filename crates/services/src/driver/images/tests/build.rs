//! Images, made by hand: tars entry by entry, so that they can be wrong in every way.

use std::{collections::BTreeMap, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tar::{EntryType, Header};

use crate::core::image::{Digest, Platform};

/// A tar that is being made.
#[derive(Clone, Default)]
pub(super) struct Tar(Vec<u8>);

impl Tar {
    /// An entry, whatever is in it.
    pub(super) fn entry(mut self, path: &str, kind: u8, link: &str, content: &[u8]) -> Tar {
        let mut header = Header::new_gnu();
        let fields = header.as_gnu_mut().unwrap();
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        fields.realsize = *b"000000000000";
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, path: &str, content: &[u8]) -> Tar {
        self.entry(path, b'0', "", content)
    }

    pub(super) fn folder(self, path: &str) -> Tar {
        self.entry(path, b'5', "", b"")
    }

    pub(super) fn symlink(self, path: &str, target: &str) -> Tar {
        self.entry(path, b'2', target, b"")
    }

    /// Records in the pax format, for the entry that comes next.
    pub(super) fn records(self, records: &[(&str, &[u8])]) -> Tar {
        let mut content = Vec::new();
        for (key, value) in records {
            // A record's length counts its own digits.
            let bare = key.len() + value.len() + 3;
            let length = (1..8).map(|digits| bare + digits);
            let length = length
                .into_iter()
                .find(|it| it.to_string().len() + bare == *it);
            write!(content, "{} {key}=", length.unwrap()).unwrap();
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.entry("PaxHeaders/x", b'x', "", &content)
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// All blobs of some images.
#[derive(Clone, Default)]
pub(super) struct Blobs(pub(super) BTreeMap<Digest, Vec<u8>>);

impl Blobs {
    pub(super) fn add(&mut self, content: Vec<u8>) -> Digest {
        let digest = Digest::of(&content);
        self.0.insert(digest, content);
        digest
    }

    fn descriptor(&mut self, media_type: &str, content: Vec<u8>) -> Value {
        let size = content.len();
        json!({"mediaType": media_type, "digest": self.add(content), "size": size})
    }

    /// An image of these tars, packed; returns its manifest.
    pub(super) fn image(&mut self, platform: &Platform, tars: &[Vec<u8>]) -> Digest {
        let diff_ids: Vec<_> = tars.iter().map(|tar| Digest::of(tar)).collect();
        self.image_of(platform, tars, &diff_ids)
    }

    /// As [`Blobs::image`], with a config that says something else of its layers.
    pub(super) fn image_of(
        &mut self,
        platform: &Platform,
        tars: &[Vec<u8>],
        diff_ids: &[Digest],
    ) -> Digest {
        let config = config(platform, diff_ids);
        let config = self.descriptor("application/vnd.oci.image.config.v1+json", config);
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        let layers = tars.iter().map(|tar| self.descriptor(layer, gzip(tar)));
        let manifest = json!({"schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": layers.collect::<Vec<_>>()});
        self.add(manifest.to_string().into_bytes())
    }

    /// An index of manifests.
    pub(super) fn index(&mut self, manifests: &[(Digest, Platform)]) -> Digest {
        let entry = |(digest, platform): &(Digest, Platform)| {
            json!({"mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest, "size": self.0[digest].len(), "platform": {
                    "os": platform.os, "architecture": platform.architecture}})
        };
        let manifests: Vec<_> = manifests.iter().map(entry).collect();
        let index = json!({"schemaVersion": 2, "manifests": manifests,
            "mediaType": "application/vnd.oci.image.index.v1+json"});
        self.add(index.to_string().into_bytes())
    }

    /// An OCI image layout, as a tar; images by the names that the index gives them.
    pub(super) fn layout(&self, images: &[(Digest, Value)]) -> Tar {
        let tar = Tar::default()
            .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
            .file("index.json", self.layout_index(images).as_bytes())
            .folder("blobs/");
        self.0.iter().fold(tar, |tar, (digest, content)| {
            tar.file(&format!("blobs/sha256/{}", digest.hex()), content)
        })
    }

    pub(super) fn layout_index(&self, images: &[(Digest, Value)]) -> String {
        let entry = |(digest, annotations): &(Digest, Value)| {
            json!({"mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest, "size": self.0[digest].len(), "annotations": annotations})
        };
        let manifests: Vec<_> = images.iter().map(entry).collect();
        json!({"schemaVersion": 2, "manifests": manifests}).to_string()
    }
}

/// What names an image in a layout's index.
pub(super) fn named(name: &str) -> Value {
    json!({"io.containerd.image.name": name})
}

pub(super) fn config(platform: &Platform, diff_ids: &[Digest]) -> Vec<u8> {
    let config = json!({"os": platform.os, "architecture": platform.architecture,
        "config": {"Cmd": ["/bin/app"], "Env": ["A=1"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    config.to_string().into_bytes()
}

/// A layer with one file.
pub(super) fn layer(path: &str, content: &str) -> Vec<u8> {
    Tar::default().file(path, content.as_bytes()).end()
}
