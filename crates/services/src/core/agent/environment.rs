//! What a container is run with: its command, its environment, its directory
//! (Kubernetes' "Define Environment Variables", "Expose Pod Information"; the kubelet's order).
//!
//! Variables come, the later over the earlier, from services, from Atoll (`PORT`), from `envFrom`
//! and from `env`. `$(NAME)` in `env` stands for what was known before, `$(NAME)` in command and
//! arguments for all; `$$` is a `$`; a name that is not known stays as it is written.

mod services;
mod sources;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{action::texts, messages::Node};
use crate::core::{image::Config, object};

/// Longest argument or variable that Linux passes to a program (`MAX_ARG_STRLEN`).
pub const WORD_BYTES_MAX: usize = 131_072;

/// What a driver runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRun {
    /// The program and its arguments; at least one.
    pub argv: Vec<String>,
    /// Its whole environment, as far as the pod tells.
    pub env: BTreeMap<String, String>,
    /// Its directory; none: the driver's choice.
    pub cwd: Option<String>,
}

/// Finds an object of the pod's namespace by its kind (`ConfigMap`, `Secret`) and name.
pub type Lookup<'a> = dyn Fn(&str, &str) -> Option<Arc<Value>> + 'a;

/// What there is around a container.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The machine.
    pub node: &'a Node,
    /// The pod's addresses.
    pub ips: &'a [String],
    /// Finds what variables are taken from.
    pub lookup: &'a Lookup<'a>,
    /// Services; those of other namespaces are passed over.
    pub services: &'a [Arc<Value>],
    /// What the container's image says; none if its program is one of the machine's.
    pub image: Option<&'a Config>,
    /// A free port, if [`needs_port`].
    pub assigned_port: Option<u16>,
}

/// Why a container can't be run as it is configured; a `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Neither pod nor image names a program.
    #[error("no command specified")]
    NoCommand,
    /// The pod has no such container.
    #[error("container {0:?} not found")]
    NoContainer(String),
    /// As `configmap "x" not found`.
    #[error("{kind} {name:?} not found")]
    NotFound {
        /// In small letters.
        kind: String,
        /// The object's name.
        name: String,
    },
    /// The object is there and the key is not.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// The key.
        key: String,
        /// `ConfigMap` or `Secret`.
        kind: String,
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
    },
    /// A secret's value can't be a variable.
    #[error("key {key} in Secret {name} is not text")]
    NotText {
        /// The key.
        key: String,
        /// The secret's name.
        name: String,
    },
    /// No such field can be a variable.
    #[error("unsupported fieldPath: {0}")]
    NoField(String),
    /// No such resource, or no such divisor.
    #[error("unsupported resourceFieldRef: {0}")]
    NoResource(String),
    /// With what it refers to, a variable or an argument is too long.
    #[error("{0} is longer than {WORD_BYTES_MAX} bytes")]
    TooLong(String),
}

/// Whether the driver has to find a port for a container: it declares none.
pub fn needs_port(pod: &Value, container: &str) -> bool {
    find(pod, container).is_some_and(|container| declared_port(container).is_none())
}

/// What to run for a container.
///
/// # Errors
/// If something that it refers to is missing.
pub fn run(
    pod: &Value,
    container: &str,
    around: &Surroundings<'_>,
) -> Result<ContainerRun, ConfigError> {
    let not_there = || ConfigError::NoContainer(container.to_owned());
    let container = find(pod, container).ok_or_else(not_there)?;
    let env = variables(pod, container, around)?;
    let words = |field: &str| {
        let expanded = texts(&container[field]).map(|word| {
            let whole = expand(word, |name| env.get(name).map(String::as_str));
            whole.ok_or_else(|| ConfigError::TooLong("an argument".to_owned()))
        });
        expanded.collect::<Result<Vec<String>, ConfigError>>()
    };
    let (command, args) = (words("command")?, words("args")?);
    let argv = match around.image {
        Some(image) => image.argv(&command, &args),
        // Arguments alone name no program of the machine.
        None if command.is_empty() => Vec::new(),
        None => [command, args].concat(),
    };
    if argv.first().is_none_or(String::is_empty) {
        return Err(ConfigError::NoCommand);
    }
    let own = container["workingDir"].as_str();
    let of_image = around.image.map(|image| image.working_dir.as_str());
    let said = [own, of_image].into_iter().flatten();
    let cwd = said.into_iter().find(|cwd| !cwd.is_empty());
    let cwd = cwd.map(str::to_owned);
    Ok(ContainerRun {
        argv,
        env: over_image(around.image, env),
        cwd,
    })
}

/// What the pod says goes over what the image says; `$(NAME)` does not see the latter.
fn over_image(image: Option<&Config>, env: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut whole: BTreeMap<String, String> = match image {
        Some(image) => image.env.iter().cloned().collect(),
        None => BTreeMap::new(),
    };
    whole.extend(env);
    whole
}

fn find<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    object::containers(pod).find(|container| container["name"] == name)
}

fn declared_port(container: &Value) -> Option<u16> {
    let first = object::items(&container["ports"]).next()?["containerPort"].as_u64()?;
    u16::try_from(first).ok().filter(|&port| port != 0)
}

fn variables(
    pod: &Value,
    container: &Value,
    around: &Surroundings<'_>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut env = services::variables(pod, around.services);
    if let Some(port) = declared_port(container).or(around.assigned_port) {
        env.insert("PORT".to_owned(), port.to_string());
    }
    let source = sources::Sources {
        pod,
        container,
        around,
    };
    for from in object::items(&container["envFrom"]) {
        env.extend(source.all_of(from)?);
    }
    for variable in object::items(&container["env"]) {
        let name = variable["name"].as_str().unwrap_or_default();
        let value = match (variable["value"].as_str(), variable.get("valueFrom")) {
            (None | Some(""), Some(from)) => source.one(from)?,
            (value, _) => {
                let known = |name: &str| env.get(name).map(String::as_str);
                let value = expand(value.unwrap_or_default(), known);
                Some(value.ok_or_else(|| ConfigError::TooLong(format!("variable {name}")))?)
            }
        };
        if let Some(value) = value {
            env.insert(name.to_owned(), value);
        }
    }
    Ok(env)
}

/// A text with its `$(NAME)` replaced; none if it would be longer than [`WORD_BYTES_MAX`].
pub(super) fn expand<'a>(text: &str, known: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        whole.push_str(before);
        let name = after
            .strip_prefix('(')
            .and_then(|name| name.split_once(')'));
        rest = match (name, after.strip_prefix('$')) {
            (Some((name, after)), _) => {
                match known(name) {
                    Some(value) => whole.push_str(value),
                    None => whole.extend(["$(", name, ")"]),
                }
                after
            }
            (None, Some(after)) => {
                whole.push('$');
                after
            }
            (None, None) => {
                whole.push('$');
                after
            }
        };
        if whole.len() > WORD_BYTES_MAX {
            return None;
        }
    }
    whole.push_str(rest);
    (whole.len() <= WORD_BYTES_MAX).then_some(whole)
}

#[cfg(test)]
mod tests;
