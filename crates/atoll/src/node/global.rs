//! The coordinator of global transactions, put together: the control plane is its log; services,
//! databases and the node's hot data are its participants.

use std::{path::Path, sync::Arc};

use atoll_base::config::Config;
use atoll_control::{driver::control::Control, face::Guest};
use atoll_txn::{
    core::global,
    driver::global::{Bounds, Decisions, Global, Setup},
    face,
    outside::{Everybody, Hosts, Http, Postgres, postgres::databases, tls},
};
use atoll_world::{disk, peers::tls::TlsPeers};

use super::{hot::Hot, record::Record};
use crate::error::CliError;

/// A node's coordinator.
pub(crate) type Coordinator = Global<Decisions<Control>>;

/// Starts it; it, and its service.
///
/// # Errors
/// Settings that can't be used.
pub(super) fn start(
    config: &Config,
    record: &Record,
    control: Control,
    peers: Arc<TlsPeers>,
    hot: &Hot,
) -> Result<(Coordinator, Guest), CliError> {
    let tls = match read(&config.txn.roots_file)? {
        Some(pem) => Some(tls(&pem).map_err(|error| wrong("txn.roots_file", &error))?),
        None => None,
    };
    let databases = read(&config.txn.postgres_file)?.unwrap_or_default();
    let databases = databases::parse(&databases, tls.as_ref())
        .map_err(|error| wrong("txn.postgres_file", &error))?;
    // Who comes from elsewhere must not reach through this node what listens for this machine.
    let loopback = !config.leaves_loopback();
    let hosts = Hosts::parse(&config.txn.http_hosts, loopback)
        .map_err(|error| wrong("txn.http_hosts", &error))?;
    let outside = Everybody {
        http: Http::new(record.cluster, hosts, tls),
        postgres: Postgres::new(record.cluster, databases),
        hot: hot.part().clone(),
    };
    let global = Global::start(Setup {
        node: record.node,
        cluster: Decisions::new(control.clone(), peers, record.cluster, record.node),
        outside: Arc::new(outside),
        settings: settings(config),
        bounds: Bounds::default(),
    });
    let guest = face::guest(control, global.clone(), hot.clone());
    Ok((global, guest))
}

fn settings(config: &Config) -> global::Settings {
    let txn = &config.txn;
    global::Settings {
        keys_ops_max: usize::try_from(config.control.txn_ops_max).unwrap_or(usize::MAX),
        transactions_max: usize::try_from(txn.transactions_max).unwrap_or(usize::MAX),
        timeout_ms_max: txn.timeout_ms_max,
        vote_ms: txn.vote_ms,
        retry_ms_max: txn.retry_ms_max,
        keep_ms: txn.keep_s.saturating_mul(1_000),
        ..global::Settings::default()
    }
}

/// A setting that can't be used.
fn wrong(setting: &str, error: &dyn std::error::Error) -> CliError {
    CliError::usage(format!("{setting}: {error}"), "")
}

/// A file that a setting names, if it names one.
fn read(path: &str) -> Result<Option<String>, CliError> {
    if path.is_empty() {
        return Ok(None);
    }
    let bytes = disk::real()
        .read_all(Path::new(path))
        .map_err(|error| CliError::usage(error.to_string(), ""))?;
    let text = String::from_utf8(bytes.to_vec())
        .map_err(|_| CliError::usage(format!("{path} is not text"), ""))?;
    Ok(Some(text))
}
