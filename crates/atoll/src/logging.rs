//! Where a node's log lines go: standard error, as the configuration says.

use std::io;

use atoll_base::config::{Log, LogFormat};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::error::CliError;

/// Turns logging on for the rest of the process.
///
/// # Errors
/// `log.filter` is no filter.
pub(crate) fn init(log: &Log) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| {
        CliError::usage(
            format!("log.filter = {:?} is no filter: {error}", log.filter),
            "a level (error, warn, info, debug, trace), or levels by crate: info,atoll_control=debug",
        )
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(io::stderr);
    let done = match log.format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json()).try_init(),
    };
    done.map_err(|error| CliError::failed(format!("cannot log: {error}"), ""))
}
