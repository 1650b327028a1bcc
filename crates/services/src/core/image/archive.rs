//! What a file with images in it says of them: `manifest.json` of `docker save`, or `index.json`
//! of an OCI image layout.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Descriptor, Digest, Document, DocumentError, Reference, manifest::Listed, read};

/// A file has at most so many images.
const IMAGES_MAX: usize = 100;
/// An image has at most so many names.
const NAMES_MAX: usize = 100;
/// A link in an archive leads to a file through at most so many others.
const LINKS_MAX: usize = 8;
/// What containerd and Docker call an image in an index.
const WHOLE_NAME: &str = "io.containerd.image.name";
/// What OCI calls it: a tag, or whatever the writer chose.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Where its config is in the archive.
    pub config: String,
    /// What it is called.
    pub names: Vec<Reference>,
    /// Where its layers are, the lowest first.
    pub layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawSaved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Reads `manifest.json`.
///
/// # Errors
/// It is none, or a name in it is none.
pub fn saved(bytes: &[u8]) -> Result<Vec<Saved>, DocumentError> {
    let raw: Vec<RawSaved> = read("manifest.json", bytes)?;
    if raw.len() > IMAGES_MAX {
        return Err(malformed(format!(
            "{} images of at most {IMAGES_MAX}",
            raw.len()
        )));
    }
    let read = |raw: RawSaved| {
        let tags = raw.repo_tags.unwrap_or_default();
        let names = tags.iter().take(NAMES_MAX).map(|tag| named(tag));
        Ok(Saved {
            config: raw.config,
            names: names.collect::<Result<_, _>>()?,
            layers: raw.layers.unwrap_or_default(),
        })
    };
    raw.into_iter().map(read).collect()
}

/// An image of a layout's `index.json`, and what it is called, if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaidOut {
    /// Its manifest, or an index of its manifests.
    pub target: Descriptor,
    /// What it is called.
    pub name: Option<Reference>,
}

/// Reads `index.json`. `base` is the repository that an image belongs to whose name is only a
/// tag.
///
/// # Errors
/// It is none, or a name in it is none.
pub fn laid_out(bytes: &[u8], base: Option<&str>) -> Result<Vec<LaidOut>, DocumentError> {
    let manifests = match Document::read(bytes, None)? {
        Document::Index(manifests) => manifests,
        Document::Manifest(_) => return Err(malformed("index.json is no index".to_owned())),
    };
    if manifests.len() > IMAGES_MAX {
        let images = manifests.len();
        return Err(malformed(format!(
            "{images} images of at most {IMAGES_MAX}"
        )));
    }
    let read = |listed: Listed| {
        Ok(LaidOut {
            name: name(&listed, base)?,
            target: listed.descriptor,
        })
    };
    manifests.into_iter().map(read).collect()
}

fn name(listed: &Listed, base: Option<&str>) -> Result<Option<Reference>, DocumentError> {
    if let Some(whole) = listed.annotations.get(WHOLE_NAME) {
        return named(whole).map(Some);
    }
    let tag = listed.annotations.get(REF_NAME);
    match (tag, base) {
        // It is whole if it says where the image is from.
        (Some(tag), _) if tag.contains(['/', ':']) => named(tag).map(Some),
        (Some(tag), Some(base)) => named(&format!("{base}:{tag}")).map(Some),
        (None, Some(base)) => named(base).map(Some),
        (_, None) => Ok(None),
    }
}

/// A name in an archive, or of one.
///
/// # Errors
/// It is none.
pub fn named(text: &str) -> Result<Reference, DocumentError> {
    let refused = |error| malformed(format!("the name {text:?}: {error}"));
    text.parse().map_err(refused)
}

/// Whether a name says its tag or its digest.
pub fn has_version(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    last.contains([':', '@'])
}

/// What was found in an archive: its files by their paths, and links between them.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    files: BTreeMap<String, (Digest, u64)>,
    links: BTreeMap<String, String>,
}

impl Contents {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.files.len() + self.links.len()
    }

    /// A file has been read.
    pub fn add(&mut self, path: &str, digest: Digest, bytes: u64) {
        self.files.insert(plain(path), (digest, bytes));
    }

    /// A link has been read; older archives have a layer that comes twice as one.
    pub fn link(&mut self, path: &str, target: &str) {
        let path = plain(path);
        let target = match (target.starts_with('/'), path.rsplit_once('/')) {
            (false, Some((folder, _))) => plain(&format!("{folder}/{target}")),
            _ => plain(target),
        };
        self.links.insert(path, target);
    }

    /// What is at a path, links followed. They are looked up here and nowhere else.
    ///
    /// # Errors
    /// There is nothing.
    pub fn find(&self, path: &str) -> Result<Descriptor, DocumentError> {
        let mut at = plain(path);
        for _ in 0..LINKS_MAX {
            if let Some((digest, size)) = self.files.get(&at) {
                return Ok(Descriptor {
                    media_type: String::new(),
                    digest: *digest,
                    size: *size,
                });
            }
            match self.links.get(&at) {
                Some(target) => at.clone_from(target),
                None => break,
            }
        }
        Err(malformed(format!("{path:?} is not in it")))
    }
}

/// A path without `.` and with `..` taken as text; one that leads out is at the root.
fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn malformed(why: String) -> DocumentError {
    DocumentError::Malformed {
        what: "the archive",
        why,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn docker_tells_files_and_names() {
        let bytes = json!([
            {"Config": "c.json", "RepoTags": ["app:1", "example.com/app:2"],
                "Layers": ["a/layer.tar", "b/layer.tar"]},
            {"Config": "d.json", "RepoTags": null, "Layers": null},
        ]);
        let images = saved(bytes.to_string().as_bytes()).unwrap();
        let names: Vec<_> = images[0].names.iter().map(Reference::to_string).collect();
        assert_eq!(names, ["docker.io/library/app:1", "example.com/app:2"]);
        assert_eq!(images[0].layers, ["a/layer.tar", "b/layer.tar"]);
        assert_eq!(
            (images[1].config.as_str(), images[1].names.len()),
            ("d.json", 0)
        );
        let wrong = [
            json!([{"Config": "c", "RepoTags": ["App"]}]),
            json!({"Config": "c"}),
            json!(vec![json!({"Config": "c"}); IMAGES_MAX + 1]),
        ];
        for value in wrong {
            assert!(saved(value.to_string().as_bytes()).is_err(), "{value}");
        }
    }

    #[test]
    fn a_layouts_images_have_names_if_somebody_says_them() {
        let told = |annotations: Value, base: Option<&str>| {
            let index = json!({"schemaVersion": 2, "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": Digest::of(b""), "size": 0, "annotations": annotations}]});
            let images = laid_out(index.to_string().as_bytes(), base);
            images.map(|images| images[0].name.as_ref().map(Reference::to_string))
        };
        let cases = [
            (
                json!({WHOLE_NAME: "a.io/b:c", REF_NAME: "c"}),
                Some("x"),
                Some("a.io/b:c"),
            ),
            (json!({REF_NAME: "a.io/b:c"}), Some("x"), Some("a.io/b:c")),
            (json!({REF_NAME: "c"}), Some("x.io/y"), Some("x.io/y:c")),
            (json!({REF_NAME: "c"}), None, None),
            (json!({}), Some("x:1"), Some("docker.io/library/x:1")),
            (json!({}), None, None),
        ];
        for (annotations, base, name) in cases {
            let name = name.map(str::to_owned);
            assert_eq!(told(annotations.clone(), base), Ok(name), "{annotations}");
        }
        assert!(
            told(json!({REF_NAME: "c"}), Some("x:1")).is_err(),
            "two tags"
        );
        assert!(told(json!({WHOLE_NAME: "A b"}), None).is_err());
    }

    #[test]
    fn a_port_is_no_tag() {
        for (name, has) in [
            ("a", false),
            ("h:1/a", false),
            ("h:1/a:b", true),
            ("a@sha", true),
        ] {
            assert_eq!(has_version(name), has, "{name}");
        }
    }

    #[test]
    fn links_are_followed_inside_the_archive_only() {
        let mut contents = Contents::default();
        let digest = Digest::of(b"x");
        contents.add("./a/layer.tar", digest, 1);
        contents.link("b/layer.tar", "../a/layer.tar");
        contents.link("c/layer.tar", "/b/./layer.tar");
        contents.link("loop", "loop");
        contents.link("out", "../../../../etc/passwd");
        for path in [
            "a/layer.tar",
            "/b/layer.tar",
            "c//layer.tar",
            "d/../a/layer.tar",
        ] {
            assert_eq!(contents.find(path).unwrap().digest, digest, "{path}");
        }
        for path in ["loop", "out", "etc/passwd", ""] {
            assert!(contents.find(path).is_err(), "{path}");
        }
        assert_eq!(contents.count(), 5);
    }
}
