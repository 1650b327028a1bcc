//! A flag for every setting of the tree, and the tree as this process sees it.
#![allow(clippy::disallowed_methods)] // The command line is the edge: it reads its own files.

use std::{env, fs, path::Path};

use atoll_base::config::{File, Kind, Loaded, SETTINGS, Sources};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::error::CliError;

/// Settings that were given as flags: path and value.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingFlags(Vec<(String, String)>);

impl SettingFlags {
    /// Flags that a command derives from its own arguments (`atoll init --listen`).
    pub(crate) fn push(&mut self, path: &str, value: String) {
        self.0.push((path.to_owned(), value));
    }

    /// Other flags, which win over these.
    pub(crate) fn extend(&mut self, other: &SettingFlags) {
        self.0.extend(other.0.iter().cloned());
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        SETTINGS.iter().fold(command, |command, setting| {
            let named = setting.flag() != setting.flag_long();
            let mut arg = Arg::new(setting.path)
                .long(setting.flag())
                .action(ArgAction::Set)
                .help(format!(
                    "{} [{}; default: {}]",
                    setting.doc,
                    setting.kind,
                    shown(setting.default)
                ))
                .help_heading("Settings")
                .value_name(value_name(setting.kind))
                // `-h` shows those with a short name; `--help` shows all.
                .hide_short_help(!named);
            if named {
                arg = arg.alias(setting.flag_long());
            }
            if setting.kind == Kind::Flag {
                arg = arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true");
            }
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = SettingFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS {
            if let Some(value) = matches.get_one::<String>(setting.path) {
                self.push(setting.path, value.clone());
            }
        }
        Ok(())
    }
}

fn shown(default: &str) -> &str {
    if default.is_empty() { "empty" } else { default }
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Flag => "BOOL",
        Kind::Integer { .. } => "N",
        Kind::Path => "PATH",
        Kind::Address => "HOST:PORT",
        Kind::Text { .. } | Kind::Choice(_) | Kind::Durability => "TEXT",
    }
}

/// Lays the file, this process's environment and the flags over the defaults.
///
/// # Errors
/// A file that cannot be read; anything that the tree refuses.
pub(crate) fn load(file: Option<&Path>, flags: &SettingFlags) -> Result<Loaded, CliError> {
    let text = match file {
        Some(path) => {
            fs::read_to_string(path).map_err(|error| CliError::file("read", path, error))?
        }
        None => String::new(),
    };
    let name = file.map(|path| path.display().to_string());
    let environment = env::vars_os().map(|(variable, value)| {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        (text(variable), text(value))
    });
    let sources = Sources {
        file: name.as_deref().map(|name| File { name, text: &text }),
        environment: environment.collect(),
        flags: flags.0.clone(),
    };
    Ok(sources.load()?)
}
