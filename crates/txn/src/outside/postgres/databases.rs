//! The databases that a node knows, by name: a TOML file, one section a database.
//!
//! ```toml
//! [stock]
//! url = "postgresql://atoll:secret@db.example:5432/stock"
//! ```
//!
//! Passwords stand there and nowhere else: clients name databases, and nothing of this is ever
//! logged. A database on another machine is talked to by TLS, unless its URL says
//! `sslmode=disable`.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Deserialize;
use tokio_postgres::config::{Config, Host, SslMode};

use crate::outside::Tls;

/// So many databases a node may know.
const DATABASES_MAX: usize = 256;
/// The longest name.
const NAME_BYTES_MAX: usize = 63;

/// What is wrong with the file. It never tells a URL.
#[derive(Debug, thiserror::Error)]
pub enum DatabasesError {
    /// No TOML, or not ours. What exactly may hold a part of a URL.
    #[error("line {line} is not TOML, or something else than a section [NAME] with a url")]
    Syntax {
        /// Where.
        line: usize,
    },
    /// Too many.
    #[error("{0} databases, of which there may be {DATABASES_MAX}")]
    TooMany(usize),
    /// A name.
    #[error("\"{0}\" is no name: 1 to {NAME_BYTES_MAX} letters, digits, hyphens and underscores")]
    Name(String),
    /// A URL.
    #[error("the url of {name} {problem}")]
    Url {
        /// Whose.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    url: String,
}

/// A database.
#[derive(Clone)]
pub struct Database {
    /// What clients call it.
    pub name: String,
    pub(super) config: Config,
    pub(super) host: String,
    pub(super) port: u16,
    /// How it is talked to by TLS; in the clear, if none.
    pub(super) tls: Option<Tls>,
}

/// Reads the file. Databases on other machines prove with `tls` who they are.
///
/// # Errors
/// See [`DatabasesError`].
pub fn parse(text: &str, tls: Option<&Tls>) -> Result<Vec<Database>, DatabasesError> {
    let sections: BTreeMap<String, Section> = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |it| it.start);
        let before = text.get(..at).unwrap_or(text);
        DatabasesError::Syntax {
            line: 1 + before.matches('\n').count(),
        }
    })?;
    if sections.len() > DATABASES_MAX {
        return Err(DatabasesError::TooMany(sections.len()));
    }
    let databases = sections.into_iter();
    databases
        .map(|(name, section)| database(name, &section.url, tls))
        .collect()
}

fn database(name: String, url: &str, tls: Option<&Tls>) -> Result<Database, DatabasesError> {
    let is_name = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_');
    if !is_name {
        return Err(DatabasesError::Name(name));
    }
    let wrong = |problem| DatabasesError::Url {
        name: name.clone(),
        problem,
    };
    let mut config: Config = url
        .parse()
        .map_err(|_| wrong("is not postgresql://USER:PASSWORD@HOST:PORT/DATABASE"))?;
    config.application_name("atoll");
    let host = match config.get_hosts() {
        [Host::Tcp(host)] => host.clone(),
        _ => return Err(wrong("must name one host, by name or address")),
    };
    let port = match config.get_ports() {
        [] => 5_432,
        [port] => *port,
        _ => return Err(wrong("must name one port")),
    };
    if config.get_user().is_none() || config.get_dbname().is_none() {
        return Err(wrong("must name a user and a database"));
    }
    let address: Result<IpAddr, _> = host.parse();
    let is_here = host == "localhost" || address.is_ok_and(|it| it.is_loopback());
    let is_tls = match config.get_ssl_mode() {
        SslMode::Disable => false,
        SslMode::Require => true,
        // What PostgreSQL calls prefer anybody on the way could talk it out of.
        _ => !is_here,
    };
    let tls = match (is_tls, tls) {
        (false, _) => None,
        (true, Some(tls)) => Some(tls.clone()),
        (true, None) => {
            return Err(wrong(
                "asks for TLS, but txn.roots_file does not say whom to trust (sslmode=disable goes without)",
            ));
        }
    };
    config.ssl_mode(match tls {
        Some(_) => SslMode::Require,
        None => SslMode::Disable,
    });
    Ok(Database {
        name,
        config,
        host,
        port,
        tls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_read() {
        let text = "[stock]\nurl = \"postgresql://a:p%40ss@127.0.0.1:5433/stock\"\n\
                    [bills]\nurl = \"postgresql://a@localhost/bills\"\n\
                    [far]\nurl = \"postgresql://a@10.0.0.1/far?sslmode=disable\"\n";
        let read = parse(text, None).expect("three");
        let facts: Vec<_> = read
            .iter()
            .map(|it| (&*it.name, &*it.host, it.port))
            .collect();
        let expected = [
            ("bills", "localhost", 5_432),
            ("far", "10.0.0.1", 5_432),
            ("stock", "127.0.0.1", 5_433),
        ];
        assert_eq!(facts, expected);
        assert_eq!(read[2].config.get_password(), Some(&b"p@ss"[..]));
        assert!(parse("", None).expect("none").is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_without_passwords() {
        for wrong in [
            "[a]\nurl = \"postgresql://u:secret@10.0.0.1/d\"",
            "[a]\nurl = \"postgresql://u:secret@127.0.0.1/d?sslmode=require\"",
            "[a]\nurl = \"postgresql://u:secret@a,b/d\"",
            "[a]\nurl = \"postgresql://u:secret@%2Frun%2Fsocket/d\"",
            "[a]\nurl = \"postgresql://u:secret@127.0.0.1\"",
            "[a]\nurl = \"http://secret\"",
            "[a]\nurl = \"postgresql://u:secret@127.0.0.1/d\"\nmore = \"secret\"",
            "[a]\nurl = secret",
            "[\"a b\"]\nurl = \"postgresql://u:secret@127.0.0.1/d\"",
            "[a]\nurl = \"postgresql://u:secret@127.0.0.1/d",
            "a = \"secret\"",
        ] {
            let error = parse(wrong, None)
                .err()
                .unwrap_or_else(|| panic!("{wrong}"));
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
