//! The network of the node's pods that have addresses of their own ([`atoll_world::pod_network`]).
//! The node's part of it is made when it is first needed: most machines run no such pods.
//!
//! | path, below the pod's folder | holds |
//! |---|---|
//! | `network/address` | the pod's address, from before the namespace is made |
//! | `network/namespace` | the pod's network namespace, for as long as the machine is on |

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use atoll_world::{
    net::{self, Stream},
    pod_network::{self, PodNetwork, Setup},
    task, tree,
    workload::{self, State},
};
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use serde_json::Value;

use super::places::Places;
use crate::{
    core::{object, pod_network as core, ports},
    driver::agent::runtime::PrepareFailure,
};

/// As Kubernetes calls it.
const FAILED: &str = "FailedCreatePodSandBox";
/// How long a program may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// An address with the end of its line.
const ADDRESS_BYTES_MAX: u64 = 16;

/// What is known of a node's network before its range is.
#[derive(Clone, Debug)]
pub(crate) struct NetworkSetup {
    /// What the node's bridge is called.
    pub(crate) bridge: String,
    /// The network of all nodes' pods.
    pub(crate) all: Ipv4Net,
    /// Addresses of the machine's loopback that pods reach, too: Services, and their names.
    pub(crate) loopback: Vec<Ipv4Net>,
}

/// The network of a node's pods.
pub(super) struct Network {
    setup: NetworkSetup,
    /// The address that was given last. Held while a pod's network is made: two at once would
    /// choose the same address, and make the same bridge.
    last: Mutex<Option<Ipv4Addr>>,
    /// What this machine can't do is told once.
    is_told: AtomicBool,
}

impl Network {
    pub(super) fn new(setup: NetworkSetup) -> Network {
        Network {
            setup,
            last: Mutex::default(),
            is_told: AtomicBool::default(),
        }
    }

    /// The node's part of the network, as it should be: anybody may have changed it.
    fn open(&self, range: Option<Ipv4Net>) -> Result<(Ipv4Net, PodNetwork), String> {
        let range = range.ok_or("the node has no range of addresses for pods yet")?;
        let opened = PodNetwork::open(Setup {
            bridge: self.setup.bridge.clone(),
            range,
            loopback: self.setup.loopback.clone(),
            cluster: self.setup.all,
        });
        let opened = opened.map_err(|error| error.to_string())?;
        if !self.is_told.swap(true, Ordering::Relaxed) {
            if let Err(error) = opened.way_out() {
                tracing::warn!(%error, "pods reach nothing outside the cluster");
            }
            if let Err(error) = opened.guard() {
                tracing::warn!(%error, "pods that may make packets by hand are not kept from the machine's loopback");
            }
        }
        Ok((range, opened))
    }

    /// Gives a pod its address, or finds it with the one that it has.
    pub(super) fn join(
        &self,
        places: &Places,
        uid: &str,
        range: Option<Ipv4Net>,
    ) -> Result<Ipv4Addr, PrepareFailure> {
        let joined = self.try_join(places, uid, range);
        joined.map_err(|why| PrepareFailure {
            reason: FAILED,
            message: format!("Failed to create pod sandbox: {why}"),
        })
    }

    fn try_join(
        &self,
        places: &Places,
        uid: &str,
        range: Option<Ipv4Net>,
    ) -> Result<Ipv4Addr, String> {
        let mut last = self.last.lock();
        let (range, network) = self.open(range)?;
        let address = give(places, uid, range, &mut last)?;
        find_again(&network, places, uid);
        let joined = network.join(&places.namespace(uid), uid, address);
        joined.map(|()| address).map_err(|error| error.to_string())
    }

    /// Takes a pod's network away, if it had one.
    pub(super) fn leave(&self, places: &Places, uid: &str) -> Result<(), String> {
        if address(places, uid).is_none() {
            return Ok(());
        }
        let left = pod_network::leave(&self.setup.bridge, &places.namespace(uid), uid);
        left.map_err(|error| error.to_string())
    }

    /// Has ranges of other machines' nodes reached.
    pub(super) fn route(
        &self,
        own: Option<Ipv4Net>,
        ranges: &BTreeMap<Ipv4Net, Ipv4Addr>,
    ) -> Result<(), String> {
        let ranges: Vec<(Ipv4Net, Ipv4Addr)> = ranges.iter().map(|(to, via)| (*to, *via)).collect();
        let _alone = self.last.lock();
        let (_, network) = self.open(own)?;
        let failed = network.route(&ranges).map_err(|it| it.to_string())?;
        match failed.first() {
            None => Ok(()),
            Some((range, error)) => Err(format!("{range}: {error}")),
        }
    }
}

/// The address that a pod has, or a free one, after the last one that was given.
fn give(
    places: &Places,
    uid: &str,
    range: Ipv4Net,
    last: &mut Option<Ipv4Addr>,
) -> Result<Ipv4Addr, String> {
    if let Some(has) = address(places, uid).filter(|address| range.contains(address)) {
        return Ok(has);
    }
    let pods = places.pods();
    let taken: BTreeSet<Ipv4Addr> = pods.iter().filter_map(|uid| address(places, uid)).collect();
    let free = core::choose(range, &taken, *last)
        .ok_or_else(|| format!("all addresses of {range} are taken; delete pods of this node"))?;
    note(places, uid, free)?;
    *last = Some(free);
    Ok(free)
}

/// Finds the network of a pod whose programs run already, also where a service manager has taken
/// the mounts of the node's last start away.
fn find_again(network: &PodNetwork, places: &Places, uid: &str) {
    for id in places.latest_of(uid) {
        let Ok(State::Running(running)) = workload::look(&places.attempt(&id)) else {
            continue;
        };
        match network.find_again(&places.namespace(uid), running.pid) {
            Ok(true) => return,
            // A program of the machine, beside those of images.
            Ok(false) => {}
            Err(error) => tracing::debug!(%id, %error, "a container is in no network any more"),
        }
    }
}

/// The address that a pod was given, if it has one of its own.
pub(super) fn address(places: &Places, uid: &str) -> Option<Ipv4Addr> {
    let read = tree::read_file(&places.address(uid), ADDRESS_BYTES_MAX);
    let read = String::from_utf8(read.ok()??).ok()?;
    read.trim_end().parse().ok()
}

fn note(places: &Places, uid: &str, address: Ipv4Addr) -> Result<(), String> {
    let path = places.address(uid);
    let folder = path.parent().unwrap_or(&path);
    let made = tree::make_folder(folder, 0o700);
    let written =
        made.and_then(|()| tree::write_file(&path, format!("{address}\n").as_bytes(), 0o600));
    written.map_err(|error| error.to_string())
}

/// Connects to a port of a pod: a program may listen on loopback only, the pod's own one or the
/// machine's.
pub(super) async fn connect(places: &Places, pod: &Value, port: u16) -> Result<Stream, String> {
    let own = core::has_own(pod).then(|| places.namespace(object::uid(pod)));
    let port = match own {
        Some(_) => port,
        None => ports::real(pod, port),
    };
    let mut failed = "the pod has no address yet".to_owned();
    for host in [
        "127.0.0.1",
        pod["status"]["podIP"].as_str().unwrap_or_default(),
    ] {
        let Ok(host) = host.parse::<IpAddr>() else {
            continue;
        };
        let to = SocketAddr::from((host, port));
        let connected = match own.clone() {
            None => {
                let connected = net::connect(&to.to_string(), CONNECT_MAX).await;
                connected.map_err(|error| error.to_string())
            }
            Some(namespace) => {
                let within = move || pod_network::connect_within(&namespace, to, CONNECT_MAX);
                let connected = task::blocking(within).await.and_then(Stream::plain);
                connected.map_err(|error| error.to_string())
            }
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(why) => failed = why,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_address_is_noted_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(folder.path().join("pods"));
        assert_eq!(address(&places, "u"), None);
        let given = Ipv4Addr::new(10, 244, 1, 254);
        note(&places, "u", given).unwrap();
        assert_eq!(address(&places, "u"), Some(given));
        let range = "10.244.1.0/24".parse().unwrap();
        let mut last = None;
        let mut give = |uid: &str| give(&places, uid, range, &mut last).unwrap();
        assert_eq!(give("u"), given, "it keeps what it has");
        let others = ["v", "w", "v"].map(&mut give);
        assert_eq!(others.map(|it| it.octets()[3]), [2, 3, 2]);
    }
}
