//! Starts the proxies in turn before the same endpoints, gives each the same load, and keeps
//! what was measured.

use std::time::Duration;

use serde::Serialize;
use tempfile::TempDir;

use super::{
    options::{CompareProxyOptions, Load},
    pinning::{Cores, Pinned},
    servers::{Endpoints, Proxy, Running, directory, path},
    tools::{Figures, H2load, Shape, Wrk},
};
use crate::{error::Result, process};

/// One proxy's turn.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProxyTurn {
    pub(crate) proxy: &'static str,
    pub(crate) run: usize,
    /// The core that it ran on.
    pub(crate) core: usize,
    pub(crate) reports: Vec<ProxyReport>,
}

/// One load, measured once.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProxyReport {
    pub(crate) load: Load,
    pub(crate) connections: usize,
    pub(crate) body_bytes: usize,
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) p99_us: f64,
    /// Of the proxy's process; of Atoll's, all that a node does.
    pub(crate) cpu_us_per_request: f64,
}

struct Tools {
    wrk: Wrk,
    h2load: H2load,
    dir: TempDir,
}

/// Runs every turn.
pub(crate) async fn run(options: &CompareProxyOptions) -> Result<Vec<ProxyTurn>> {
    options.check()?;
    let cores = Cores::split(options.core)?;
    let tools = Tools {
        wrk: Wrk(options.tool("wrk")?),
        h2load: H2load(options.tool("h2load")?),
        dir: directory(&options.disk, "tools")?,
    };
    let elsewhere = Pinned::to(&cores.others)?;
    let endpoints = Endpoints::start(options).await?;
    let mut proxies = [Proxy::Atoll, Proxy::Haproxy, Proxy::Nginx];
    let mut turns = Vec::new();
    for run in 0..options.runs {
        for proxy in proxies {
            eprintln!("{}: core {}, run {}", proxy.name(), cores.core, run + 1);
            let running = {
                let _there = Pinned::to(&cores.proxy)?;
                proxy.start(options, &endpoints).await?
            };
            turns.push(ProxyTurn {
                proxy: proxy.name(),
                run,
                core: cores.core,
                reports: turn(options, &tools, &running)?,
            });
        }
        // Who goes first in one run goes last in the next.
        proxies.rotate_left(1);
    }
    drop(elsewhere);
    Ok(turns)
}

fn turn(
    options: &CompareProxyOptions,
    tools: &Tools,
    running: &Running,
) -> Result<Vec<ProxyReport>> {
    let mut reports = Vec::new();
    let pids = running.pids();
    for &load in &options.loads {
        for &body_bytes in &options.body_bytes {
            for &connections in &options.connections {
                let asked = Asked {
                    load,
                    connections,
                    body_bytes,
                    streams: options.streams,
                };
                let warmup = Duration::from_secs(options.warmup_seconds);
                let warm = asked.of(tools, running, None, warmup)?;
                let rate = Some(warm.requests_per_second);
                let before = process::usage(&pids)?.cpu;
                let time = Duration::from_secs(options.seconds);
                let figures = asked.of(tools, running, rate, time)?;
                let cpu = process::usage(&pids)?.cpu.saturating_sub(before);
                reports.push(ProxyReport {
                    load,
                    connections,
                    body_bytes,
                    requests: figures.requests,
                    requests_per_second: figures.requests_per_second,
                    p99_us: figures.p99_us,
                    cpu_us_per_request: cpu.as_secs_f64() * 1e6 / figures.requests.max(1) as f64,
                });
            }
        }
    }
    Ok(reports)
}

/// One load of one size.
#[derive(Clone, Copy, Debug)]
struct Asked {
    load: Load,
    connections: usize,
    body_bytes: usize,
    streams: usize,
}

impl Asked {
    fn of(
        self,
        tools: &Tools,
        running: &Running,
        rate: Option<f64>,
        time: Duration,
    ) -> Result<Figures> {
        let path = path(self.body_bytes);
        let plain = format!("http://{}{path}", running.http);
        let secret = format!("https://{}{path}", running.https);
        match self.load {
            Load::Http1 => tools.wrk.run(&plain, self.connections, false, time),
            Load::Http1Close => tools.wrk.run(&plain, self.connections, true, time),
            Load::Http2 => {
                let shape = Shape {
                    url: &secret,
                    connections: self.connections,
                    streams: self.streams,
                };
                tools.h2load.run(shape, rate, time, tools.dir.path())
            }
        }
    }
}
