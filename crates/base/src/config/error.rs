//! Where a value came from, and what can be wrong with it.

use std::fmt;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the configuration file.
    File {
        /// The file's name.
        name: String,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag of the command line.
    Flag {
        /// Its name, without dashes.
        flag: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { name, line } => write!(f, "{name} line {line}"),
            Origin::Environment { variable } => write!(f, "environment {variable}"),
            Origin::Flag { flag } => write!(f, "flag --{flag}"),
        }
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is no TOML.
    #[error("{file} line {line} is not valid TOML: {problem}")]
    Syntax {
        /// The file's name.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// Nothing has this name.
    #[error("{origin}: there is no setting `{name}`{}", hint(closest))]
    Unknown {
        /// What was written.
        name: String,
        /// Where.
        origin: Origin,
        /// The known name that is nearest, if one is near.
        closest: Option<String>,
    },
    /// The TOML type is another.
    #[error("{origin}: {path} takes a TOML {expected} ({kind}), not a TOML {found}")]
    WrongType {
        /// The setting.
        path: &'static str,
        /// The TOML type that it takes.
        expected: &'static str,
        /// What values it takes.
        kind: String,
        /// The TOML type that was written.
        found: &'static str,
        /// Where.
        origin: Origin,
    },
    /// A number outside the range.
    #[error("{origin}: {path} = {value} is out of range; it takes {min} to {max} {unit}")]
    OutOfRange {
        /// The setting.
        path: &'static str,
        /// What was written.
        value: String,
        /// The least value.
        min: u64,
        /// The greatest value.
        max: u64,
        /// What the number counts.
        unit: &'static str,
        /// Where.
        origin: Origin,
    },
    /// Not a value of this setting.
    #[error("{origin}: {path} = {value:?}: {problem}")]
    Invalid {
        /// The setting.
        path: &'static str,
        /// What was written.
        value: String,
        /// What is wrong with it.
        problem: String,
        /// Where.
        origin: Origin,
    },
    /// Two values that do not go together.
    #[error("{} and {} contradict each other: {rule}", sides[0], sides[1])]
    Contradiction {
        /// The two settings.
        sides: Box<[Side; 2]>,
        /// What must hold between them.
        rule: &'static str,
    },
}

/// One of two settings that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The setting.
    pub path: &'static str,
    /// Its value.
    pub value: String,
    /// Where that came from.
    pub origin: Origin,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.path, self.value, self.origin)
    }
}

fn hint(closest: &Option<String>) -> String {
    match closest {
        Some(name) => format!("; did you mean `{name}`?"),
        None => "; `atoll config reference` lists all of them".to_owned(),
    }
}
