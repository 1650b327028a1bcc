//! The gateway of this node: it does what Services and Ingresses ask for, and what its own file
//! says.

use std::{path::PathBuf, sync::Arc, time::Duration};

use atoll_base::config::Config;
use atoll_gateway::{
    Gateway,
    core::{
        file::{self, File},
        services::{Doors, Made, Objects},
    },
};
use atoll_services::api::Traffic;
use atoll_world::{clock, disk::Disk, task};
use tokio::sync::watch;

use super::counter::HotCounter;
use crate::{error::CliError, node::hot::Hot};

/// How often it is looked whether the file has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The largest file that it or what it names may be, in bytes.
const FILE_BYTES_MAX: usize = 4 << 20;

/// What the gateway's file says, and the texts that it was made of.
struct Source {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

/// A file that was read, and everything that was read for it: so changes are seen.
#[derive(Clone, Default)]
struct Read {
    file: Option<Arc<File>>,
    texts: Vec<Vec<u8>>,
}

impl Source {
    fn bytes(&self, path: &std::path::Path) -> Result<Vec<u8>, String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let bytes = self.disk.read_all(path).map_err(|error| told(&error))?;
        match bytes.len() <= FILE_BYTES_MAX {
            true => Ok(bytes.to_vec()),
            false => Err(told(&format!("it is longer than {FILE_BYTES_MAX} bytes"))),
        }
    }

    /// Reads the file and what it names. Paths are from the file's own folder.
    fn read(&self) -> Result<Read, String> {
        let own = self.bytes(&self.path)?;
        let text = String::from_utf8(own.clone())
            .map_err(|_| format!("{}: it is not UTF-8", self.path.display()))?;
        let folder = self.path.parent().unwrap_or(std::path::Path::new("."));
        let texts = std::cell::RefCell::new(vec![own]);
        let named = |path: &str| {
            let bytes = self.bytes(&folder.join(path))?;
            texts.borrow_mut().push(bytes.clone());
            Ok(bytes)
        };
        let file = File::parse(&text, &named)
            .map_err(|error| format!("{}: {error}", self.path.display()))?;
        Ok(Read {
            file: Some(Arc::new(file)),
            texts: texts.into_inner(),
        })
    }
}

/// Starts the gateway.
///
/// # Errors
/// Its file can't be read: a node does not begin with half of what it is to do.
pub(super) fn start(
    mut traffic: watch::Receiver<Arc<Traffic>>,
    config: &Config,
    disk: Arc<dyn Disk>,
    hot: &Hot,
) -> Result<Gateway, CliError> {
    let source = (!config.gateway.file.is_empty()).then(|| Source {
        disk,
        path: PathBuf::from(&config.gateway.file),
    });
    let mut read = match &source {
        Some(source) => source.read().map_err(|why| {
            CliError::usage(
                format!("gateway.file can't be used: {why}"),
                "docs/gateway.md describes it.",
            )
        })?,
        None => Read::default(),
    };
    let doors = doors(config);
    let mut told = Vec::new();
    let mut wanted = move |traffic: &Traffic, file: Option<&File>| {
        let objects = Objects {
            services: &traffic.services,
            slices: &traffic.slices,
            ingresses: &traffic.ingresses,
            secrets: &traffic.secrets,
            pods: &traffic.pods,
        };
        let Made { config, problems } = file::config(file, &objects, &doors);
        if problems != told {
            for problem in &problems {
                tracing::warn!(%problem, "the gateway does not do all that it is asked");
            }
            told = problems;
        }
        Arc::new(config)
    };
    let first = wanted(&traffic.borrow_and_update(), read.file.as_deref());
    let (sender, receiver) = watch::channel(first);
    task::spawn(async move {
        let mut failed = String::new();
        loop {
            let is_news = tokio::select! {
                changed = traffic.changed() => match changed {
                    Ok(()) => true,
                    Err(_) => return,
                },
                () = clock::sleep(LOOK_INTERVAL), if source.is_some() => false,
            };
            let is_other = match source.as_ref().map(Source::read) {
                Some(Ok(now)) => {
                    failed.clear();
                    let is_other = now.texts != read.texts;
                    if is_other {
                        tracing::info!("the gateway's file has changed");
                        read = now;
                    }
                    is_other
                }
                // What was read last goes on.
                Some(Err(why)) => {
                    if why != failed {
                        tracing::error!(
                            why,
                            "the gateway's file can't be used, so what it said before holds"
                        );
                        failed = why;
                    }
                    false
                }
                None => false,
            };
            if is_news || is_other {
                let config = wanted(&traffic.borrow_and_update(), read.file.as_deref());
                sender.send_replace(config);
            }
        }
    });
    let counter = Arc::new(HotCounter(hot.clone()));
    Ok(Gateway::start(receiver, Some(counter)))
}

fn doors(config: &Config) -> Doors {
    let bracketed = |host: &str| match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let balancer = &config.services.balancer_host;
    Doors {
        host: bracketed(&config.listen.http.host),
        balancer: (!balancer.is_empty()).then(|| bracketed(balancer)),
        http: config.http_address().to_string(),
        https: Some(config.https_address().to_string()),
    }
}
