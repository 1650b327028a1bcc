//! What fuzz targets call: the parsers here of text that comes from outside.

use std::fmt::Write as _;

use crate::config::{File, Sources};

/// A configuration file: an error, or a configuration that reads the same when it is written
/// out as a file.
///
/// # Panics
/// When that does not hold.
pub fn configuration(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let load = |text: &str| {
        let file = File {
            name: "atoll.toml",
            text,
        };
        Sources {
            file: Some(file),
            ..Sources::default()
        }
        .load()
    };
    let Ok(loaded) = load(&text) else { return };
    let described = loaded.describe();
    let mut written = String::new();
    for one in &described {
        let section = one.setting.path.split('.').next().unwrap_or_default();
        // Dotted keys, so that no section has to come only once.
        writeln!(written, "{section}.{}", one.toml_line()).expect("a string takes everything");
    }
    let again = match load(&written) {
        Ok(again) => again.describe(),
        Err(error) => panic!("{error}, in:\n{written}"),
    };
    let values = |all: &[crate::config::Described]| -> Vec<String> {
        all.iter().map(|one| one.value.clone()).collect()
    };
    assert_eq!(values(&again), values(&described));
}
