//! Certificates and keys in a directory: `<name>.pem` beside `<name>.key`, the trusted
//! certificates as `root.pem`, `nodes.pem` and `clients.pem`, the authority as
//! `authority.key`, and the one that shall take its place as `authority-next.key`.
//!
//! A file is replaced whole or not at all, and is durable when its function returns. What
//! holds a key is readable by its owner only, from its first byte.

#![allow(
    clippy::disallowed_methods,
    reason = "certificates are read once, and seldom written"
)]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use zeroize::Zeroizing;

use super::{Authority, Identity, PkiError, Trust, certificates_to_pem};

const PUBLIC_MODE: u32 = 0o644;
const PRIVATE_MODE: u32 = 0o600;

/// Writes an identity as `<name>.pem` and `<name>.key`.
///
/// # Errors
/// `File`.
pub fn save_identity(directory: &Path, name: &str, identity: &Identity) -> Result<(), PkiError> {
    // The key first: a certificate without its key would be of no use to a later start.
    replace(
        directory,
        &format!("{name}.key"),
        PRIVATE_MODE,
        identity.key_pem(),
    )?;
    replace(
        directory,
        &format!("{name}.pem"),
        PUBLIC_MODE,
        &identity.chain_pem(),
    )
}

/// Writes what a user needs to log in: `<name>.pem`, `<name>.key`, and the roots to trust. The
/// directory is made if need be.
///
/// # Errors
/// `File`.
pub fn save_client(
    directory: &Path,
    name: &str,
    identity: &Identity,
    roots_name: &str,
    roots_pem: &str,
) -> Result<(), PkiError> {
    fs::create_dir_all(directory).map_err(|source| PkiError::File {
        path: directory.to_path_buf(),
        source,
    })?;
    replace(directory, roots_name, PUBLIC_MODE, roots_pem)?;
    save_identity(directory, name, identity)
}

/// Reads what [`save_identity`] wrote.
///
/// # Errors
/// `File`, `Malformed`, `WrongKey`.
pub fn load_identity(directory: &Path, name: &str) -> Result<Identity, PkiError> {
    let key = Zeroizing::new(read(directory, &format!("{name}.key"))?);
    Identity::from_pem(&read(directory, &format!("{name}.pem"))?, &key)
}

/// Writes whom to trust.
///
/// # Errors
/// `File`.
pub fn save_trust(directory: &Path, trust: &Trust) -> Result<(), PkiError> {
    for (name, certificates) in [
        ("root.pem", &trust.roots),
        ("nodes.pem", &trust.nodes),
        ("clients.pem", &trust.clients),
    ] {
        replace(
            directory,
            name,
            PUBLIC_MODE,
            &certificates_to_pem(certificates),
        )?;
    }
    Ok(())
}

/// Reads what [`save_trust`] wrote.
///
/// # Errors
/// `File`, `Malformed`.
pub fn load_trust(directory: &Path) -> Result<Trust, PkiError> {
    Trust::from_pem(
        &read(directory, "root.pem")?,
        &read(directory, "nodes.pem")?,
        &read(directory, "clients.pem")?,
    )
}

/// Which of the cluster's authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that certifies now.
    Current,
    /// The one that shall take its place.
    Next,
}

impl Which {
    fn file(self) -> &'static str {
        match self {
            Which::Current => "authority.key",
            Which::Next => "authority-next.key",
        }
    }
}

/// Writes an authority with its keys.
///
/// # Errors
/// `File`.
pub fn save_authority(
    directory: &Path,
    which: Which,
    authority: &Authority,
) -> Result<(), PkiError> {
    replace(directory, which.file(), PRIVATE_MODE, &authority.to_pem())
}

/// Removes an authority; that there is none is no error.
///
/// # Errors
/// `File`.
pub fn remove_authority(directory: &Path, which: Which) -> Result<(), PkiError> {
    let path = directory.join(which.file());
    let remove = || match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(directory)?.sync_all(),
    };
    remove().map_err(|source| PkiError::File {
        path: path.clone(),
        source,
    })
}

/// Reads what [`save_authority`] wrote; `None` if this directory has no such authority.
///
/// # Errors
/// `File`, `Malformed`, `WrongKey`.
pub fn load_authority(directory: &Path, which: Which) -> Result<Option<Authority>, PkiError> {
    match read(directory, which.file()) {
        Ok(pem) => Authority::from_pem(&Zeroizing::new(pem)).map(Some),
        Err(PkiError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(directory: &Path, name: &str) -> Result<String, PkiError> {
    let path = directory.join(name);
    fs::read_to_string(&path).map_err(|source| PkiError::File { path, source })
}

fn replace(directory: &Path, name: &str, mode: u32, text: &str) -> Result<(), PkiError> {
    let path = directory.join(name);
    let fresh = directory.join(format!("{name}.new"));
    let write = || -> io::Result<()> {
        // A leftover of an earlier crash may have another mode: it is not written through.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|source| PkiError::File {
        path: path.clone(),
        source,
    })
}
