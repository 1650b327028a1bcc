//! `contexts.toml` as text; see docs/formats/contexts.md. Pure, so that a fuzzer can have it
//! alone.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// The format that this code writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

/// Why text is not a file of contexts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    /// A newer version wrote it.
    #[error("it has format {found}, this atoll reads up to {FORMAT}")]
    Newer {
        /// Its format.
        found: u32,
    },
    /// It is not what any version writes. Not the parser's whole report: that quotes lines, and
    /// a line may be a key.
    #[error("{}", .0.message())]
    Damaged(#[from] toml::de::Error),
}

/// Reads the file's text.
///
/// # Errors
/// [`FormatError`].
pub(crate) fn decode(text: &str) -> Result<Contexts, FormatError> {
    /// What stands in every format, for ever.
    #[derive(Deserialize)]
    struct Format {
        #[serde(default = "first_format")]
        format: u32,
    }
    let Format { format } = toml::from_str(text)?;
    if format > FORMAT {
        return Err(FormatError::Newer { found: format });
    }
    Ok(toml::from_str(text)?)
}

/// Writes the file's text.
pub(crate) fn encode(contexts: &Contexts) -> String {
    toml::to_string_pretty(contexts).expect("names and texts are always TOML")
}

/// The format of a file that names none.
fn first_format() -> u32 {
    1
}

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The format of the file.
    #[serde(default = "first_format")]
    format: u32,
    /// The one that commands use when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

impl Default for Contexts {
    fn default() -> Contexts {
        Contexts {
            format: FORMAT,
            current: None,
            contexts: BTreeMap::new(),
        }
    }
}
