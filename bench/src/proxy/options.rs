//! The command line of `compare-proxy`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::error::{Error, Result};

/// What a proxy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Load {
    /// HTTP/1.1, one request after the other on each connection.
    Http1,
    /// HTTP/1.1, a new connection for each request.
    Http1Close,
    /// HTTP/2 under TLS.
    Http2,
}

impl Load {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http1Close => "http1-close",
            Self::Http2 => "http2",
        }
    }
}

const EXAMPLES: &str = "\
The whole series:
  bench compare-proxy --atoll target/release/atoll --tools ~/.cache/atoll-tools/bin
A short look:
  bench compare-proxy --atoll target/release/atoll --tools ~/.cache/atoll-tools/bin \\
      --runs 1 --seconds 1";

#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareProxyOptions {
    /// An atoll binary (build it with --release).
    #[arg(long)]
    pub(crate) atoll: PathBuf,
    /// The folder with haproxy, nginx, wrk and h2load.
    #[arg(long)]
    pub(crate) tools: PathBuf,
    /// Directory on the disk to use; each program gets a directory below, removed afterwards.
    #[arg(long, default_value = "/var/tmp")]
    pub(crate) disk: PathBuf,
    /// What the proxies are asked.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "http1,http1-close,http2"
    )]
    pub(crate) loads: Vec<Load>,
    /// Connections at one time.
    #[arg(long, value_delimiter = ',', default_value = "64,256")]
    pub(crate) connections: Vec<usize>,
    /// Requests at one time on each connection of HTTP/2.
    #[arg(long, default_value_t = 10)]
    pub(crate) streams: usize,
    /// Sizes of the answers' bodies.
    #[arg(long, value_delimiter = ',', default_value = "100,100000")]
    pub(crate) body_bytes: Vec<usize>,
    /// How often each proxy takes its turn.
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: usize,
    /// How long to measure each load.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// How long to run each load before measuring it.
    #[arg(long, default_value_t = 1)]
    pub(crate) warmup_seconds: u64,
    /// The core that the proxies have to themselves; the last one if none is named.
    #[arg(long)]
    pub(crate) core: Option<usize>,
}

/// The most connections of a load.
pub(super) const CONNECTIONS_MAX: usize = 1_024;
/// The largest body, bytes.
const BODY_BYTES_MAX: usize = 1 << 30;

impl CompareProxyOptions {
    /// Every option within its range.
    ///
    /// # Errors
    /// It names the option that is not.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |text: &str| Err(Error::Options(text.to_owned()));
        let are_some = self.connections.iter().all(|it| *it > 0) && self.streams > 0;
        if !are_some || self.seconds == 0 || self.warmup_seconds == 0 {
            return refuse("--connections, --streams, --seconds and --warmup-seconds begin at 1");
        }
        if self.connections.iter().any(|it| *it > CONNECTIONS_MAX) {
            return refuse("--connections is at most 1024");
        }
        if self.body_bytes.iter().any(|it| *it > BODY_BYTES_MAX) {
            return refuse("--body-bytes is at most 1073741824");
        }
        Ok(())
    }

    /// One of the tools.
    ///
    /// # Errors
    /// It isn't there.
    pub(crate) fn tool(&self, name: &str) -> Result<PathBuf> {
        binary(&self.tools.join(name))
    }
}

/// A program, by a path that holds in every directory.
pub(super) fn binary(path: &Path) -> Result<PathBuf> {
    let found = path.canonicalize();
    found.map_err(Error::io(&format!("find {}", path.display())))
}
