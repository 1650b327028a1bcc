//! Client contexts: how to reach which cluster, and as whom, under a name.
//!
//! One file, `contexts.toml`, readable by its owner alone, since it may hold a client key.
#![allow(clippy::disallowed_methods)] // The command line is the edge: it keeps its own files.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::error::CliError;

const FILE_NAME: &str = "contexts.toml";
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// How to reach one cluster. PEM material stands in the file itself or in a file of its own.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// URLs of nodes; any of them will do.
    #[serde(default)]
    pub(crate) endpoints: Vec<String>,
    /// The user to log in as. Its password is never kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// The authority to trust, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<String>,
    /// The authority to trust, as the path of a PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The client certificate, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<String>,
    /// The client certificate, as the path of a PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cert_file: Option<PathBuf>,
    /// The client certificate's key, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// The client certificate's key, as the path of a PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
}

impl std::fmt::Debug for Context {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Everything in `contexts.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that commands use when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

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
        toml::from_str(&text).map_err(|error| {
            CliError::usage(
                // Not the parser's whole report: it quotes lines, and a line may be a key.
                format!(
                    "{} is not a file of contexts: {}",
                    path.display(),
                    error.message()
                ),
                "mend it, or move it away and make the contexts again with `atoll context add`",
            )
        })
    }

    /// Writes the file as a whole or not at all, for its owner alone.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub(crate) fn save(&self, path: &Path) -> Result<(), CliError> {
        let text = toml::to_string_pretty(self).expect("names and texts are always TOML");
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
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn contexts_are_kept_and_only_their_owner_may_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er").join(FILE_NAME);
        assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());

        let mut contexts = Contexts::default();
        assert!(contexts.find(None).unwrap().is_none());
        let lab = Context {
            endpoints: vec![
                "https://10.0.0.1:2379".into(),
                "https://10.0.0.2:2379".into(),
            ],
            user: Some("root".into()),
            ca: Some("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into()),
            key_file: Some("/keys/lab.pem".into()),
            ..Context::default()
        };
        contexts.put("lab", lab.clone());
        contexts.put("home", Context::default());
        contexts.save(&path).unwrap();
        contexts.save(&path).unwrap();

        let read = Contexts::load(&path).unwrap();
        assert_eq!(read, contexts);
        assert_eq!(read.current.as_deref(), Some("home"));
        assert_eq!(read.find(Some("lab")).unwrap(), Some(&lab));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, FILE_MODE);
        let error = read.find(Some("moon")).unwrap_err();
        assert_eq!(error.to_string(), "there is no context `moon`");
        assert_eq!(error.next_step(), "there are: home, lab");
    }

    #[test]
    fn a_damaged_file_is_told_without_quoting_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, "[contexts.a]\nkey = \"SECRET\"\nmistyped = 1\n").unwrap();
        let error = Contexts::load(&path).unwrap_err().to_string();
        assert!(
            error.contains("mistyped") && !error.contains("SECRET"),
            "{error}"
        );
    }
}
