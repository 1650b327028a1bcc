//! Images: their names, documents and layers, which come from strangers.

use crate::{core::image, driver::images};

/// An archive has at most so many bytes here: some can be unpacked to far more.
const ARCHIVE_BYTES_MAX: u64 = 1 << 20;

/// A name of an image. What was read is the same when it is read again, and what a registry is
/// asked with it leads nowhere else.
pub fn image_reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(name) = text.parse::<image::Reference>() else {
        return;
    };
    assert_eq!(name.to_string().parse(), Ok(name.clone()));
    let mut parts = name.repository().split('/');
    assert!(parts.all(|part| !part.is_empty() && !part.starts_with('.')));
    let asked = [name.registry_host(), name.repository(), &name.version()].concat();
    assert!(
        asked
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#%@\\".contains(&byte))
    );
    assert_eq!(name.at(image::Digest::of(bytes)).name(), name.name());
}

/// A manifest, an index, a config, and what archives say of themselves. What is kept is bounded,
/// and a manifest means the same after it was written and read again.
pub fn image_document(bytes: &[u8]) {
    if let Ok(image::Document::Manifest(manifest)) = image::Document::read(bytes, None) {
        assert!(manifest.layers.len() <= image::LAYERS_MAX);
        let again = image::Document::read(&manifest.write(), None);
        let Ok(image::Document::Manifest(again)) = again else {
            panic!("{again:?}");
        };
        let digests = |of: &image::Manifest| {
            let layers = of.layers.iter().map(|it| (it.digest, it.size));
            (of.config.digest, layers.collect::<Vec<_>>())
        };
        assert_eq!(digests(&again), digests(&manifest));
    }
    if let Ok(config) = image::Config::read(bytes) {
        assert!(config.diff_ids.len() <= image::LAYERS_MAX);
        let texts = config.argv(&[], &[]);
        assert!(texts.iter().all(|text| !text.contains('\0')));
        assert!(config.env.iter().all(|(name, _)| !name.is_empty()));
    }
    let _ = image::archive::saved(bytes);
    let _ = image::archive::laid_out(bytes, Some("a"));
}

/// An archive as it is handed over, packed or not. What is found in it was in it, links that lead
/// anywhere notwithstanding.
pub fn image_archive(bytes: &[u8]) {
    let contents = images::skim(bytes, ARCHIVE_BYTES_MAX);
    for path in ["manifest.json", "index.json", "../../etc/passwd", ""] {
        if let Ok(found) = contents.find(path) {
            assert!(contents.count() > 0 && found.size <= ARCHIVE_BYTES_MAX);
        }
    }
}

/// A registry's challenge and a token service's answer: a token fits in a header field.
pub fn image_challenge(bytes: &[u8]) {
    if let Ok(field) = std::str::from_utf8(bytes)
        && let Some(image::challenge::Challenge::Bearer { realm, .. }) =
            image::challenge::Challenge::read(field)
    {
        assert!(!realm.is_empty());
    }
    if let Some(token) = image::challenge::token(bytes) {
        assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

/// An entry of a layer: its type, its path, and behind a newline its target. Nothing leads out.
pub fn image_entry(bytes: &[u8]) {
    use image::layer::{Kind, Step, step};
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let kind = match kind % 7 {
        0 => Kind::File,
        1 => Kind::Folder,
        2 => Kind::Symlink,
        3 => Kind::HardLink,
        4 => Kind::Fifo,
        5 => Kind::Device,
        _ => Kind::Other(*kind),
    };
    let mut parts = rest.splitn(2, |byte| *byte == b'\n');
    let (path, target) = (parts.next().unwrap_or_default(), parts.next());
    let inside = |path: &[u8]| {
        let mut parts = path.split(|byte| *byte == b'/');
        let is_part = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        path.len() < image::layer::PATH_BYTES_MAX && (path.is_empty() || parts.all(is_part))
    };
    match step(path, kind, target) {
        Ok(Step::HardLink(path, target)) => assert!(inside(&path) && inside(&target)),
        Ok(
            Step::Folder(path)
            | Step::File(path)
            | Step::Symlink(path, _)
            | Step::Fifo(path)
            | Step::Whiteout(path)
            | Step::Opaque(path),
        ) => assert!(inside(&path)),
        Ok(Step::Skip(_)) | Err(_) => {}
    }
    let records = rest.chunks(9).map(|it| it.split_at(it.len() / 2));
    if let Ok(kept) = image::layer::xattrs(records) {
        assert!(kept.len() <= image::layer::XATTRS_MAX);
    }
}

/// A pull secret: it is read or not, and never shown.
pub fn image_secret(bytes: &[u8]) {
    let mut keyring = image::Keyring::default();
    let _ = keyring.add(bytes);
    let name = "example.com/a/b:c".parse().expect("it is a name");
    assert!(keyring.logins(&name).len() <= image::credentials::LOGINS_MAX);
    assert!(
        keyring
            .logins(&name)
            .iter()
            .all(|login| format!("{login:?}") == "Login")
    );
}
