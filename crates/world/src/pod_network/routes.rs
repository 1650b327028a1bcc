//! Routes to the pods of other nodes, and forwarding where they lead.

use std::{collections::BTreeSet, io, net::Ipv4Addr};

use ipnet::Ipv4Net;
use netlink_packet_route::route::RouteProtocol;
use rustix::io::Errno;

use super::{
    NetworkError, Setup,
    kernel::{Kernel, Link, MAIN_TABLE, Route},
    settings,
};

/// By this the routes that Atoll has set are known: a number that nobody else has
/// (linux/rtnetlink.h, `rt_protos` of iproute2).
const PROTOCOL: RouteProtocol = RouteProtocol::Other(97);
/// Routes of an operator, who gives them lower metrics, win over ours.
const METRIC_MIN: u32 = 1 << 16;
/// That of Ethernet, in bytes.
const MTU_MAX: u32 = 1_500;
/// What every link takes that has IPv4 (RFC 791, section 3.1), in bytes.
const MTU_MIN: u32 = 576;

/// Whether a route was set by a node of this machine.
pub(super) fn is_ours(route: &Route) -> bool {
    route.protocol == PROTOCOL
}

/// By this the routes of a machine's nodes are told apart: each has routes of its own to all.
fn metric(bridge: &str) -> u32 {
    METRIC_MIN | crc32c::crc32c(bridge.as_bytes()) >> 1
}

/// Sets routes, and takes away the others; what could not be set.
pub(super) fn set(
    setup: &Setup,
    others: &[(Ipv4Net, Ipv4Addr)],
) -> Result<Vec<(Ipv4Net, NetworkError)>, NetworkError> {
    let mut kernel = Kernel::open()?;
    let own: BTreeSet<Ipv4Addr> = kernel.addresses()?.iter().map(|it| it.net.addr()).collect();
    let before = routes(&mut kernel, &setup.bridge)?;
    let wanted = others.iter().filter(|(_, machine)| !own.contains(machine));
    let wanted: Vec<Route> = wanted
        .map(|(to, machine)| route(setup, *to, *machine))
        .collect();
    let is_wanted = |route: &&Route| wanted.iter().any(|it| it.to == route.to);
    for route in before.iter().filter(|route| !is_wanted(route)) {
        remove(&mut kernel, route)?;
    }
    let mut failed = Vec::new();
    for route in wanted {
        let stays = |it: &Route| (it.to, it.via) == (route.to, route.via);
        if before.iter().any(stays) {
            continue;
        }
        if let Err(error) = set_one(&mut kernel, setup, &route) {
            failed.push((route.to, error));
            // Where it led before is no way any more.
            if let Some(old) = before.iter().find(|it| it.to == route.to) {
                remove(&mut kernel, old)?;
            }
        }
    }
    forward_from_outside(&mut kernel)?;
    Ok(failed)
}

/// Takes all routes away that the node of a bridge has set.
pub(super) fn remove_all(kernel: &mut Kernel, bridge: &str) -> Result<(), NetworkError> {
    let routes = routes(kernel, bridge)?;
    routes.iter().try_for_each(|route| remove(kernel, route))
}

/// Switches forwarding on where packets for pods come in.
pub(super) fn forward_from_outside(kernel: &mut Kernel) -> Result<(), NetworkError> {
    let links = uplinks(kernel)?;
    let mut names = links.iter().map(|link| &link.name);
    names.try_for_each(|name| settings::set_ipv4(name, "forwarding", "1"))
}

/// How long packets of pods can be: no longer than any way out of the machine takes them. Who is
/// outside and sends longer ones might never be told, since those that would tell are often not
/// let through.
pub(super) fn mtu(kernel: &mut Kernel) -> Result<u32, NetworkError> {
    let links = uplinks(kernel)?;
    let least = links.iter().map(|link| link.mtu).min();
    Ok(least.map_or(MTU_MAX, |mtu| mtu.clamp(MTU_MIN, MTU_MAX)))
}

/// The interfaces that lead to default gateways and to other nodes.
fn uplinks(kernel: &mut Kernel) -> Result<Vec<Link>, NetworkError> {
    let routes = kernel.routes()?.into_iter();
    let routes = routes.filter(|route| route.to.prefix_len() == 0 || is_ours(route));
    let indices: BTreeSet<u32> = routes.filter_map(|route| route.index).collect();
    let mut links = kernel.links()?;
    links.retain(|link| indices.contains(&link.index));
    Ok(links)
}

/// The routes that this node has set.
fn routes(kernel: &mut Kernel, bridge: &str) -> Result<Vec<Route>, NetworkError> {
    let mut routes = kernel.routes()?;
    routes.retain(|route| is_ours(route) && route.metric == metric(bridge));
    Ok(routes)
}

fn route(setup: &Setup, to: Ipv4Net, machine: Ipv4Addr) -> Route {
    Route {
        table: MAIN_TABLE,
        to: to.trunc(),
        via: Some(machine),
        index: None,
        protocol: PROTOCOL,
        metric: metric(&setup.bridge),
    }
}

fn set_one(kernel: &mut Kernel, setup: &Setup, route: &Route) -> Result<(), NetworkError> {
    let range = route.to;
    if range.contains(&setup.range.network()) || setup.range.contains(&range.network()) {
        let own = setup.range;
        return Err(NetworkError::Invalid(format!(
            "the range {range} of another node's pods overlaps this node's, {own}"
        )));
    }
    let Err(error) = kernel.set_route(route) else {
        return Ok(());
    };
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match (errno, route.via) {
        (Some(Errno::NETUNREACH | Errno::HOSTUNREACH), Some(machine)) => {
            Err(NetworkError::NotDirect { range, machine })
        }
        _ => Err(NetworkError::system(format!("set the route to {range}"))(
            error,
        )),
    }
}

fn remove(kernel: &mut Kernel, route: &Route) -> Result<(), NetworkError> {
    let is_gone = |error: &io::Error| error.raw_os_error() == Some(Errno::SRCH.raw_os_error());
    match kernel.remove_route(route) {
        Err(error) if !is_gone(&error) => {
            let to = route.to;
            Err(NetworkError::system(format!("remove the route to {to}"))(
                error,
            ))
        }
        _ => Ok(()),
    }
}
