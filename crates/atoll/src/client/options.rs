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
/// Where nodes listen if nobody says otherwise.
const PORT_DEFAULT: u16 = 2379;

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
            CERTIFICATE,
            global.cacert.as_deref(),
            context.ca.as_deref(),
            context.ca_file.as_deref(),
        )?;
        let cert = pem(
            CERTIFICATE,
            global.cert.as_deref(),
            context.cert.as_deref(),
            context.cert_file.as_deref(),
        )?;
        let key = pem(
            PRIVATE_KEY,
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
        let endpoints: Vec<String> = endpoints.into_iter().map(with_scheme).collect();
        if let Some(tls) = endpoints
            .iter()
            .find(|e| ca.is_none() && e.starts_with("https://"))
        {
            return Err(CliError::usage(
                format!("whom to trust at {tls} is not known"),
                "name the cluster's authority with --cacert FILE, or a context that holds it with --context",
            ));
        }
        Ok(Options {
            endpoints,
            ca,
            identity,
            login: None,
            timeout: Duration::from_millis(global.timeout_ms),
        })
    }
}

/// The context that the flags choose. It fills in what they leave open.
fn context(global: &Global) -> Result<Context, CliError> {
    // Without a home folder there are no contexts; that matters only to who names one.
    let contexts = match Contexts::path() {
        Ok(path) => Contexts::load(&path)?,
        Err(error) if global.context.is_some() => return Err(error),
        Err(_) => Contexts::default(),
    };
    let found = contexts.find(global.context.as_deref())?;
    Ok(found.cloned().unwrap_or_default())
}

/// Etcd's tools accept endpoints without a scheme, and so do we; and without a port.
fn url(endpoint: &str, tls: bool) -> String {
    if endpoint.contains("://") {
        return endpoint.to_owned();
    }
    let scheme = if tls { "https" } else { "http" };
    let port = if endpoint.contains(':') {
        String::new()
    } else {
        format!(":{PORT_DEFAULT}")
    };
    format!("{scheme}://{endpoint}{port}")
}

/// What the PEM blocks are called that we need.
const CERTIFICATE: &str = "CERTIFICATE-----";
const PRIVATE_KEY: &str = "PRIVATE KEY-----";

fn pem(
    label: &str,
    flag: Option<&Path>,
    inline: Option<&str>,
    file: Option<&Path>,
) -> Result<Option<String>, CliError> {
    let path = match (flag, inline, file) {
        (Some(path), _, _) => path,
        (None, Some(pem), _) => return Ok(Some(pem.to_owned())),
        (None, None, Some(path)) => path,
        (None, None, None) => return Ok(None),
    };
    let text = fs::read_to_string(path).map_err(|error| CliError::file("read", path, error))?;
    if text.contains(label) {
        Ok(Some(text))
    } else {
        Err(CliError::usage(
            format!(
                "{} holds no {}",
                path.display(),
                label.trim_end_matches('-').to_lowercase()
            ),
            "name a PEM file",
        ))
    }
}

fn login(global: &Global, context: &Context) -> Result<Option<Login>, CliError> {
    // A context's user is not sent in the clear to an endpoint that the context does not name.
    let clear = global
        .endpoint
        .iter()
        .any(|endpoint| endpoint.starts_with("http://"));
    // And whoever names a certificate logs in with that.
    let kept = context
        .user
        .as_deref()
        .filter(|_| !clear && global.cert.is_none());
    let Some(login) = global.login.as_deref().or(kept) else {
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
        assert_eq!(url("10.0.0.1", false), "http://10.0.0.1:2379");

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
        let mut global = Global {
            endpoint: vec!["a:1".into()],
            cert: Some(cert.clone()),
            ..Global::default()
        };
        let refused = |global: &Global| Options::from_global(global).err().unwrap().to_string();
        fs::write(&cert, "x").unwrap();
        assert!(refused(&global).ends_with("cert.pem holds no certificate"));
        fs::write(&cert, "-----BEGIN CERTIFICATE-----").unwrap();
        assert_eq!(
            refused(&global),
            "a client certificate and its key go together"
        );
        global.client_key = Some(cert);
        assert!(refused(&global).ends_with("cert.pem holds no private key"));
    }

    #[test]
    fn tls_needs_somebody_to_trust() {
        let global = Global {
            endpoint: vec!["https://a:1".into()],
            ..Global::default()
        };
        let error = Options::from_global(&global).err().unwrap();
        assert_eq!(
            error.to_string(),
            "whom to trust at https://a:1 is not known"
        );
    }
}
