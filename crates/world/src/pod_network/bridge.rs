//! The bridge of a node's pods, and whether its range is free.

use ipnet::Ipv4Net;
use netlink_packet_route::link::InfoKind;

use super::{
    NetworkError, Setup, filter,
    kernel::{Address, Kernel, Link},
    pod::hardware_address,
    routes, settings,
};

/// Makes the bridge, if its range is free, or finds it.
pub(super) fn ensure(kernel: &mut Kernel, setup: &Setup) -> Result<Link, NetworkError> {
    let found = find(kernel, &setup.bridge)?;
    remove_stale(kernel, setup)?;
    check_free(kernel, setup, found.as_ref())?;
    if let Some(link) = found {
        return Ok(link);
    }
    kernel.add_bridge(&setup.bridge, hardware_address(setup.gateway()))?;
    require(kernel, setup)
}

/// Gives the bridge its settings and its address, and lets packets pass.
pub(super) fn switch_on(
    kernel: &mut Kernel,
    setup: &Setup,
    link: &Link,
) -> Result<(), NetworkError> {
    settings::disable_ipv6(&link.name)?;
    // Nobody there says to be somewhere else: on this machine, above all.
    settings::set_ipv4(&link.name, "rp_filter", "1")?;
    settings::set_ipv4(&link.name, "route_localnet", "1")?;
    settings::set_ipv4(&link.name, "forwarding", "1")?;
    ensure_address(kernel, setup, link)?;
    kernel.set_up(link)?;
    routes::forward_from_outside(kernel)
}

/// The bridge, which has to be there.
pub(super) fn require(kernel: &mut Kernel, setup: &Setup) -> Result<Link, NetworkError> {
    let gone = || {
        NetworkError::Invalid(format!(
            "the bridge {} is gone; start the node anew",
            setup.bridge
        ))
    };
    find(kernel, &setup.bridge)?.ok_or_else(gone)
}

/// Removes the bridge if there are no pods; whether it is gone.
pub(super) fn remove_if_unused(bridge: &str) -> Result<bool, NetworkError> {
    let mut kernel = Kernel::open()?;
    match find(&mut kernel, bridge)? {
        Some(link) => remove_unused(&mut kernel, &link),
        None => Ok(true),
    }
}

fn remove_unused(kernel: &mut Kernel, link: &Link) -> Result<bool, NetworkError> {
    if count_pods(kernel, link)? > 0 {
        return Ok(false);
    }
    routes::remove_all(kernel, &link.name)?;
    kernel.remove_link(link)?;
    match filter::remove(&link.name) {
        // Without nf_tables there is nothing of it.
        Ok(()) | Err(NetworkError::Unsupported { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Removes bridges without pods that have addresses of the range: their nodes are gone, or were
/// given another range. One that is there after all makes its bridge anew when it needs it.
fn remove_stale(kernel: &mut Kernel, setup: &Setup) -> Result<(), NetworkError> {
    let addresses = kernel.addresses()?;
    let is_in_the_way = |link: &Link| {
        let mut nets = addresses.iter().filter(|it| it.index == link.index);
        nets.any(|it| overlap(it.net, setup.range))
    };
    for link in kernel.links()? {
        let is_of_a_node =
            link.kind == Some(InfoKind::Bridge) && link.name.starts_with(super::BRIDGE_PREFIX);
        if is_of_a_node && link.name != setup.bridge && is_in_the_way(&link) {
            remove_unused(kernel, &link)?;
        }
    }
    Ok(())
}

fn find(kernel: &mut Kernel, bridge: &str) -> Result<Option<Link>, NetworkError> {
    let found = kernel.link(bridge)?;
    match found {
        Some(link) if link.kind != Some(InfoKind::Bridge) => {
            Err(NetworkError::NotABridge(link.name))
        }
        found => Ok(found),
    }
}

/// Gives the bridge its address, and no other.
fn ensure_address(kernel: &mut Kernel, setup: &Setup, link: &Link) -> Result<(), NetworkError> {
    let range = setup.range;
    let wanted = Address {
        index: link.index,
        net: Ipv4Net::new_assert(setup.gateway(), range.prefix_len()),
    };
    let mut addresses = kernel.addresses()?;
    addresses.retain(|address| address.index == link.index);
    for address in addresses.iter().filter(|address| **address != wanted) {
        let pods = count_pods(kernel, link)?;
        if pods > 0 {
            return Err(NetworkError::Attached {
                bridge: link.name.clone(),
                pods,
                before: address.net.trunc(),
                range,
            });
        }
        kernel.remove_address(*address)?;
    }
    match addresses.contains(&wanted) {
        true => Ok(()),
        false => kernel.add_address(wanted),
    }
}

fn count_pods(kernel: &mut Kernel, bridge: &Link) -> Result<usize, NetworkError> {
    let links = kernel.links()?.into_iter();
    Ok(links
        .filter(|link| link.bridge == Some(bridge.index))
        .count())
}

/// Whether nobody but the bridge has addresses of the range, or leads to some.
fn check_free(
    kernel: &mut Kernel,
    setup: &Setup,
    bridge: Option<&Link>,
) -> Result<(), NetworkError> {
    let range = setup.range;
    let is_other = |index: u32| bridge.is_none_or(|bridge| bridge.index != index);
    let names = kernel.links()?;
    let name = |index: u32| {
        let link = names.iter().find(|link| link.index == index);
        link.map_or_else(|| format!("number {index}"), |link| link.name.clone())
    };
    for address in kernel.addresses()? {
        if is_other(address.index) && overlap(address.net, range) {
            let by = format!(
                "{} is an address of the interface {}",
                address.net,
                name(address.index)
            );
            return Err(NetworkError::Taken { range, by });
        }
    }
    for route in kernel.routes()? {
        let is_ours = routes::is_ours(&route) || route.to.prefix_len() == 0;
        if !is_ours && route.index.is_none_or(is_other) && overlap(route.to, range) {
            let to = route.to;
            let by = route.index.map_or_else(String::new, |index| {
                format!(" by the interface {}", name(index))
            });
            let by = format!("there is a route to {to}{by}");
            return Err(NetworkError::Taken { range, by });
        }
    }
    Ok(())
}

fn overlap(one: Ipv4Net, another: Ipv4Net) -> bool {
    one.contains(&another.network()) || another.contains(&one.network())
}
