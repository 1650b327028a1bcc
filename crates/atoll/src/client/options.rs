//! How to reach a cluster: from flags, variables and the context.
#![allow(clippy::disallowed_methods)] // The command line is the edge: it reads its own files.

use std::{fs, path::Path, time::Duration};

use crate::{
    cli::Global,
    context::{Context, Contexts},
    error::CliError,
    password::{self, Secret},
};

/// Where a node on this machine listens.
const ENDPOINT_DEFAULT: &str = "127.0.0.1:2379";

/// Everything that a client needs to know.
#[derive(Clone)]
pub(crate) struct Options {
    /// URLs, at least one.
    pub(crate) endpoints: Vec<String>,
    /// The authority to trust, as PEM.
    pub(crate) ca: Option<String>,
    /// The client certificate and its key, as PEM.
    pub(crate) identity: Option<(String, Secret)>,
    /// Whom to log in as.
    pub(crate) login: Option<Login>,
    /// How long one answer may take.
    pub(crate) timeout: Duration,
}

/// Whom to log in as.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// The user.
    pub(crate) user: String,
    /// Its password.
    pub(crate) password: Secret,
}

impl Options {
    /// Flags and variables first, then the context. A user's password may be asked for.
    ///
    /// # Errors
    /// An unknown context, a file that cannot be read, or no way to get the password.
    pub(crate) fn from_global(global: &Global) -> Result<Options, CliError> {
        let login = login(global, &context(global)?)?;
        Ok(Options {
            login,
            ..Options::without_login(global)?
        })
    }

    /// The same, for nobody in particular.
    ///
    /// # Errors
    /// An unknown context, or a file that cannot be read.
    pub(crate) fn without_login(global: &Global) -> Result<Options, CliError> {
        let context = context(global)?;
        let ca = pem(
            global.cacert.as_deref(),
            context.ca.as_deref(),
            context.ca_file.as_deref(),
        )?;
        let cert = pem(
            global.cert.as_deref(),
            context.cert.as_deref(),
            context.cert_file.as_deref(),
        )?;
        let key = pem(
            global.client_key.as_deref(),
            context.key.as_deref(),
            context.key_file.as_deref(),
        )?;
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, Secret(key))),
            (None, None) => None,
            _ => {
                return Err(CliError::usage(
                    "a client certificate and its key go together",
                    "name both --cert and --key",
                ));
            }
        };
        let named = global
            .endpoint
            .iter()
            .filter(|endpoint| !endpoint.is_empty());
        let mut endpoints: Vec<String> = named.cloned().collect();
        if endpoints.is_empty() {
            endpoints = context.endpoints.clone();
        }
        if endpoints.is_empty() {
            endpoints = vec![ENDPOINT_DEFAULT.to_owned()];
        }
        let with_scheme = |endpoint: String| url(&endpoint, ca.is_some());
        Ok(Options {
            endpoints: endpoints.into_iter().map(with_scheme).collect(),
            ca,
            identity,
            login: None,
            timeout: Duration::from_millis(global.timeout_ms),
        })
    }
}

/// The context that the flags choose. One that is merely current does not speak for endpoints
/// that were named: they may belong to another cluster.
fn context(global: &Global) -> Result<Context, CliError> {
    let named = global.endpoint.iter().any(|endpoint| !endpoint.is_empty());
    if named && global.context.is_none() {
        return Ok(Context::default());
    }
    // Without a home folder there are no contexts; that matters only to who names one.
    let contexts = match Contexts::path() {
        Ok(path) => Contexts::load(&path)?,
        Err(error) if global.context.is_some() => return Err(error),
        Err(_) => Contexts::default(),
    };
    Ok(contexts
        .find(global.context.as_deref())?
        .cloned()
        .unwrap_or_default())
}

/// Etcd's tools accept endpoints without a scheme, and so do we.
fn url(endpoint: &str, tls: bool) -> String {
    match endpoint.split_once("://") {
        Some(_) => endpoint.to_owned(),
        None if tls => format!("https://{endpoint}"),
        None => format!("http://{endpoint}"),
    }
}

fn pem(
    flag: Option<&Path>,
    inline: Option<&str>,
    file: Option<&Path>,
) -> Result<Option<String>, CliError> {
    let read = |path: &Path| {
        fs::read_to_string(path)
            .map(Some)
            .map_err(|error| CliError::file("read", path, error))
    };
    match (flag, inline, file) {
        (Some(path), _, _) => read(path),
        (None, Some(pem), _) => Ok(Some(pem.to_owned())),
        (None, None, Some(path)) => read(path),
        (None, None, None) => Ok(None),
    }
}

fn login(global: &Global, context: &Context) -> Result<Option<Login>, CliError> {
    let Some(login) = global.login.as_deref().or(context.user.as_deref()) else {
        return Ok(None);
    };
    // A context holds a name alone: everything in it is the name.
    let (user, password) = match login.split_once(':').filter(|_| global.login.is_some()) {
        Some((user, password)) => (user, Some(Secret(password.to_owned()))),
        None => (login, None),
    };
    let password = match password {
        Some(password) => password,
        None => password::obtain(
            global.user_password_file.as_deref(),
            "ATOLL_PASSWORD",
            &format!("Password of {user}: "),
            false,
        )?,
    };
    Ok(Some(Login {
        user: user.to_owned(),
        password,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_context_and_schemes_follow_from_tls() {
        assert_eq!(url("a:1", false), "http://a:1");
        assert_eq!(url("a:1", true), "https://a:1");
        assert_eq!(url("http://a:1", true), "http://a:1");

        let global = Global {
            endpoint: vec![String::new(), "b:2".into()],
            login: Some("ann:se:cret".into()),
            timeout_ms: 7,
            ..Global::default()
        };
        let options = Options::from_global(&global).unwrap();
        assert_eq!(options.endpoints, ["http://b:2"]);
        assert_eq!(options.timeout, Duration::from_millis(7));
        let login = options.login.unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.0.as_str()),
            ("ann", "se:cret")
        );
        assert!(!format!("{global:?}").contains("cret"));
    }

    #[test]
    fn half_a_client_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let cert = folder.path().join("cert.pem");
        fs::write(&cert, "x").unwrap();
        let global = Global {
            endpoint: vec!["a:1".into()],
            cert: Some(cert),
            ..Global::default()
        };
        let error = Options::from_global(&global).err().unwrap();
        assert_eq!(error.exit_code(), 2);
    }
}
