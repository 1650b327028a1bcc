//! Client contexts: how to reach which cluster, and as whom, under a name.
//!
//! One file, `contexts.toml`, readable by its owner alone, since it may hold a client key.
#![allow(clippy::disallowed_methods)] // The command line is the edge: it keeps its own files.

mod format;

use std::{
    env, fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use self::format::FormatError;
pub(crate) use self::format::{Context, Contexts};
use crate::error::CliError;

const FILE_NAME: &str = "contexts.toml";
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

impl Contexts {
    /// Where the file is: `$ATOLL_HOME`, else `~/.config/atoll`.
    ///
    /// # Errors
    /// Neither variable is set.
    pub(crate) fn path() -> Result<PathBuf, CliError> {
        let set = |name: &str| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        set("ATOLL_HOME")
            .or_else(|| Some(set("XDG_CONFIG_HOME")?.join("atoll")))
            .or_else(|| Some(set("HOME")?.join(".config/atoll")))
            .map(|folder| folder.join(FILE_NAME))
            .ok_or_else(|| {
                CliError::usage(
                    "there is no home folder to keep contexts in",
                    "set ATOLL_HOME to a folder, or name the cluster with --endpoint",
                )
            })
    }

    /// Reads the file; one that is not there is empty.
    ///
    /// # Errors
    /// It cannot be read, or is not what we write.
    pub(crate) fn load(path: &Path) -> Result<Contexts, CliError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Contexts::default());
            }
            Err(error) => return Err(CliError::file("read", path, error)),
        };
        format::decode(&text).map_err(|error| {
            let next = match error {
                FormatError::Newer { .. } => "use the newer atoll that wrote it",
                FormatError::Damaged(_) => {
                    "mend it, or move it away and make the contexts again with `atoll context add`"
                }
            };
            CliError::usage(
                format!("{} is not a file of contexts: {error}", path.display()),
                next,
            )
        })
    }

    /// Writes the file as a whole or not at all, for its owner alone.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub(crate) fn save(&self, path: &Path) -> Result<(), CliError> {
        let text = format::encode(self);
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(folder)
            .map_err(|error| CliError::file("make the folder", folder, error))?;
        write_private(path, text.as_bytes())
    }

    /// The context of that name, or the current one; none if none was ever made.
    ///
    /// # Errors
    /// There is no context of that name.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<Option<&Context>, CliError> {
        let Some(name) = name.or(self.current.as_deref()) else {
            return Ok(None);
        };
        match self.contexts.get(name) {
            Some(context) => Ok(Some(context)),
            None => Err(self.unknown(name)),
        }
    }

    /// Puts a context under a name and makes it the current one.
    pub(crate) fn put(&mut self, name: &str, context: Context) {
        self.contexts.insert(name.to_owned(), context);
        self.current = Some(name.to_owned());
    }

    pub(crate) fn unknown(&self, name: &str) -> CliError {
        let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
        let next = if known.is_empty() {
            "there are none yet: `atoll init` makes one, and so does `atoll context add`".to_owned()
        } else {
            format!("there are: {}", known.join(", "))
        };
        CliError::usage(format!("there is no context `{name}`"), next)
    }
}

/// Writes a file that only its owner may read: beside it first, then moved into place.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), CliError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let failed = |error| CliError::file("write", path, error);
    // Left over from a crash, perhaps with another mode: made again.
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&beside)
        .map_err(failed)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

#[cfg(test)]
#[path = "context/tests.rs"]
mod tests;
