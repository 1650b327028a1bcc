//! `atoll config`: the settings of a node.

use atoll_base::config::{Described, reference};
use clap::Subcommand;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    cli::Global,
    error::CliError,
    output::{View, print},
    settings::{self, SettingFlags},
};

/// What can be done with settings.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Every setting as it would be in force, and where its value came from. What is printed
    /// is a configuration file.
    Show {
        #[command(flatten)]
        settings: SettingFlags,
    },
    /// The page that explains every setting.
    Reference,
}

/// Does it.
pub(crate) fn run(command: ConfigCommand, global: &Global) -> Result<(), CliError> {
    match command {
        ConfigCommand::Show { settings } => {
            let loaded = settings::load(global.config_file.as_deref(), &settings)?;
            global.output.show(&Effective(loaded.describe()))
        }
        ConfigCommand::Reference => print(&reference()),
    }
}

struct Effective(Vec<Described>);

impl Serialize for Effective {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let one = |described: &Described| {
            json!({
                "path": described.setting.path,
                "value": described.value,
                "origin": described.origin.to_string(),
                "default": described.setting.default,
                "takes": described.setting.kind.to_string(),
                "unit": described.setting.unit,
                "doc": described.setting.doc,
            })
        };
        self.0
            .iter()
            .map(one)
            .collect::<Vec<Value>>()
            .serialize(serializer)
    }
}

impl View for Effective {
    fn text(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(Described::toml_line).collect();
        let width = lines
            .iter()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0);
        let mut out = Vec::new();
        let mut section = "";
        for (described, line) in self.0.iter().zip(lines) {
            let (its_section, _) = described.setting.split();
            if its_section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                out.push(format!("{gap}[{its_section}]"));
                section = its_section;
            }
            out.push(format!("{line:<width$}  # {}", described.origin));
        }
        out.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use atoll_base::config::{File, Sources};

    use super::*;

    #[test]
    fn what_is_shown_is_a_configuration_file() {
        let flags = vec![
            ("control.heartbeat_ms".to_owned(), "30".to_owned()),
            ("node.name".to_owned(), "a \"b\"".to_owned()),
        ];
        let first = Sources {
            flags,
            ..Sources::default()
        }
        .load()
        .unwrap();
        let text = Effective(first.describe()).text();
        assert!(
            text.contains("heartbeat_ms = 30 ") && text.contains("# flag --control-heartbeat-ms")
        );
        let file = Some(File {
            name: "shown",
            text: &text,
        });
        let again = Sources {
            file,
            ..Sources::default()
        }
        .load()
        .unwrap();
        assert_eq!(again.config, first.config);
        let json = serde_json::to_value(Effective(first.describe())).unwrap();
        assert_eq!(json[0]["path"], "node.name");
        assert_eq!(json[0]["origin"], "flag --name");
    }
}
