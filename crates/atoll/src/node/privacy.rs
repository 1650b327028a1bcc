//! Who may look into a node's folder: nobody but the node's user. It holds the authority's keys
//! and, in its journals, all data.
//!
//! Where pods may be other users of the machine, which takes root, these have to get through to
//! their own folders: they may pass, and list nothing.

use std::path::Path;

use atoll_world::{
    process,
    tree::{self, TreeError},
};

use super::services::{IMAGES_DIR, PODS_DIR};

/// What is private.
const PRIVATE: u32 = 0o700;
/// What others may pass.
const PASSED: u32 = 0o711;
/// What pods write to, and what outlives them.
const OF_PODS: [&str; 2] = [PODS_DIR, "claims"];
/// What earlier versions made for everybody to read: names, and what names begin with. What is
/// made now is private from the beginning.
const OLD_NAMES: [&str; 7] = [
    "CURRENT",
    "LOCK",
    IMAGES_DIR,
    "journal",
    "kubernetes-api",
    "node.json",
    "pki",
];
const OLD_PREFIXES: [&str; 2] = ["kv-", "store-"];

/// Closes the folder of a node to others, and what an earlier version has left open in it. Where
/// that is not this process's to do, somebody else has to: this is told.
pub(super) fn close(folder: &Path) {
    match try_to_close(folder) {
        Ok(false) => {}
        Ok(true) => tracing::warn!(
            folder = %folder.display(),
            "the folder of the node could be read by other users of the machine, now it can't"
        ),
        Err(error) => tracing::warn!(
            %error,
            "other users of the machine may be able to read the folder of the node"
        ),
    }
}

/// Whether it was open.
fn try_to_close(folder: &Path) -> Result<bool, TreeError> {
    let passed = passed();
    let mut was_open = tree::rights(folder)? & !PASSED != 0;
    if tree::rights(folder)? != passed {
        tree::set_rights(folder, passed)?;
    }
    for name in tree::names(folder)? {
        let is_old = OLD_NAMES.contains(&name.as_str())
            || OLD_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if is_old {
            was_open |= tree::keep_private(&folder.join(name))?;
        }
    }
    Ok(was_open)
}

fn passed() -> u32 {
    if process::is_root() { PASSED } else { PRIVATE }
}

/// Makes the folders of pods.
///
/// # Errors
/// One can't be made.
pub(super) fn make_for_pods(folder: &Path) -> Result<(), TreeError> {
    OF_PODS.iter().try_for_each(|name| {
        let path = folder.join(name);
        tree::make_folder(&path, PRIVATE)?;
        tree::set_rights(&path, passed())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_open_is_closed() {
        let scratch = tempfile::tempdir().unwrap();
        let node = scratch.path().join("node");
        tree::make_folder(&node.join("pki"), 0o755).unwrap();
        tree::make_folder(&node.join("store-0/deep"), 0o755).unwrap();
        tree::make_folder(&node.join("pods/u"), 0o755).unwrap();
        tree::write_file(&node.join("node.json"), b"{}", 0o644).unwrap();
        // Whoever put it there knows why.
        tree::write_file(&node.join("script"), b"", 0o755).unwrap();
        tree::link(Path::new("/"), &node.join("journal")).unwrap();
        for _ in 0..2 {
            make_for_pods(&node).unwrap();
            close(&node);
            let rights = |name: &str| tree::rights(&node.join(name)).unwrap();
            assert_eq!((rights("pki"), rights("store-0")), (0o700, 0o700));
            assert_eq!(rights("node.json"), 0o600);
            assert_eq!(rights("script"), 0o755);
            let passed = if process::is_root() { 0o711 } else { 0o700 };
            for name in ["", "pods", "claims"] {
                assert_eq!(rights(name), passed, "{name}");
            }
        }
    }
}
