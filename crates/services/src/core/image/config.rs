//! What a container of an image runs, if its pod does not say otherwise (OCI Image Configuration;
//! Docker's has the same fields).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::{Digest, DocumentError, LAYERS_MAX, Platform, read};

/// All texts of a list together have at most so many bytes: no program can be started with more.
const TEXTS_BYTES_MAX: usize = 2 << 20;
/// A container is stopped by it if its image does not say.
const STOP_SIGNAL: &str = "SIGTERM";

/// An image's config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// For which machines it is.
    pub platform: Platform,
    /// The program, and what it is called with first.
    pub entrypoint: Vec<String>,
    /// What it is called with after that, or the whole program.
    pub cmd: Vec<String>,
    /// Its environment, in its order; each name once.
    pub env: Vec<(String, String)>,
    /// The directory that it starts in; empty: the root.
    pub working_dir: String,
    /// As `USER[:GROUP]`, by name or number; empty: root.
    pub user: String,
    /// What it listens on, as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// What asks it to end.
    pub stop_signal: String,
    /// What layers are as plain tars, the lowest first.
    pub diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(flatten)]
    platform: Platform,
    #[serde(default, deserialize_with = "or_null")]
    config: RawRun,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawRun {
    #[serde(default, deserialize_with = "or_null")]
    entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "or_null")]
    cmd: Vec<String>,
    #[serde(default, deserialize_with = "or_null")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "or_null")]
    working_dir: String,
    #[serde(default, deserialize_with = "or_null")]
    user: String,
    #[serde(default, deserialize_with = "or_null")]
    exposed_ports: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "or_null")]
    stop_signal: String,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "or_null")]
    diff_ids: Vec<Digest>,
}

/// Go writes lists that are not there as null.
fn or_null<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(from).map(Option::unwrap_or_default)
}

impl Config {
    /// Reads a config.
    ///
    /// # Errors
    /// It is none, or has more in it than is allowed, or what no program can be started with.
    pub fn read(bytes: &[u8]) -> Result<Config, DocumentError> {
        let raw: Raw = read("the config", bytes)?;
        if raw.rootfs.kind != "layers" {
            return Err(malformed(format!("its rootfs is {:?}", raw.rootfs.kind)));
        }
        if raw.rootfs.diff_ids.len() > LAYERS_MAX {
            let layers = raw.rootfs.diff_ids.len();
            return Err(malformed(format!(
                "it has {layers} of at most {LAYERS_MAX} layers"
            )));
        }
        let run = raw.config;
        for texts in [&run.entrypoint, &run.cmd, &run.env] {
            check(texts)?;
        }
        check(&[run.working_dir.clone(), run.user.clone()])?;
        let stop_signal = match run.stop_signal {
            signal if signal.is_empty() => STOP_SIGNAL.to_owned(),
            signal => signal,
        };
        Ok(Config {
            platform: raw.platform,
            entrypoint: run.entrypoint,
            cmd: run.cmd,
            env: variables(run.env),
            working_dir: run.working_dir,
            user: run.user,
            exposed_ports: run.exposed_ports.into_keys().collect(),
            stop_signal,
            diff_ids: raw.rootfs.diff_ids,
        })
    }

    /// The program and its arguments, where a pod says `command` and `args`: as Kubernetes does
    /// ("Define a Command and Arguments for a Container"), the image's arguments are not for the
    /// pod's command. May be empty: then nothing says what to run.
    pub fn argv(&self, command: &[String], args: &[String]) -> Vec<String> {
        let (program, rest) = match (command, args) {
            ([], []) => (&self.entrypoint[..], &self.cmd[..]),
            ([], args) => (&self.entrypoint[..], args),
            (command, args) => (command, args),
        };
        [program, rest].concat()
    }
}

/// Texts that can be handed to a program.
fn check(texts: &[String]) -> Result<(), DocumentError> {
    let bytes: usize = texts.iter().map(String::len).sum();
    if bytes > TEXTS_BYTES_MAX {
        return Err(malformed(format!("a list has {bytes} bytes")));
    }
    match texts.iter().any(|text| text.contains('\0')) {
        true => Err(malformed("a text has a zero byte".to_owned())),
        false => Ok(()),
    }
}

/// The last value of a name counts, at the first one's place. What has no name is left out, as
/// containers' runtimes do.
fn variables(texts: Vec<String>) -> Vec<(String, String)> {
    let mut places = BTreeMap::new();
    let mut variables: Vec<(String, String)> = Vec::new();
    for text in texts {
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        if name.is_empty() {
            continue;
        }
        let place = *places.entry(name.to_owned()).or_insert(variables.len());
        match variables.get_mut(place) {
            Some((_, before)) => *before = value.to_owned(),
            None => variables.push((name.to_owned(), value.to_owned())),
        }
    }
    variables
}

fn malformed(why: String) -> DocumentError {
    DocumentError::Malformed {
        what: "the config",
        why,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config() -> Value {
        json!({"architecture": "arm64", "os": "linux", "variant": "v8",
            "config": {
                "Entrypoint": ["/entry"], "Cmd": ["a", "b"],
                "Env": ["PATH=/bin", "A=1=2", "PATH=/usr/bin", "=x", "EMPTY"],
                "WorkingDir": "/w", "User": "1000:1000", "StopSignal": "SIGQUIT",
                "ExposedPorts": {"80/tcp": {}, "53/udp": {}}},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"1"), Digest::of(b"2")]},
            "history": [{"empty_layer": true}]})
    }

    fn read(value: &Value) -> Result<Config, DocumentError> {
        Config::read(value.to_string().as_bytes())
    }

    #[test]
    fn everything_is_read() {
        let own = |text: &str| text.to_owned();
        let expected = Config {
            platform: Platform {
                os: own("linux"),
                architecture: own("arm64"),
                variant: own("v8"),
            },
            entrypoint: vec![own("/entry")],
            cmd: vec![own("a"), own("b")],
            env: [("PATH", "/usr/bin"), ("A", "1=2"), ("EMPTY", "")]
                .map(|(name, value)| (own(name), own(value)))
                .to_vec(),
            working_dir: own("/w"),
            user: own("1000:1000"),
            exposed_ports: vec![own("53/udp"), own("80/tcp")],
            stop_signal: own("SIGQUIT"),
            diff_ids: vec![Digest::of(b"1"), Digest::of(b"2")],
        };
        assert_eq!(read(&config()), Ok(expected));
    }

    #[test]
    fn what_go_leaves_out_is_null_or_missing() {
        let bare = json!({"os": "linux", "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": null}});
        let read_bare = read(&bare).unwrap();
        assert_eq!(read_bare.stop_signal, "SIGTERM");
        assert_eq!(read_bare.argv(&[], &[]), Vec::<String>::new());
        let mut null = bare;
        null["config"] = json!({"Entrypoint": null, "Cmd": null, "Env": null,
            "ExposedPorts": null, "User": null});
        assert_eq!(read(&null).unwrap(), read_bare);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let with = |field: &str, value: Value| {
            let mut config = config();
            config["config"][field] = value;
            config
        };
        let mut no_layers = config();
        no_layers["rootfs"]["type"] = json!("tree");
        let mut deep = config();
        deep["rootfs"]["diff_ids"] = json!(vec![Digest::of(b""); LAYERS_MAX + 1]);
        let cases = [
            (with("Cmd", json!(["a\0b"])), "zero byte"),
            (with("User", json!("a\0")), "zero byte"),
            (
                with("Env", json!(["x".repeat(TEXTS_BYTES_MAX + 1)])),
                "bytes",
            ),
            (with("Entrypoint", json!("sh")), "invalid type"),
            (no_layers, "\"tree\""),
            (deep, "129"),
            (json!({}), "missing"),
        ];
        for (value, part) in cases {
            let told = read(&value).unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn a_pods_command_comes_without_the_images_arguments() {
        let config = read(&config()).unwrap();
        let list = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let cases: [(&[&str], &[&str], &[&str]); 4] = [
            (&[], &[], &["/entry", "a", "b"]),
            (&[], &["x"], &["/entry", "x"]),
            (&["sh"], &[], &["sh"]),
            (&["sh"], &["-c", "x"], &["sh", "-c", "x"]),
        ];
        for (command, args, argv) in cases {
            assert_eq!(config.argv(&list(command), &list(args)), argv);
        }
    }
}
