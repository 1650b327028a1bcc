//! Services at this node: the Kubernetes API on a listener of its own, and the agent that runs
//! pods.

mod balancer;
mod counter;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use atoll_base::config::{Address, Config};
use atoll_control::{driver::control::Control, face::Guest};
use atoll_gateway::Gateway;
use atoll_services::{
    api::Doors,
    core::{dns::Zone, pod_network::PodNetwork},
    driver::{
        self, Fleet, PodSetup, RuntimeSetup, Setup, SimulatedSize, admission, dns, images::Images,
    },
};
use atoll_world::{
    machine,
    net::Listener,
    peers::tls::TlsPeers,
    pod_network, process, task,
    workload::{Cgroups, Launcher},
};
use tokio::sync::watch;

use super::{Acceptor, Directory, hot::Hot, limits, privacy, reached_at, record::Record, serve};
use crate::error::CliError;

/// What this program is called with to be the parent of a container's program.
pub(crate) const SHIM_COMMAND: &str = "workload-shim";
/// The file that says where this node serves the Kubernetes API: a version and a URL.
pub(crate) const API_FILE: &str = "kubernetes-api";
/// Where what belongs to pods lies, below the node's folder.
pub(crate) const PODS_DIR: &str = "pods";
/// Where images lie, below the node's folder.
pub(super) const IMAGES_DIR: &str = "images";
/// The file beside it that tells programs how long they may run.
const LEASE_EXTENSION: &str = "lease";
/// What a simulated node has.
const SIMULATED_SIZE: SimulatedSize = SimulatedSize {
    cpu_milli: 32_000,
    memory_bytes: 256 << 30,
    pods: 250,
    zones: 10,
};
/// The longest name of a Node, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// How clients come in.
pub(super) struct Door {
    pub(super) listener: Listener,
    pub(super) tls: Acceptor,
    pub(super) stopped: watch::Receiver<bool>,
}

/// What runs.
pub(super) struct Services {
    /// Where clients reach the API, as URL.
    pub(super) url: String,
    pub(super) gateway: Gateway,
    cgroups: Option<Cgroups>,
    /// The bridge of its pods.
    bridge: String,
    /// Offers to frameworks.
    pub(super) offers: Guest,
}

impl Services {
    /// Stops in order. Programs of pods go on.
    pub(super) async fn stop(self, grace: std::time::Duration) {
        self.gateway.stop(grace).await;
        let Some(cgroups) = self.cgroups else { return };
        task::blocking(move || {
            cgroups.release();
            if let Err(error) = pod_network::close_if_unused(&self.bridge) {
                tracing::debug!(%error, "the bridge of pods is left");
            }
        })
        .await;
    }
}

/// Starts services.
///
/// # Errors
/// Settings that can't be used; the folder.
pub(super) fn start(
    config: &Config,
    directory: &Directory,
    record: &Record,
    control: Control,
    peers: Arc<TlsPeers>,
    hot: &Hot,
    door: Door,
) -> Result<Services, CliError> {
    let host = reached_at(config, &config.listen.kubernetes.host);
    let port = door.listener.local_address().port();
    let url = format!(
        "https://{}",
        Address {
            host: host.clone(),
            port
        }
    );
    let written = directory.disk.write_atomic(
        &directory.path.join(API_FILE),
        format!("v1 {url}\n").as_bytes(),
    );
    written.map_err(|error| CliError::failed(error.to_string(), ""))?;
    let (pods, cgroups) = pods(config, directory, record)?.unzip();
    let dns = names(config)?;
    let started = driver::start(Setup {
        control,
        peers,
        node: record.node,
        name: name(config),
        address: address(&host),
        doors: Doors {
            balances: !config.services.balancer_host.is_empty(),
            http_port: config.http_address().port,
            https_port: config.https_address().port,
        },
        addresses: addresses(config, dns.as_ref())?,
        dns,
        pods,
        fleet: fleet(config, directory),
    });
    task::spawn(serve::kubernetes(
        door.listener,
        door.tls,
        started.api,
        limits(config),
        door.stopped,
    ));
    Ok(Services {
        url,
        gateway: balancer::start(started.traffic, config, directory.disk.clone(), hot)?,
        cgroups,
        bridge: driver::bridge(record.node),
        offers: started.offers,
    })
}

fn pods(
    config: &Config,
    directory: &Directory,
    record: &Record,
) -> Result<Option<(PodSetup, Cgroups)>, CliError> {
    if !config.services.run_pods {
        return Ok(None);
    }
    let failed = |error: &dyn std::fmt::Display| CliError::failed(error.to_string(), "");
    let folder: PathBuf = directory.path.join(PODS_DIR);
    privacy::make_for_pods(&directory.path).map_err(|error| failed(&error))?;
    // Programs are started elsewhere, and what they can reach is told by whole paths.
    let folder = std::path::absolute(&folder).map_err(|error| failed(&error))?;
    let cgroups = Cgroups::detect(&format!("atoll-{}", record.node));
    let images = folder.with_file_name(IMAGES_DIR);
    let images = Images::open(&images, &[]).map_err(|error| failed(&error))?;
    let setup = PodSetup {
        runtime: RuntimeSetup::Machine {
            lease: folder.with_extension(LEASE_EXTENSION),
            launcher: Launcher::own(SHIM_COMMAND),
            cgroups: cgroups.clone(),
            images,
        },
        facts: machine::facts(&folder),
        folder,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(Some((setup, cgroups)))
}

fn fleet(config: &Config, directory: &Directory) -> Option<Fleet> {
    let nodes = usize::try_from(config.services.simulated_nodes).unwrap_or(usize::MAX);
    (nodes > 0).then(|| Fleet {
        nodes,
        size: SIMULATED_SIZE,
        facts: machine::facts(&directory.path),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// The name that the node's Node is to have: what people call it, as far as that can be a name.
fn name(config: &Config) -> String {
    let called = match config.node.name.as_str() {
        "" => process::host_name().unwrap_or_default(),
        name => name.to_owned(),
    };
    let plain = |letter: char| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9') => letter,
        _ => '-',
    };
    let mut name: String = called.chars().map(plain).collect();
    name.truncate(NAME_BYTES_MAX);
    match name.trim_matches('-') {
        "" => "node".to_owned(),
        name => name.to_owned(),
    }
}

/// Where the node is reached as an address; a name that is none stands for loopback.
fn address(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => "127.0.0.1".to_owned(),
    }
}

/// Where names of Services are resolved.
fn names(config: &Config) -> Result<Option<dns::Settings>, CliError> {
    let (address, zone) = (&config.services.dns, &config.services.dns_zone);
    if address.is_empty() {
        return Ok(None);
    }
    let wrong = |field: &str, value: &str, why: &str| {
        CliError::usage(format!("services.{field} is {value:?}"), why)
    };
    let address: SocketAddr = address.parse().map_err(|_| {
        let why = "Give it as ADDRESS:PORT, such as 127.64.0.10:53, or leave it empty.";
        wrong("dns", address, why)
    })?;
    let zone = Zone::new(zone, Some(address.ip())).map_err(|why| {
        let why = format!("Give the name of a zone, such as cluster.local: {why}.");
        wrong("dns_zone", zone, &why)
    })?;
    Ok(Some(dns::Settings { address, zone }))
}

fn addresses(
    config: &Config,
    dns: Option<&dns::Settings>,
) -> Result<admission::Settings, CliError> {
    let services = &config.services;
    let network = services
        .network
        .split_once('/')
        .and_then(|(address, bits)| {
            let bits: u8 = bits.parse().ok().filter(|bits| (1..=30).contains(bits))?;
            Some((address.parse().ok()?, bits))
        });
    let Some((network, prefix_bits)) = network else {
        return Err(CliError::usage(
            format!("services.network is {:?}", services.network),
            "Give it as ADDRESS/BITS, an IPv4 network with 1 to 30 bits, such as 127.64.0.0/12.",
        ));
    };
    let pods = services.pod_network.parse().ok().and_then(PodNetwork::new);
    let Some(pods) = pods else {
        return Err(CliError::usage(
            format!("services.pod_network is {:?}", services.pod_network),
            "Give it as ADDRESS/BITS, an IPv4 network with 8 to 24 bits, such as 10.244.0.0/16.",
        ));
    };
    let ports = services
        .node_ports
        .split_once('-')
        .and_then(|(first, last)| {
            let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            (first > 0 && first <= last).then_some(first..=last)
        });
    let Some(node_ports) = ports else {
        return Err(CliError::usage(
            format!("services.node_ports is {:?}", services.node_ports),
            "Give them as FIRST-LAST, such as 30000-32767.",
        ));
    };
    Ok(admission::Settings {
        network,
        prefix_bits,
        reserved: dns.and_then(|dns| match dns.address.ip() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }),
        node_ports,
        pods,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_an_address_is_loopback() {
        assert_eq!(address("10.0.0.1"), "10.0.0.1");
        assert_eq!(address("::1"), "::1");
        assert_eq!(address("localhost"), "127.0.0.1");
    }
}
