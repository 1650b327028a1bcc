//! The network of pods: which pods have an address of their own, which one, and how machines reach
//! those of the others.
//!
//! Pods with containers of images have a network namespace each, others share their machine's. A
//! Node has a range of addresses (`spec.podCIDR`) out of the cluster's network of pods; its agent
//! gives them to its pods. Addresses are the same everywhere: nothing translates them on the way
//! from pod to pod (Kubernetes' documentation, "The Kubernetes network model").

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use serde_json::Value;

use super::{image, object};

/// How many bits of a Node's range are fixed: it has room for 253 pods.
pub const RANGE_BITS: u8 = 24;

/// The cluster's network of pods, and the ranges in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodNetwork(Ipv4Net);

impl PodNetwork {
    /// A network; none if it is too small for one range, or is not said by its first address.
    pub fn new(network: Ipv4Net) -> Option<PodNetwork> {
        let is_whole = network.trunc() == network;
        let is_unicast = !network.addr().is_multicast() && !network.addr().is_loopback();
        let has_room = (8..=RANGE_BITS).contains(&network.prefix_len());
        (is_whole && is_unicast && has_room).then_some(PodNetwork(network))
    }

    /// All of it.
    pub fn all(self) -> Ipv4Net {
        self.0
    }

    /// The ranges of Nodes.
    pub fn ranges(self) -> impl Iterator<Item = Ipv4Net> {
        // A range is no shorter than the network, which is looked at above.
        self.0.subnets(RANGE_BITS).into_iter().flatten()
    }

    /// Whether a text is one of the ranges.
    pub fn has(self, range: &str) -> bool {
        let range: Option<Ipv4Net> = range.parse().ok();
        range.is_some_and(|range| {
            range.prefix_len() == RANGE_BITS && range.trunc() == range && self.0.contains(&range)
        })
    }
}

impl Default for PodNetwork {
    fn default() -> Self {
        let first = Ipv4Addr::new(10, 244, 0, 0);
        PodNetwork(Ipv4Net::new_assert(first, 16))
    }
}

/// Whether a pod has an address of its own.
pub fn has_own(pod: &Value) -> bool {
    pod["spec"]["hostNetwork"] != true && image::is_in(pod)
}

/// The range of a Node; none if it has none yet.
pub fn range(node: &Value) -> Option<Ipv4Net> {
    node["spec"]["podCIDR"].as_str()?.parse().ok()
}

/// A free address of a range: the next one after `last` that nobody has, so that an address is not
/// another pod's soon after it was one's. The first one is the node's own.
pub fn choose(
    range: Ipv4Net,
    taken: &BTreeSet<Ipv4Addr>,
    last: Option<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let pods = || range.hosts().skip(1);
    let is_later = |address: &Ipv4Addr| last.is_none_or(|last| *address > last);
    let later = pods().filter(is_later);
    let mut in_order = later.chain(pods().filter(|address| !is_later(address)));
    in_order.find(|address| !taken.contains(address))
}

/// Where the ranges of other machines' Nodes are reached: by the address of their machine. Nodes of
/// the machine of this node's `own` are reached without; nothing is known as long as it has none.
pub fn routes<'a>(
    nodes: impl IntoIterator<Item = &'a Value>,
    own: Option<&Value>,
) -> BTreeMap<Ipv4Net, Ipv4Addr> {
    let Some(own) = own else {
        return BTreeMap::new();
    };
    let host = |node| object::label(node, "kubernetes.io/hostname");
    let others = nodes.into_iter().filter(|node| host(node) != host(own));
    others
        .filter_map(|node| {
            let addresses = object::items(&node["status"]["addresses"]);
            let mut internal = addresses.filter(|one| one["type"] == "InternalIP");
            let address: Ipv4Addr = internal.next()?["address"].as_str()?.parse().ok()?;
            (!address.is_loopback()).then_some((range(node)?, address))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn address(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_have_room_for_ranges() {
        let network = PodNetwork::new(net("10.244.0.0/16")).unwrap();
        assert_eq!(network.ranges().count(), 256);
        assert_eq!(network.ranges().nth(1), Some(net("10.244.1.0/24")));
        assert!(network.has("10.244.255.0/24"));
        for not in ["10.245.0.0/24", "10.244.1.0/25", "10.244.1.1/24", "x", ""] {
            assert!(!network.has(not), "{not}");
        }
        assert_eq!(
            PodNetwork::new(net("10.0.0.0/24"))
                .unwrap()
                .ranges()
                .count(),
            1
        );
        for not in [
            "10.0.0.0/25",
            "10.0.0.1/16",
            "127.0.0.0/16",
            "224.0.0.0/16",
            "0.0.0.0/0",
        ] {
            assert_eq!(PodNetwork::new(net(not)), None, "{not}");
        }
    }

    #[test]
    fn pods_of_images_have_a_network_of_their_own() {
        let pod = |image: &str| json!({"spec": {"containers": [{"name": "a", "image": image}]}});
        assert!(has_own(&pod("web")));
        assert!(!has_own(&pod("host")) && !has_own(&pod("")));
        let mut shares = pod("web");
        shares["spec"]["hostNetwork"] = json!(true);
        assert!(!has_own(&shares));
        let mut first = pod("");
        first["spec"]["initContainers"] = json!([{"name": "b", "image": "web"}]);
        assert!(has_own(&first));
    }

    #[test]
    fn addresses_go_round_before_they_come_again() {
        let range = net("10.1.2.0/29");
        let mut taken = BTreeSet::new();
        assert_eq!(choose(range, &taken, None), Some(address("10.1.2.2")));
        taken.insert(address("10.1.2.3"));
        let after = |taken: &_, last| choose(range, taken, Some(address(last)));
        assert_eq!(after(&taken, "10.1.2.2"), Some(address("10.1.2.4")));
        assert_eq!(after(&taken, "10.1.2.6"), Some(address("10.1.2.2")));
        // One of another range, which the node had before.
        assert_eq!(after(&taken, "10.9.9.9"), Some(address("10.1.2.2")));
        taken.extend(range.hosts());
        assert_eq!(after(&taken, "10.1.2.2"), None);
    }

    #[test]
    fn ranges_of_other_machines_are_behind_their_addresses() {
        let node = |name: &str, host: &str, range: &str, address: &str| {
            json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": host}},
                "spec": {"podCIDR": range},
                "status": {"addresses": [
                    {"type": "Hostname", "address": host}, {"type": "InternalIP", "address": address},
                ]},
            })
        };
        let nodes = [
            node("a", "one", "10.244.0.0/24", "192.168.0.1"),
            node("b", "one", "10.244.1.0/24", "192.168.0.1"),
            node("c", "two", "10.244.2.0/24", "192.168.0.2"),
            node("d", "three", "", "192.168.0.3"),
            node("e", "four", "10.244.4.0/24", "127.0.0.1"),
            node("f", "five", "10.244.5.0/24", "::1"),
        ];
        let routes = routes(&nodes, Some(&nodes[0]));
        let wanted = [(net("10.244.2.0/24"), address("192.168.0.2"))];
        assert_eq!(routes.into_iter().collect::<Vec<_>>(), wanted);
        assert!(
            super::routes(&nodes, None).is_empty(),
            "it is not known yet which machine this is"
        );
    }
}
