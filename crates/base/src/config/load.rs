//! From sources to a checked tree.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::{
    Config, ConfigError, OTHER_VARIABLES, Origin, SETTINGS, Setting, VARIABLE_PREFIX,
    check::contradictions,
    closest::closest,
    describe::{Described, describe},
    tree::{SECTIONS, check_type},
    types::{FromText, Kind},
};

/// A configuration file that somebody else has read.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// Its content.
    pub text: &'a str,
}

/// Everything that can set a value, weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources<'a> {
    /// The configuration file.
    pub file: Option<File<'a>>,
    /// The environment; variables that do not begin with `ATOLL_` are not looked at.
    pub environment: Vec<(String, String)>,
    /// Flags: the setting's path and the value as it was written.
    pub flags: Vec<(String, String)>,
}

/// A checked configuration, and where each value came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What to work with.
    pub config: Config,
    chosen: Chosen,
}

impl Loaded {
    /// Every setting with its value and where that came from, in the tree's order.
    pub fn describe(&self) -> Vec<Described> {
        describe(&self.chosen)
    }
}

impl Sources<'_> {
    /// Lays the sources over each other and checks the result.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of the sources: an unknown name, a value of
    /// the wrong type or out of its range; then contradictions.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut chosen = Chosen::defaults();
        if let Some(file) = self.file {
            overlay_file(&mut chosen, file)?;
        }
        for (variable, value) in &self.environment {
            overlay_variable(&mut chosen, variable, value)?;
        }
        for (path, value) in &self.flags {
            let origin = Origin::Flag { flag: path.clone() };
            let setting = find(path, &origin)?;
            chosen.set(
                setting,
                value.clone(),
                Origin::Flag {
                    flag: setting.flag(),
                },
            )?;
        }
        let config = Config::from_chosen(&chosen);
        contradictions(&config, &chosen)?;
        Ok(Loaded { config, chosen })
    }
}

/// The value of every setting as text, each one valid for its own setting.
#[derive(Clone, Debug)]
pub(super) struct Chosen(BTreeMap<&'static str, (String, Origin)>);

impl Chosen {
    fn defaults() -> Chosen {
        let default = |s: &Setting| (s.path, (s.default.to_owned(), Origin::Default));
        Chosen(SETTINGS.iter().map(default).collect())
    }

    pub(super) fn get(&self, path: &str) -> (&str, &Origin) {
        let (text, origin) = self.0.get(path).expect("every setting has a value");
        (text, origin)
    }

    pub(super) fn typed<T: FromText>(&self, path: &str) -> T {
        match T::from_text(self.get(path).0) {
            Ok(value) => value,
            Err(problem) => panic!("the value of {path} was checked when it was set: {problem}"),
        }
    }

    fn set(&mut self, setting: &Setting, text: String, origin: Origin) -> Result<(), ConfigError> {
        check_value(setting, &text, &origin)?;
        self.0.insert(setting.path, (text, origin));
        Ok(())
    }
}

fn check_value(setting: &Setting, text: &str, origin: &Origin) -> Result<(), ConfigError> {
    let invalid = |problem: String| ConfigError::Invalid {
        path: setting.path,
        value: text.to_owned(),
        problem,
        origin: origin.clone(),
    };
    match setting.kind {
        Kind::Integer { min, max } => {
            // i128 holds whatever TOML can write, so that -1 is out of range and not "no number".
            let number: i128 = text
                .replace('_', "")
                .parse()
                .map_err(|_| invalid(format!("expected a whole number, {min} to {max}")))?;
            if !(i128::from(min)..=i128::from(max)).contains(&number) {
                return Err(ConfigError::OutOfRange {
                    path: setting.path,
                    value: text.to_owned(),
                    min,
                    max,
                    unit: setting.unit,
                    origin: origin.clone(),
                });
            }
        }
        Kind::Text { bytes_max } if text.len() > bytes_max => {
            return Err(invalid(format!("longer than {bytes_max} bytes")));
        }
        _ => {}
    }
    check_type(setting.path, text).map_err(invalid)
}

fn find(path: &str, origin: &Origin) -> Result<&'static Setting, ConfigError> {
    SETTINGS
        .iter()
        .find(|setting| setting.path == path)
        .ok_or_else(|| ConfigError::Unknown {
            name: path.to_owned(),
            origin: origin.clone(),
            closest: closest(path, SETTINGS.iter().map(|s| s.path)).map(str::to_owned),
        })
}

fn overlay_variable(chosen: &mut Chosen, variable: &str, value: &str) -> Result<(), ConfigError> {
    let ours = variable.starts_with(VARIABLE_PREFIX);
    if !ours || OTHER_VARIABLES.iter().any(|(name, _)| *name == variable) {
        return Ok(());
    }
    let origin = Origin::Environment {
        variable: variable.to_owned(),
    };
    let Some(setting) = SETTINGS.iter().find(|s| s.variable() == variable) else {
        let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
        let others = OTHER_VARIABLES.iter().map(|(name, _)| *name);
        let near = closest(variable, known.iter().map(String::as_str).chain(others));
        return Err(ConfigError::Unknown {
            name: variable.to_owned(),
            origin,
            closest: near.map(str::to_owned),
        });
    };
    chosen.set(setting, value.to_owned(), origin)
}

fn overlay_file(chosen: &mut Chosen, file: File<'_>) -> Result<(), ConfigError> {
    let line_of = |offset: usize| 1 + file.text[..offset].matches('\n').count();
    let origin_of = |offset: usize| Origin::File {
        name: file.name.to_owned(),
        line: line_of(offset),
    };
    let table = DeTable::parse(file.text).map_err(|error| ConfigError::Syntax {
        file: file.name.to_owned(),
        line: line_of(error.span().map_or(0, |span| span.start)),
        problem: error.message().to_owned(),
    })?;
    for (section, content) in table.get_ref() {
        let origin = origin_of(section.span().start);
        let section = section.get_ref().as_ref();
        let Some(fields) = content.get_ref().as_table() else {
            return Err(unknown_at_top(section, origin));
        };
        if !SECTIONS.iter().any(|(name, _)| *name == section) {
            return Err(unknown_at_top(section, origin));
        }
        for (field, value) in fields {
            let origin = origin_of(field.span().start);
            let setting = find(&format!("{section}.{}", field.get_ref()), &origin)?;
            let text = text_of(setting, value.get_ref(), &origin)?;
            chosen.set(setting, text, origin)?;
        }
    }
    Ok(())
}

/// A section that nobody declared, or a field that stands outside of its section.
fn unknown_at_top(name: &str, origin: Origin) -> ConfigError {
    let same_field = SETTINGS.iter().find(|s| s.split().1 == name);
    let near = same_field
        .map(|s| s.path)
        .or_else(|| closest(name, SECTIONS.iter().map(|(section, _)| *section)));
    ConfigError::Unknown {
        name: name.to_owned(),
        origin,
        closest: near.map(str::to_owned),
    }
}

fn text_of(setting: &Setting, value: &DeValue<'_>, origin: &Origin) -> Result<String, ConfigError> {
    match (setting.kind, value) {
        (Kind::Flag, DeValue::Boolean(value)) => Ok(value.to_string()),
        (Kind::Integer { .. }, DeValue::Integer(value)) => {
            // Hexadecimal and the like are kept as the number that they mean.
            let number = i128::from_str_radix(value.as_str(), value.radix());
            Ok(number.map_or_else(|_| value.to_string(), |n| n.to_string()))
        }
        (Kind::Flag | Kind::Integer { .. }, _) => Err(wrong_type(setting, value, origin)),
        (_, DeValue::String(value)) => Ok(value.clone().into_owned()),
        _ => Err(wrong_type(setting, value, origin)),
    }
}

fn wrong_type(setting: &Setting, value: &DeValue<'_>, origin: &Origin) -> ConfigError {
    ConfigError::WrongType {
        path: setting.path,
        expected: setting.kind.toml_type(),
        kind: setting.kind.to_string(),
        found: value.type_str(),
        origin: origin.clone(),
    }
}
