//! `atoll context`: named clusters.

use clap::Subcommand;
use serde::Serialize;

use crate::{
    cli::Global,
    client::Options,
    context::{Context, Contexts},
    error::CliError,
    output::{Done, View, table},
};

/// What can be done with contexts.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Every context; a star marks the current one.
    List,
    /// Make a context the current one.
    Use {
        /// Its name.
        name: String,
    },
    /// Show a context, without its key.
    Show {
        /// Its name; the current one if it is left away.
        name: Option<String>,
    },
    /// Keep --endpoint, --user, --cacert, --cert and --key under a name, and make it the
    /// current one. Certificates and key are copied into the contexts' file.
    Add {
        /// Its name.
        name: String,
    },
    /// Forget a context.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Does it.
pub(crate) fn run(command: ContextCommand, global: &Global) -> Result<(), CliError> {
    let path = Contexts::path()?;
    let mut contexts = Contexts::load(&path)?;
    match command {
        ContextCommand::List => global.output.show(&List::from(&contexts)),
        ContextCommand::Show { name } => {
            let name = name
                .or_else(|| global.context.clone())
                .or_else(|| contexts.current.clone());
            let name = name.ok_or_else(|| {
                CliError::usage(
                    "there is no current context",
                    "`atoll context list` shows all there are",
                )
            })?;
            let context = contexts
                .contexts
                .get(&name)
                .ok_or_else(|| contexts.unknown(&name))?;
            global
                .output
                .show(&Shown::new(&name, contexts.current.as_deref(), context))
        }
        ContextCommand::Use { name } => {
            if !contexts.contexts.contains_key(&name) {
                return Err(contexts.unknown(&name));
            }
            contexts.current = Some(name.clone());
            contexts.save(&path)?;
            global
                .output
                .show(&Done::new(format!("{name} is the current context")))
        }
        ContextCommand::Add { name } => {
            contexts.put(&name, from_flags(global)?);
            contexts.save(&path)?;
            global.output.show(&Done::new(format!(
                "{name} is kept, and the current context"
            )))
        }
        ContextCommand::Remove { name } => {
            if contexts.contexts.remove(&name).is_none() {
                return Err(contexts.unknown(&name));
            }
            contexts.current = contexts.current.filter(|current| *current != name);
            contexts.save(&path)?;
            global
                .output
                .show(&Done::new(format!("{name} is forgotten")))
        }
    }
}

fn from_flags(global: &Global) -> Result<Context, CliError> {
    if !global.endpoint.iter().any(|endpoint| !endpoint.is_empty()) {
        return Err(CliError::usage(
            "a context needs an endpoint",
            "as in `atoll context add NAME --endpoint https://10.0.0.1:2379 --cacert ca.pem`",
        ));
    }
    let login = global.login.as_deref();
    let user = login.map(|login| {
        login
            .split_once(':')
            .map_or(login, |(user, _)| user)
            .to_owned()
    });
    let options = Options::without_login(global)?;
    let (cert, key) = match options.identity {
        Some((cert, key)) => (Some(cert), Some(key.0)),
        None => (None, None),
    };
    Ok(Context {
        endpoints: options.endpoints,
        user,
        ca: options.ca,
        cert,
        key,
        ..Context::default()
    })
}

#[derive(Serialize)]
#[serde(transparent)]
struct List(Vec<Shown>);

impl From<&Contexts> for List {
    fn from(contexts: &Contexts) -> List {
        let current = contexts.current.as_deref();
        let one = |(name, context): (&String, &Context)| Shown::new(name, current, context);
        List(contexts.contexts.iter().map(one).collect())
    }
}

impl View for List {
    fn text(&self) -> String {
        let row = |shown: &Shown| {
            vec![
                if shown.current { "*" } else { "" }.to_owned(),
                shown.name.clone(),
                shown.endpoints.join(" "),
                shown.user.clone().unwrap_or_default(),
            ]
        };
        table(
            &["", "NAME", "ENDPOINTS", "USER"],
            &self.0.iter().map(row).collect::<Vec<_>>(),
        )
    }
}

/// A context without what must stay in its file.
#[derive(Serialize)]
struct Shown {
    name: String,
    current: bool,
    endpoints: Vec<String>,
    user: Option<String>,
    ca: Option<String>,
    cert: Option<String>,
    has_key: bool,
}

impl Shown {
    fn new(name: &str, current: Option<&str>, context: &Context) -> Shown {
        let place =
            |inline: &Option<String>, file: &Option<std::path::PathBuf>| match (inline, file) {
                (Some(pem), _) => Some(pem.clone()),
                (None, Some(path)) => Some(path.display().to_string()),
                (None, None) => None,
            };
        Shown {
            name: name.to_owned(),
            current: current == Some(name),
            endpoints: context.endpoints.clone(),
            user: context.user.clone(),
            ca: place(&context.ca, &context.ca_file),
            cert: place(&context.cert, &context.cert_file),
            has_key: context.key.is_some() || context.key_file.is_some(),
        }
    }
}

impl View for Shown {
    fn text(&self) -> String {
        let yes = |there: bool| if there { "yes" } else { "no" };
        format!(
            "context {}{}\nendpoints: {}\nuser: {}\nauthority: {}\nclient certificate: {}",
            self.name,
            if self.current { " (current)" } else { "" },
            self.endpoints.join(" "),
            self.user.as_deref().unwrap_or("nobody"),
            yes(self.ca.is_some()),
            yes(self.cert.is_some() && self.has_key),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_never_holds_the_key() {
        let mut contexts = Contexts::default();
        let lab = Context {
            endpoints: vec!["https://a:2379".into()],
            cert: Some("CERT".into()),
            key: Some("SECRET".into()),
            ..Context::default()
        };
        contexts.put("lab", lab);
        contexts.put("home", Context::default());
        let list = List::from(&contexts);
        assert_eq!(
            list.text(),
            "   NAME  ENDPOINTS       USER\n*  home\n   lab   https://a:2379"
        );
        let json = serde_json::to_string(&list).unwrap();
        assert!(json.contains("CERT") && !json.contains("SECRET"));
        assert!(!list.0[1].text().contains("SECRET"));
        assert!(!format!("{contexts:?}").contains("SECRET"));
    }
}
