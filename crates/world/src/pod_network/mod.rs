//! The network of a node's pods: for each a network namespace with an address of its own.
//!
//! A node has a bridge, which has the first address of the node's range. A pod has a namespace,
//! which is kept by a file that it is mounted on, and a veth pair: one end is in the bridge, the
//! other is the pod's `eth0`, with the pod's address and a default route over the bridge. Pods of
//! one node reach each other through the bridge, and the machine reaches them as neighbours.
//!
//! ClusterIPs and the cluster's name server are addresses of the machine's loopback network, on
//! which the node listens. Pods reach them without translation: they have a route to them over the
//! bridge, and both ends take packets of such addresses from it (`route_localnet`,
//! networking/ip-sysctl of the kernel's documentation).
//!
//! What pods send to others than pods leaves the machine as if it had sent it (masquerading), by a
//! table of the packet filter that has the bridge's name. That also keeps pods from the rest of the
//! machine's loopback network, which `route_localnet` would open to who makes packets by hand; a
//! table in each pod's namespace keeps its neighbours from its own.
//!
//! Invariants:
//! - what is there already and as it should be is left alone, so that a node that starts anew finds
//!   its pods, and they notice nothing;
//! - interfaces, routes and settings that this module did not make are left alone, but for one:
//!   forwarding is switched on, on the bridge and on the interfaces that lead out of the machine
//!   (see [`PodNetwork::open`]);
//! - a thread that has gone to another namespace ends there: none returns to a pool.
//!
//! All calls block, for milliseconds. They work in the network namespace of the calling thread.

#![allow(
    clippy::disallowed_methods,
    reason = "networks of real pods, which no simulation has"
)]

mod bridge;
mod connect;
mod error;
mod filter;
mod kernel;
mod namespace;
mod netlink;
mod nftables;
mod pod;
mod routes;
mod settings;
#[cfg(test)]
mod tests;

use std::{net::Ipv4Addr, path::Path, sync::Arc};

pub use ipnet::Ipv4Net;

pub use self::{connect::connect_within, error::NetworkError};
use self::{filter::Filter, kernel::Kernel};

/// Bridges of nodes are called so, with something behind: one without pods that has a range which
/// another node gets is what is left of a node that is gone, and is removed.
pub const BRIDGE_PREFIX: &str = "atb";
/// The longest name of an interface, in bytes (`IFNAMSIZ` without its end).
pub const INTERFACE_NAME_BYTES_MAX: usize = 15;
/// The smallest range that has an address for a pod beside the bridge's.
const PREFIX_BITS_MAX: u8 = 30;

/// What the network of a node's pods is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The name of the bridge, of [`INTERFACE_NAME_BYTES_MAX`] at most.
    pub bridge: String,
    /// The addresses of this node's pods; the first one is the bridge's.
    pub range: Ipv4Net,
    /// Addresses of the machine's loopback network that pods reach: networks, or single ones (/32).
    pub loopback: Vec<Ipv4Net>,
    /// The addresses of all nodes' pods.
    pub cluster: Ipv4Net,
}

impl Setup {
    /// The address of the bridge, over which pods reach all but their neighbours.
    pub fn gateway(&self) -> Ipv4Addr {
        let first = u32::from(self.range.network()).saturating_add(1);
        Ipv4Addr::from(first)
    }

    fn check(&self) -> Result<(), NetworkError> {
        check_interface_name(&self.bridge)?;
        if self.range.prefix_len() > PREFIX_BITS_MAX {
            let range = self.range;
            return Err(NetworkError::Invalid(format!(
                "the range of a node's pods, {range}, has no room for one: it takes /{PREFIX_BITS_MAX} or shorter"
            )));
        }
        let is_loopback = |range: &&Ipv4Net| !range.network().is_loopback();
        match self.loopback.iter().find(is_loopback) {
            Some(range) => Err(NetworkError::Invalid(format!(
                "{range} is no range of the loopback network"
            ))),
            None => Ok(()),
        }
    }

    /// Whether a pod can have an address.
    fn check_address(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        let range = self.range;
        let taken = [range.network(), range.broadcast(), self.gateway()];
        match range.contains(&address) && !taken.contains(&address) {
            true => Ok(()),
            false => Err(NetworkError::Invalid(format!(
                "{address} can't be the address of a pod in {range}"
            ))),
        }
    }
}

/// Whether an interface can be called so; the kernel would take some names that files of settings
/// can't have.
fn check_interface_name(name: &str) -> Result<(), NetworkError> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let length = 1..=INTERFACE_NAME_BYTES_MAX;
    match length.contains(&name.len()) && name.bytes().all(is_fine) {
        true => Ok(()),
        false => Err(NetworkError::Invalid(format!(
            "an interface can't be called {name:?}"
        ))),
    }
}

/// The network of a node's pods. Clones are the same one.
#[derive(Clone, Debug)]
pub struct PodNetwork {
    setup: Arc<Setup>,
    filter: Arc<Filter>,
}

impl PodNetwork {
    /// Makes the bridge, or finds it. If it had another range, it gets this one, as long as no pod
    /// is there that has an address of the other.
    ///
    /// A packet is passed on if forwarding is switched on at the interface that it comes in by. So
    /// it is switched on at the bridge, and at those interfaces that lead to the default gateway
    /// and to other nodes, for what comes back; `net.ipv4.ip_forward`, which would switch it on at
    /// all interfaces, is left as it is.
    ///
    /// # Errors
    /// See [`NetworkError`]: the range is in use, say, or this process may not.
    pub fn open(setup: Setup) -> Result<PodNetwork, NetworkError> {
        setup.check()?;
        let mut kernel = Kernel::open()?;
        let link = bridge::ensure(&mut kernel, &setup)?;
        // Before the bridge takes packets for loopback.
        let filter = Arc::new(filter::ensure(&setup));
        bridge::switch_on(&mut kernel, &setup, &link)?;
        let setup = Arc::new(setup);
        Ok(PodNetwork { setup, filter })
    }

    /// Whether pods reach what is outside of the cluster: it takes nf_tables.
    ///
    /// # Errors
    /// Why they don't.
    pub fn way_out(&self) -> Result<(), &NetworkError> {
        self.filter.way_out.as_ref().copied()
    }

    /// Whether pods that make packets by hand, for which they need the capability `NET_RAW`, are
    /// kept from the machine's loopback, but for [`Setup::loopback`], and from each other's: it
    /// takes nf_tables.
    ///
    /// # Errors
    /// Why they are not.
    pub fn guard(&self) -> Result<(), &NetworkError> {
        self.filter.guard.as_ref().copied()
    }

    /// What it was opened with.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Makes the network of a pod, kept at a file, or finds it as it should be. The folder of the
    /// file has to be there. The name is the pod's alone on this node, and as long as is liked.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn join(&self, file: &Path, name: &str, address: Ipv4Addr) -> Result<(), NetworkError> {
        self.setup.check_address(address)?;
        // Why there is no guard is told once, for all of them.
        let is_guarded = self.guard().is_ok();
        pod::join(&self.setup, file, (name, address), is_guarded)
    }

    /// Has a file keep the network of a pod again, which one of the pod's processes is in, if the file
    /// doesn't: where the service manager gives each start of the node mounts of its own, what the
    /// last one mounted is not there. To be called before [`PodNetwork::join`], which would make
    /// another network. Says whether the file keeps one now: not if the process is in the machine's
    /// network.
    ///
    /// # Errors
    /// See [`NetworkError`]: the process has ended, say.
    pub fn find_again(&self, file: &Path, process: u32) -> Result<bool, NetworkError> {
        pod::find_again(file, process)
    }

    /// Sets the routes to the pods of other nodes: their ranges, and the addresses of their
    /// machines. Those that were set before and are not among them are taken away. A machine's own
    /// address is fine: its other nodes' bridges are reached without a route.
    ///
    /// To be called now and then, too: what is there is left alone, and what somebody took away,
    /// as systemd-networkd does with routes that it doesn't know (`ManageForeignRoutes=`), is set
    /// again. So is forwarding, where another interface leads out of the machine now.
    ///
    /// The answer has what could not be set, and why: machines that are not neighbours, above all,
    /// since those between would have to know of pods, too.
    ///
    /// # Errors
    /// See [`NetworkError`]: nothing could be set.
    pub fn route(
        &self,
        others: &[(Ipv4Net, Ipv4Addr)],
    ) -> Result<Vec<(Ipv4Net, NetworkError)>, NetworkError> {
        routes::set(&self.setup, others)
    }
}

/// Ends the network of a pod in the bridge of that name; fine if it is not there. Programs that
/// are still in it are cut off.
///
/// # Errors
/// See [`NetworkError`].
pub fn leave(bridge: &str, file: &Path, name: &str) -> Result<(), NetworkError> {
    pod::leave(bridge, file, name)
}

/// Removes the bridge of that name, its node's routes to others and its packet filter, if no pod is
/// there. Says whether they are gone.
///
/// # Errors
/// See [`NetworkError`].
pub fn close_if_unused(bridge: &str) -> Result<bool, NetworkError> {
    bridge::remove_if_unused(bridge)
}
