//! The network of one pod: its namespace, and the pair that leads there.

use std::{fs::File, net::Ipv4Addr, os::fd::AsFd as _, path::Path};

use ipnet::Ipv4Net;
use netlink_packet_route::{link::InfoKind, route::RouteProtocol};
use sha2::{Digest as _, Sha256};

use super::{
    NetworkError, Setup, bridge, filter,
    kernel::{Address, Kernel, LOCAL_TABLE, Link, MAIN_TABLE, Route},
    namespace, routes, settings,
};

/// What its interface is called inside.
const INSIDE: &str = "eth0";
/// The names of the ends in the bridge begin so.
const PREFIX: &str = "veth";

/// The hardware address that goes with an address, as the CNI plugins have it: what neighbours
/// remember stays true when a pod comes back. And since it is said when the interface is made, no
/// one's rule gives it another one.
pub(super) fn hardware_address(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// The name of a pod's end in the bridge: it tells pods of all of a machine's nodes apart, however
/// long theirs are.
pub(super) fn pair_name(bridge: &str, name: &str) -> String {
    let digest = Sha256::digest(format!("{bridge}/{name}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let length = super::INTERFACE_NAME_BYTES_MAX - PREFIX.len();
    format!("{PREFIX}{}", &hex[..length])
}

/// What a pod's interface is to be like.
struct Wanted {
    address: Ipv4Net,
    mtu: u32,
    is_guarded: bool,
}

/// Makes a pod's network, or finds it as it should be; with a guard before its loopback, or
/// without.
pub(super) fn join(
    setup: &Setup,
    file: &Path,
    (name, address): (&str, Ipv4Addr),
    is_guarded: bool,
) -> Result<(), NetworkError> {
    let mut machine = Kernel::open()?;
    let bridge = bridge::require(&mut machine, setup)?;
    let namespace = keep_namespace(file)?;
    let address = Ipv4Net::new_assert(address, setup.range.prefix_len());
    let pair = pair_name(&setup.bridge, name);

    let inside = within(&namespace, file, || prepare(address))?;
    let outside = machine.link(&pair)?;
    if !is_whole(inside.as_ref(), outside.as_ref(), &bridge) {
        if let Some(link) = &outside {
            machine.remove_link(link)?;
        }
        within(&namespace, file, remove_inside)?;
        let hardware = hardware_address(address.addr());
        let other = (INSIDE, namespace.as_fd());
        machine.add_pair((&pair, bridge.index), other, hardware)?;
    }
    let outside = machine.link(&pair)?.ok_or_else(|| gone(&pair))?;
    let mtu = routes::mtu(&mut machine)?;
    settings::disable_ipv6(&pair)?;
    machine.set_mtu(&outside, mtu)?;
    machine.set_up(&outside)?;
    let wanted = Wanted {
        address,
        mtu,
        is_guarded,
    };
    within(&namespace, file, || configure(setup, &wanted))
}

/// Has a file keep the network that a process is in; whether it keeps one.
pub(super) fn find_again(file: &Path, process: u32) -> Result<bool, NetworkError> {
    let found = namespace::open(file).map_err(NetworkError::file("look at", file))?;
    if found.is_some() {
        return Ok(true);
    }
    let kept = namespace::keep(file, process);
    let operation = format!("keep the network of the process {process} at");
    kept.map_err(NetworkError::file(&operation, file))
}

/// Ends a pod's network.
pub(super) fn leave(bridge: &str, file: &Path, name: &str) -> Result<(), NetworkError> {
    let mut machine = Kernel::open()?;
    if let Some(link) = machine.link(&pair_name(bridge, name))? {
        machine.remove_link(&link)?;
    }
    namespace::remove(file).map_err(NetworkError::file("remove the network namespace", file))
}

fn keep_namespace(file: &Path) -> Result<File, NetworkError> {
    let found = namespace::open(file).map_err(NetworkError::file("look at", file))?;
    match found {
        Some(namespace) => Ok(namespace),
        None => {
            namespace::make(file).map_err(NetworkError::file("make the network namespace", file))
        }
    }
}

fn within<T: Send>(
    namespace: &File,
    file: &Path,
    work: impl FnOnce() -> Result<T, NetworkError> + Send,
) -> Result<T, NetworkError> {
    let entered = namespace::within(namespace, work);
    entered.map_err(NetworkError::file("enter the network namespace", file))?
}

fn gone(name: &str) -> NetworkError {
    NetworkError::Invalid(format!("the interface {name} was removed by somebody"))
}

/// Whether two ends are one pair, in its bridge.
fn is_whole(inside: Option<&Link>, outside: Option<&Link>, bridge: &Link) -> bool {
    let (Some(inside), Some(outside)) = (inside, outside) else {
        return false;
    };
    let are_pair = inside.peer == Some(outside.index) && outside.peer == Some(inside.index);
    are_pair && outside.kind == Some(InfoKind::Veth) && outside.bridge == Some(bridge.index)
}

/// In the namespace: readies it for its interface, before it would get addresses of IPv6, and
/// looks whether that is there with its address.
fn prepare(address: Ipv4Net) -> Result<Option<Link>, NetworkError> {
    // Nothing is to wait for addresses that lead nowhere. Its loopback keeps `::1`, on which
    // programs listen that mean `localhost`.
    settings::disable_ipv6("default")?;
    let mut kernel = Kernel::open()?;
    if let Some(loopback) = kernel.link("lo")? {
        kernel.set_up(&loopback)?;
    }
    let Some(link) = kernel.link(INSIDE)? else {
        return Ok(None);
    };
    let mut nets = kernel.addresses()?;
    nets.retain(|found| found.index == link.index);
    let is_it = |found: &Address| found.net == address;
    Ok(Some(link).filter(|_| nets.iter().all(is_it)))
}

/// In the namespace: removes what is in the way.
fn remove_inside() -> Result<(), NetworkError> {
    let mut kernel = Kernel::open()?;
    match kernel.link(INSIDE)? {
        Some(link) => kernel.remove_link(&link),
        None => Ok(()),
    }
}

/// In the namespace: gives its interface its address and routes.
fn configure(setup: &Setup, wanted: &Wanted) -> Result<(), NetworkError> {
    let mut kernel = Kernel::open()?;
    let link = kernel.link(INSIDE)?.ok_or_else(|| gone(INSIDE))?;
    if wanted.is_guarded {
        filter::guard_pod(setup, INSIDE)?;
    }
    // What comes back from addresses of loopback.
    settings::set_ipv4(INSIDE, "route_localnet", "1")?;
    let index = link.index;
    kernel.add_address(Address {
        index,
        net: wanted.address,
    })?;
    kernel.set_mtu(&link, wanted.mtu)?;
    kernel.set_up(&link)?;
    let route = |to: Ipv4Net, table: u8| Route {
        table,
        to,
        via: Some(setup.gateway()),
        index: Some(index),
        protocol: RouteProtocol::Static,
        metric: 0,
    };
    let everywhere = route(Ipv4Net::default(), MAIN_TABLE);
    // In the table that has all of loopback, where the longer prefix counts.
    let loopback = setup.loopback.iter().map(|to| route(*to, LOCAL_TABLE));
    for route in loopback.chain([everywhere]) {
        let set = kernel.set_route(&route);
        set.map_err(NetworkError::system(format!(
            "set the route to {}",
            route.to
        )))?;
    }
    Ok(())
}
