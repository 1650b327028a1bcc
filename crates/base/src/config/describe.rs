//! The tree in words: for `atoll config show`, and for docs/configuration.md.

use std::fmt::Write as _;

use super::{OTHER_VARIABLES, SETTINGS, Setting, load::Chosen, tree::SECTIONS, types::Kind};

/// One setting as it stands.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its declaration.
    pub setting: &'static Setting,
    /// Its value, as one would write it.
    pub value: String,
    /// Where that came from.
    pub origin: super::Origin,
}

impl Described {
    /// `heartbeat_ms = 50`, as the configuration file would have it.
    pub fn toml_line(&self) -> String {
        toml_line(self.setting, &self.value)
    }
}

pub(super) fn describe(chosen: &Chosen) -> Vec<Described> {
    let one = |setting: &'static Setting| {
        let (value, origin) = chosen.get(setting.path);
        Described {
            setting,
            value: value.to_owned(),
            origin: origin.clone(),
        }
    };
    SETTINGS.iter().map(one).collect()
}

fn toml_line(setting: &Setting, value: &str) -> String {
    let name = setting.split().1;
    match setting.kind {
        Kind::Flag | Kind::Integer { .. } => format!("{name} = {value}"),
        _ => format!("{name} = {}", toml::Value::from(value)),
    }
}

/// docs/configuration.md.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for (section, doc) in SECTIONS {
        let _ = write!(page, "\n## {section}\n{doc}\n");
        let inside = |s: &&Setting| s.split().0 == *section;
        for setting in SETTINGS.iter().filter(inside) {
            let _ = write!(page, "\n{}", entry(setting));
        }
    }
    page.push_str(
        "\n## Other variables\nRead by the command line itself; not settings of a node.\n\n",
    );
    for (name, doc) in OTHER_VARIABLES {
        let _ = writeln!(page, "- `{name}`: {doc}");
    }
    page
}

fn entry(setting: &Setting) -> String {
    let default = match setting.default {
        "" => "empty".to_owned(),
        text => format!("`{text}`"),
    };
    let unit = match setting.unit {
        "" => String::new(),
        unit => format!(" {unit}"),
    };
    format!(
        "### {path}\n{doc}\n\n- default: {default}{unit}\n- takes: {kind}{unit}\n- variable: `{variable}`\n- flag: `--{flag}`\n",
        path = setting.path,
        doc = setting.doc,
        kind = setting.kind,
        variable = setting.variable(),
        flag = setting.flag(),
    )
}

const INTRODUCTION: &str = "\
# Configuration

One tree of settings, and three ways to write to it. A later one wins:

1. the default
2. a TOML file: `atoll start --config FILE` (or `ATOLL_CONFIG`)
3. environment variables
4. flags

`atoll config show` prints every setting with its value and where that came from; it takes the
same file, variables and flags as `atoll start`. What is not listed here is refused, as are
values out of their range and values that contradict each other: the node does not start, and
says why. Every flag also goes by its whole path (`--node-dir` for `--dir`).

This page is written by `atoll config reference`; a test keeps the two equal.
";
