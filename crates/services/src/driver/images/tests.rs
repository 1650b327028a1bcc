//! The store as a whole: what is imported and fetched, what is refused, what stays.

mod build;
mod collection;
mod hostile;
mod imports;
mod pulls;
mod server;
mod shelf;

use std::{collections::BTreeSet, path::PathBuf};

use atoll_world::tree;
use tempfile::TempDir;

use super::*;

/// No file of a test has more.
const BYTES_MAX: u64 = 1 << 20;

/// A store, and the folder that it is in.
struct Place {
    images: Images,
    scratch: TempDir,
}

fn place() -> Place {
    let scratch = tempfile::tempdir().unwrap();
    let images = Images::open(&scratch.path().join("images"), &[]).unwrap();
    Place { images, scratch }
}

impl Place {
    fn folder(&self) -> PathBuf {
        self.scratch.path().join("images")
    }

    /// How many things are in a folder of the store.
    fn count(&self, part: &str) -> usize {
        std::fs::read_dir(self.folder().join(part)).unwrap().count()
    }

    /// Removes what nobody needs, but for what is used.
    fn collect(&self, used: &[Vec<PathBuf>]) -> collect::Freed {
        let used = used.iter().cloned().collect();
        let inner = &self.images.inner;
        collect::collect(&inner.store, &inner.holds.all(), &used).unwrap()
    }

    /// A file of the topmost layer of an image that has it.
    fn content(&self, image: &str, path: &str) -> Option<Vec<u8>> {
        let image = self.images.find(image).expect("the image is there");
        let mut layers = image.layers.iter().rev();
        layers.find_map(|layer| tree::read_file(&layer.join(path), BYTES_MAX).unwrap())
    }
}

fn write(path: PathBuf, content: impl AsRef<[u8]>) {
    tree::write_file(&path, content.as_ref(), 0o600).unwrap();
}

fn read(path: PathBuf) -> Vec<u8> {
    tree::read_file(&path, BYTES_MAX)
        .unwrap()
        .expect("it is there")
}

fn keyring(host: &str, user: &str, password: &str) -> Keyring {
    let mut keyring = Keyring::default();
    let secret = serde_json::json!({"auths": {host: {"username": user, "password": password}}});
    keyring.add(secret.to_string().as_bytes()).unwrap();
    keyring
}
