//! Who may fetch what: `.dockerconfigjson` of Secrets that a pod names in `imagePullSecrets`.
//!
//! An entry is for the registries and repositories that its name matches: `example.com`,
//! `*.example.com`, `example.com:5000/team` (Kubernetes: "Images", "Interpretation of config.json").
//! Of several the most telling is tried first.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose};
use serde::Deserialize;
use serde_json::Value;

use super::{DocumentError, Reference, read};

/// A keyring has at most so many entries; those after that are left out.
const ENTRIES_MAX: usize = 1_000;
/// So many logins are tried for an image.
pub const LOGINS_MAX: usize = 8;
/// Entries for Docker's hub go by these names.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// A name and a password, or a token in their place. Never shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Login {
    /// Of a person or a program.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token, for which a token service gives tokens.
    Identity {
        /// The token.
        token: String,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Login {
    /// The value of an `Authorization` field; none for what is no password.
    pub fn basic(&self) -> Option<String> {
        match self {
            Login::Password { user, password } => {
                let text = format!("{user}:{password}");
                let text = general_purpose::STANDARD.encode(text);
                Some(format!("Basic {text}"))
            }
            Login::Identity { .. } => None,
        }
    }
}

/// All that a pod may show to registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    place: Place,
    login: Login,
}

/// For which registries and repositories an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: Option<String>,
    path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEntry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

impl Keyring {
    /// Adds what a Secret holds: `.dockerconfigjson`, or the older `.dockercfg`, which has the
    /// entries without anything around them. Entries that say nothing are left out.
    ///
    /// # Errors
    /// It is neither.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), DocumentError> {
        const WHAT: &str = "the pull secret";
        let mut all: BTreeMap<String, Value> = read(WHAT, bytes)?;
        let malformed = |error: serde_json::Error| DocumentError::Malformed {
            what: WHAT,
            // Its own words could have a part of a password in them.
            why: format!("line {} column {}", error.line(), error.column()),
        };
        let entries = match all.remove("auths") {
            Some(auths) => serde_json::from_value(auths).map_err(malformed)?,
            None => all,
        };
        for (name, value) in entries {
            let Ok(raw) = serde_json::from_value::<RawEntry>(value) else {
                continue;
            };
            if let (Some(place), Some(login)) = (Place::read(&name), raw.login())
                && self.entries.len() < ENTRIES_MAX
            {
                self.entries.push(Entry { place, login });
            }
        }
        Ok(())
    }

    /// What can be shown for an image, the most telling first; empty: nothing is.
    pub fn logins(&self, image: &Reference) -> Vec<Login> {
        let fits = |entry: &&Entry| entry.place.has(image);
        let mut fitting: Vec<_> = self.entries.iter().filter(fits).collect();
        fitting.sort_by_key(|entry| std::cmp::Reverse(entry.place.weight()));
        let mut logins: Vec<Login> = Vec::new();
        for entry in fitting {
            if !logins.contains(&entry.login) && logins.len() < LOGINS_MAX {
                logins.push(entry.login.clone());
            }
        }
        logins
    }
}

impl RawEntry {
    fn login(self) -> Option<Login> {
        if !self.identity_token.is_empty() {
            let token = self.identity_token;
            return Some(Login::Identity { token });
        }
        let (user, password) = match self.auth.is_empty() {
            true => (self.username, self.password),
            false => decoded(&self.auth)?,
        };
        (!user.is_empty()).then_some(Login::Password { user, password })
    }
}

/// `user:password` in base64, with or without padding.
fn decoded(auth: &str) -> Option<(String, String)> {
    let bare = auth.trim().trim_end_matches('=');
    let bytes = general_purpose::STANDARD_NO_PAD.decode(bare).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    // Some writers end it with zero bytes.
    let password = password.trim_end_matches('\0');
    Some((user.to_owned(), password.to_owned()))
}

impl Place {
    fn read(name: &str) -> Option<Place> {
        let bare = name.strip_prefix("https://");
        let bare = bare.or_else(|| name.strip_prefix("http://"));
        let (host, path) = match bare.unwrap_or(name).split_once('/') {
            Some((host, path)) => (host, path),
            None => (bare.unwrap_or(name), ""),
        };
        // What an entry of a whole registry was called in its first and second protocol.
        let path = match path.trim_end_matches('/') {
            "v1" | "v2" => "",
            path => path
                .strip_prefix("v1/")
                .or(path.strip_prefix("v2/"))
                .unwrap_or(path),
        };
        let (host, port) = split_port(host);
        (!host.is_empty()).then(|| Place {
            host: host.to_ascii_lowercase(),
            port: port.map(str::to_owned),
            path: path.to_owned(),
        })
    }

    fn has(&self, image: &Reference) -> bool {
        let (host, port) = split_port(image.registry());
        let host = host.to_ascii_lowercase();
        let is_hub = HUB.contains(&host.as_str()) && HUB.contains(&self.host.as_str());
        let is_host = is_hub || matches(&self.host, &host);
        is_host && self.port.as_deref() == port && self.is_above(image.repository())
    }

    /// Whether a repository is at or below its path.
    fn is_above(&self, repository: &str) -> bool {
        let path = self.path.trim_end_matches('/');
        let rest = repository.strip_prefix(path);
        path.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// How much it tells: a host without stars, a longer path.
    fn weight(&self) -> (bool, usize, usize) {
        let is_exact = !self.host.contains(['*', '?']);
        (is_exact, self.path.len(), self.host.len())
    }
}

/// A host, and a port behind it; IPv6 addresses are in brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// Whether a host is of a pattern, label by label: a star stands for no dot.
fn matches(pattern: &str, host: &str) -> bool {
    let labels = |text: &str| text.split('.').count();
    labels(pattern) == labels(host)
        && pattern
            .split('.')
            .zip(host.split('.'))
            .all(|(pattern, label)| is_like(pattern.as_bytes(), label.as_bytes()))
}

/// Whether a label is of a pattern of stars and question marks.
fn is_like(pattern: &[u8], label: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    // Where to go on if the last star stands for one letter more.
    let mut again: Option<(usize, usize)> = None;
    while place < label.len() {
        match pattern.get(at) {
            Some(b'*') => {
                again = Some((at, place));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == label[place] => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((star, before)) = again else {
                    return false;
                };
                again = Some((star, before + 1));
                (at, place) = (star + 1, before + 1);
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keyring(value: &Value) -> Keyring {
        let mut keyring = Keyring::default();
        keyring.add(value.to_string().as_bytes()).unwrap();
        keyring
    }

    fn users(keyring: &Keyring, image: &str) -> Vec<String> {
        let logins = keyring.logins(&image.parse().unwrap());
        let user = |login| match login {
            Login::Password { user, .. } => user,
            Login::Identity { token } => token,
        };
        logins.into_iter().map(user).collect()
    }

    #[test]
    fn the_most_telling_entry_comes_first() {
        let keyring = keyring(&json!({"auths": {
            "https://index.docker.io/v1/": {"username": "hub", "password": "p"},
            "quay.io": {"username": "quay", "password": "p"},
            "quay.io/team": {"username": "team", "password": "p"},
            "*.example.com": {"username": "star", "password": "p"},
            "a.example.com": {"username": "exact", "password": "p"},
            "localhost:5000": {"username": "port", "password": "p"},
            "[::1]:5000": {"username": "six", "password": "p"},
            "empty.io": {},
            "odd.io": 7,
        }}));
        let cases: [(&str, &[&str]); 12] = [
            ("nginx", &["hub"]),
            ("user/app", &["hub"]),
            ("quay.io/team/app", &["team", "quay"]),
            ("quay.io/teams/app", &["quay"]),
            ("a.example.com/x", &["exact", "star"]),
            ("b.example.com/x", &["star"]),
            ("c.b.example.com/x", &[]),
            ("example.com/x", &[]),
            ("localhost:5000/x", &["port"]),
            ("localhost:5001/x", &[]),
            ("[::1]:5000/x", &["six"]),
            ("empty.io/x", &[]),
        ];
        for (image, expected) in cases {
            assert_eq!(users(&keyring, image), expected, "{image}");
        }
    }

    #[test]
    fn logins_are_read_in_all_their_forms() {
        let auth = |text: &str| json!({"auth": general_purpose::STANDARD.encode(text)});
        let old = keyring(&json!({"a.io": auth("u:p:q"), "b.io": auth("nothing"),
            "c.io": {"auth": "!"}, "d.io": {"identitytoken": "t"}}));
        let login = |image: &str| old.logins(&image.parse().unwrap()).pop();
        let basic = login("a.io/x").and_then(|login| login.basic());
        assert_eq!(basic.as_deref(), Some("Basic dTpwOnE="));
        assert_eq!(login("b.io/x"), None);
        assert_eq!(login("c.io/x"), None);
        let token = login("d.io/x").unwrap();
        assert_eq!(
            (users(&old, "d.io/x"), token.basic()),
            (vec!["t".to_owned()], None)
        );
        let shown = format!("{old:?}");
        assert!(!shown.contains("p:q") && shown.contains("Login"), "{shown}");
    }

    #[test]
    fn what_is_no_secret_is_told_without_its_content() {
        let mut keyring = Keyring::default();
        for text in ["", "[]", "\"x\"", r#"{"auths": "hunter2"}"#] {
            let told = keyring.add(text.as_bytes()).unwrap_err().to_string();
            assert!(!told.contains("hunter2"), "{told}");
        }
        let many: serde_json::Map<_, _> = (0..2 * ENTRIES_MAX)
            .map(|n| (format!("r.io/{n}"), json!({"username": "u"})))
            .collect();
        keyring
            .add(json!({"auths": many}).to_string().as_bytes())
            .unwrap();
        assert_eq!(keyring.entries.len(), ENTRIES_MAX);
    }

    #[test]
    fn stars_stand_for_letters_of_one_label() {
        let cases = [
            ("*", "abc", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("?b*", "ab", true),
            ("*a*b*", "xxaxxbxx", true),
            ("", "a", false),
            ("**", "", true),
        ];
        for (pattern, label, expected) in cases {
            let found = is_like(pattern.as_bytes(), label.as_bytes());
            assert_eq!(found, expected, "{pattern} {label}");
        }
        // Many stars cost no more than their number times the label's length.
        let (pattern, label) = ("*a".repeat(500), "a".repeat(400) + "b");
        assert!(!is_like(pattern.as_bytes(), label.as_bytes()));
    }
}
