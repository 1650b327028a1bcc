//! Manifests and indexes, in OCI's and in Docker's media types, which mean the same.
//!
//! A document says by its fields what it is: one that has those of both kinds is refused, since
//! two readers could take it for two things (CVE-2021-41190).

use serde::{Deserialize, Serialize};

use super::{BLOB_BYTES_MAX, Digest, DocumentError, LAYERS_MAX, Platform, read};

/// An index has at most so many manifests.
const MANIFESTS_MAX: usize = 1_000;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// What a registry is asked for, as its `Accept`.
pub const ACCEPT: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];
/// Layers' media types. They are told apart by their first bytes in the end, since there are
/// registries whose images say `gzip` of what is none.
const LAYERS: [&str; 4] = [
    OCI_LAYER,
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
];
const DOCKER_LAYERS: [&str; 2] = [
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// Some content: what it is, its digest, how long it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its media type; Docker's archives have none.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What an index says of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// The manifest, or another index.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// For which machines; none: it does not say.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// What else is said of it.
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// An image for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its config.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// What a reference leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Images for several platforms.
    Index(Vec<Listed>),
    /// An image.
    Manifest(Manifest),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Listed>>,
}

impl Document {
    /// Reads an index or a manifest. `told` is the media type that it was sent as, if one was.
    ///
    /// # Errors
    /// It is neither, or has more in it than is allowed, or says of itself that it is another
    /// kind than it was sent as.
    pub fn read(bytes: &[u8], told: Option<&str>) -> Result<Document, DocumentError> {
        const WHAT: &str = "the manifest";
        let raw: Raw = read(WHAT, bytes)?;
        let malformed = |why: &str| DocumentError::Malformed {
            what: WHAT,
            why: why.to_owned(),
        };
        if raw.schema_version != 2 {
            return Err(unsupported(format!("schema {}", raw.schema_version)));
        }
        let document = match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) => Document::Index(manifests),
            (None, Some(config), Some(layers)) => Document::Manifest(Manifest { config, layers }),
            (None, _, _) => return Err(malformed("it has no config and layers")),
            _ => return Err(malformed("it is an index and an image at once")),
        };
        // A media type of its own has to be true; what a server says may be `text/plain`.
        let own = raw.media_type.as_deref();
        let told = told.filter(|told| is_known(told));
        for media_type in own.into_iter().chain(told) {
            if !document.is_of(media_type) {
                return Err(malformed(&format!("it is no {media_type}")));
            }
        }
        document.check()?;
        Ok(document)
    }

    fn is_of(&self, media_type: &str) -> bool {
        match self {
            Document::Index(_) => [OCI_INDEX, DOCKER_LIST].contains(&media_type),
            Document::Manifest(_) => [OCI_MANIFEST, DOCKER_MANIFEST].contains(&media_type),
        }
    }

    fn check(&self) -> Result<(), DocumentError> {
        match self {
            Document::Index(manifests) if manifests.len() > MANIFESTS_MAX => {
                Err(unsupported(format!("{} manifests", manifests.len())))
            }
            Document::Index(_) => Ok(()),
            Document::Manifest(manifest) => manifest.check(),
        }
    }
}

/// One of the four that can be here; a registry's `Content-Type` may be anything.
fn is_known(media_type: &str) -> bool {
    ACCEPT.contains(&media_type)
}

impl Manifest {
    fn check(&self) -> Result<(), DocumentError> {
        let config = self.config.media_type.as_str();
        if !["", OCI_CONFIG, DOCKER_CONFIG].contains(&config) {
            return Err(unsupported(format!("it is no image but {config}")));
        }
        if self.layers.len() > LAYERS_MAX {
            let layers = self.layers.len();
            return Err(unsupported(format!(
                "{layers} layers of at most {LAYERS_MAX}"
            )));
        }
        for layer in &self.layers {
            let media_type = layer.media_type.as_str();
            let mut known = LAYERS.iter().chain(&DOCKER_LAYERS);
            if !media_type.is_empty() && !known.any(|it| *it == media_type) {
                return Err(unsupported(format!("layers of {media_type}")));
            }
            if layer.size > BLOB_BYTES_MAX {
                return Err(unsupported(format!("a layer of {} bytes", layer.size)));
            }
        }
        Ok(())
    }

    /// What it is written as: OCI's form, whatever it was read from.
    pub fn write(&self) -> Vec<u8> {
        let descriptor = |of: &Descriptor, default: &str| {
            let media_type = match of.media_type.as_str() {
                "" => default,
                told => told,
            };
            serde_json::json!({"mediaType": media_type, "digest": of.digest, "size": of.size})
        };
        let layers = self.layers.iter().map(|layer| descriptor(layer, OCI_LAYER));
        let document = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(&self.config, OCI_CONFIG),
            "layers": layers.collect::<Vec<_>>(),
        });
        document.to_string().into_bytes()
    }
}

/// The manifest of an index that is for a platform: the first that names it, else the first that
/// names none.
pub fn choose<'a>(manifests: &'a [Listed], here: &Platform) -> Option<&'a Descriptor> {
    let fits = |listed: &&Listed| listed.platform.as_ref().is_some_and(|it| here.runs(it));
    let says_nothing = |listed: &&Listed| listed.platform.is_none();
    let chosen = manifests.iter().find(fits);
    let chosen = chosen.or_else(|| manifests.iter().find(says_nothing));
    chosen.map(|listed| &listed.descriptor)
}

fn unsupported(why: String) -> DocumentError {
    DocumentError::Unsupported {
        what: "the manifest",
        why,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn some(media_type: &str, content: &str) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(content.as_bytes()), "size": 3})
    }

    fn image() -> Value {
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": some(OCI_CONFIG, "c"),
            "layers": [some(LAYERS[1], "1"), some(LAYERS[2], "2"), some(DOCKER_LAYERS[0], "3")]})
    }

    fn index() -> Value {
        let entry = |os: &str, architecture: &str, variant: &str, content: &str| {
            let mut entry = some(OCI_MANIFEST, content);
            entry["platform"] = json!({"os": os, "architecture": architecture, "variant": variant});
            entry
        };
        json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [
            entry("unknown", "unknown", "", "attestation"),
            entry("linux", "arm", "v7", "arm"),
            entry("linux", "amd64", "v3", "fast"),
            entry("linux", "amd64", "", "amd64"),
            entry("linux", "arm64", "v8", "arm64"),
        ]})
    }

    fn read(value: &Value, told: Option<&str>) -> Result<Document, DocumentError> {
        Document::read(value.to_string().as_bytes(), told)
    }

    #[test]
    fn an_image_is_read_and_written() {
        let Document::Manifest(manifest) = read(&image(), Some(OCI_MANIFEST)).unwrap() else {
            panic!("it is an image");
        };
        let digests: Vec<_> = manifest.layers.iter().map(|layer| layer.digest).collect();
        let expected = ["1", "2", "3"].map(|content| Digest::of(content.as_bytes()));
        assert_eq!(digests, expected);
        let again = Document::read(&manifest.write(), None).unwrap();
        assert_eq!(again, Document::Manifest(manifest));
    }

    #[test]
    fn an_index_has_one_manifest_for_a_machine() {
        let Document::Index(mut manifests) = read(&index(), Some(DOCKER_LIST)).unwrap() else {
            panic!("it is an index");
        };
        let here = |architecture: &str| Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: String::new(),
        };
        let chosen = |manifests: &[Listed], architecture: &str| {
            choose(manifests, &here(architecture)).map(|it| it.digest)
        };
        for architecture in ["amd64", "arm64"] {
            let expected = Digest::of(architecture.as_bytes());
            assert_eq!(chosen(&manifests, architecture), Some(expected));
        }
        assert_eq!(chosen(&manifests, "riscv64"), None);
        manifests[0].platform = None;
        let unnamed = Some(Digest::of(b"attestation"));
        assert_eq!(chosen(&manifests, "riscv64"), unnamed);
        assert_eq!(chosen(&manifests, "amd64"), Some(Digest::of(b"amd64")));
    }

    #[test]
    fn what_is_two_things_at_once_is_refused() {
        let mut both = image();
        both["manifests"] = json!([]);
        let mut half = image();
        half.as_object_mut().unwrap().remove("layers");
        let mut lies = image();
        lies["mediaType"] = json!(OCI_INDEX);
        let mut old = image();
        old["schemaVersion"] = json!(1);
        let mut chart = image();
        chart["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
        let mut foreign = image();
        foreign["layers"][0]["mediaType"] =
            json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        let mut large = image();
        large["layers"][0]["size"] = json!(BLOB_BYTES_MAX + 1);
        let mut deep = image();
        deep["layers"] = json!(vec![some(OCI_LAYER, "l"); LAYERS_MAX + 1]);
        let mut wide = index();
        wide["manifests"] = json!(vec![some(OCI_MANIFEST, "m"); MANIFESTS_MAX + 1]);
        let mut path = image();
        path["config"]["digest"] = json!("sha256:../../etc/passwd");
        let cases = [
            (both, "at once"),
            (half, "no config and layers"),
            (lies, "it is no application/vnd.oci.image.index"),
            (old, "schema 1"),
            (chart, "helm"),
            (foreign, "foreign"),
            (large, "bytes"),
            (deep, "129 layers"),
            (wide, "1001 manifests"),
            (path, "invalid checksum"),
            (json!([]), "invalid"),
        ];
        for (value, part) in cases {
            let told = read(&value, None).unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
        }
        assert!(read(&image(), Some(DOCKER_LIST)).is_err());
        assert!(read(&image(), Some("text/plain")).is_ok());
        let long = vec![b' '; super::super::DOCUMENT_BYTES_MAX + 1];
        let told = Document::read(&long, None).unwrap_err().to_string();
        assert!(told.contains("longer than"), "{told}");
    }
}
