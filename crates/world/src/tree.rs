//! Folders and files that programs of workloads find: made whole, removed whole, followed nowhere.
//! Calls block. Nothing here is synced: what is lost with the machine is made anew.

#![allow(
    clippy::disallowed_methods,
    reason = "files of real processes, which no simulation has"
)]

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Component, Path, PathBuf},
};

/// Why something could not be done to a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct TreeError {
    /// What was tried, a verb.
    operation: &'static str,
    /// The file.
    path: PathBuf,
    /// What the operating system said.
    source: io::Error,
}

impl TreeError {
    fn new(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TreeError {
        let path = path.to_path_buf();
        move |source| TreeError {
            operation,
            path,
            source,
        }
    }
}

/// What lies somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// Nothing.
    Nothing,
    /// A folder, or a link to one.
    Folder,
    /// A file, or a link to one.
    File,
    /// Something else: a socket, a device.
    Other,
}

/// Makes a folder, and those above it, with these rights whatever this process's mask is. One
/// that is there stays as it is.
///
/// # Errors
/// What the operating system said.
pub fn make_folder(path: &Path, mode: u32) -> Result<(), TreeError> {
    if path.as_os_str().is_empty() || lies(path) == Lies::Folder {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_folder(above, mode)?;
    }
    match fs::create_dir(path) {
        // Another one was quicker, and says what may be done with it.
        Err(error)
            if error.kind() == io::ErrorKind::AlreadyExists && lies(path) == Lies::Folder =>
        {
            Ok(())
        }
        Err(error) => Err(TreeError::new("make", path)(error)),
        Ok(()) => set_rights(path, mode),
    }
}

/// Says what may be done with a folder or file, and by whom.
///
/// # Errors
/// What the operating system said.
pub fn set_rights(path: &Path, mode: u32) -> Result<(), TreeError> {
    let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set.map_err(TreeError::new("set the rights of", path))
}

/// What may be done with a folder or file, and by whom.
///
/// # Errors
/// What the operating system said.
pub fn rights(path: &Path) -> Result<u32, TreeError> {
    let found = fs::metadata(path).map_err(TreeError::new("look at", path))?;
    Ok(found.permissions().mode() & 0o777)
}

/// Takes all rights away from a folder or file but its user's own; whether others had any. Links
/// are left alone, and so is what is not there.
///
/// # Errors
/// What the operating system said.
pub fn keep_private(path: &Path) -> Result<bool, TreeError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(TreeError::new("look at", path)(error)),
    };
    let mode = found.permissions().mode();
    if found.is_symlink() || mode & 0o077 == 0 {
        return Ok(false);
    }
    set_rights(path, mode & 0o700)?;
    Ok(true)
}

/// Makes a folder in which everybody may write who gets there: those do to whom it is handed. The
/// one that it is in is nobody's but this user's, if it has to be made. One that is there stays as
/// it is.
///
/// # Errors
/// What the operating system said.
pub fn make_shared_folder(path: &Path) -> Result<(), TreeError> {
    if lies(path) == Lies::Folder {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_folder(above, 0o700)?;
    }
    make_folder(path, 0o777)
}

/// Writes a file, in place of what is there.
///
/// # Errors
/// What the operating system said.
pub fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TreeError> {
    let failed = || TreeError::new("write", path);
    let beside = path.with_extension("new~");
    let mut options = OpenOptions::new();
    // Who can write there must not choose where this goes.
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed()(error));
    }
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(&beside).map_err(failed())?;
    file.write_all(bytes).map_err(failed())?;
    // Not less than what was asked for, whatever this process's mask is.
    let permissions = fs::Permissions::from_mode(mode);
    file.set_permissions(permissions).map_err(failed())?;
    fs::rename(&beside, path).map_err(failed())
}

/// Reads the beginning of a file; none if there is none.
///
/// # Errors
/// What the operating system said.
pub fn read_file(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, TreeError> {
    let mut bytes = Vec::new();
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(TreeError::new("read", path)(error)),
    };
    let read = file.take(bytes_max).read_to_end(&mut bytes);
    read.map_err(TreeError::new("read", path))?;
    Ok(Some(bytes))
}

/// Makes a link, in place of a link that is there.
///
/// # Errors
/// What the operating system said.
pub fn link(target: &Path, path: &Path) -> Result<(), TreeError> {
    if path.is_symlink() {
        fs::remove_file(path).map_err(TreeError::new("remove", path))?;
    }
    symlink(target, path).map_err(TreeError::new("make", path))
}

/// Whether a path is a folder or lies in it, through whatever links it leads, or would if it were
/// made.
pub fn leads_into(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = fs::canonicalize(folder) else {
        return false;
    };
    let goes_up = |part: Component<'_>| part == Component::ParentDir;
    for at in path.ancestors() {
        if let Ok(real) = fs::canonicalize(at) {
            return real.starts_with(&folder);
        }
        // What is not there yet may go anywhere from here.
        if at.components().any(goes_up) {
            return true;
        }
    }
    false
}

/// What lies somewhere.
pub fn lies(path: &Path) -> Lies {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Lies::Folder,
        Ok(found) if found.is_file() => Lies::File,
        Ok(_) => Lies::Other,
        Err(_) => Lies::Nothing,
    }
}

/// The names in a folder, in order; none if it is not there. Names that are no text are left out.
///
/// # Errors
/// What the operating system said.
pub fn names(path: &Path) -> Result<Vec<String>, TreeError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TreeError::new("list", path)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(TreeError::new("list", path))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a folder and all that is in it; links are removed, not followed. No error if it is
/// not there.
///
/// # Errors
/// What the operating system said.
pub fn remove(path: &Path) -> Result<(), TreeError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(TreeError::new("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_and_read_and_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a/b");
        make_folder(&folder, 0o700).unwrap();
        make_folder(&folder, 0o755).unwrap();
        let rights = |path: &Path| rights(path).unwrap();
        assert_eq!(
            (rights(&folder), rights(folder.parent().unwrap())),
            (0o700, 0o700)
        );
        let open = folder.join("open");
        make_folder(&open, 0o777).unwrap();
        assert_eq!(rights(&open), 0o777);
        assert!(keep_private(&open).unwrap());
        assert!(!keep_private(&open).unwrap());
        assert_eq!(rights(&open), 0o700);
        remove(&open).unwrap();
        let file = folder.join("f");
        write_file(&file, b"one", 0o640).unwrap();
        write_file(&file, b"another", 0o444).unwrap();
        assert_eq!(read_file(&file, 4).unwrap().as_deref(), Some(&b"anot"[..]));
        assert_eq!(rights(&file), 0o444);
        assert_eq!(names(&folder).unwrap(), ["f"]);
        assert_eq!(read_file(&folder.join("g"), 4).unwrap(), None);
        assert_eq!((lies(&file), lies(&folder)), (Lies::File, Lies::Folder));

        let outside = scratch.path().join("outside");
        make_folder(&outside, 0o755).unwrap();
        write_file(&outside.join("kept"), b"x", 0o600).unwrap();
        link(&file, &folder.join("l")).unwrap();
        link(&outside, &folder.join("l")).unwrap();
        remove(&scratch.path().join("a")).unwrap();
        remove(&scratch.path().join("a")).unwrap();
        assert_eq!(lies(&folder), Lies::Nothing);
        assert_eq!(lies(&outside.join("kept")), Lies::File);
    }
}
