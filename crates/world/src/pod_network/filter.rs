//! What the packet filter does for pods: a way out of the cluster, and guards before loopback.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{
    NetworkError, Setup,
    nftables::{Batch, Chain, Match, Verdict},
};

/// What the kernel needs for it.
const MODULES: &str = "nf_tables, nft_chain_nat and nft_masq";
/// What a pod sends first comes here (`NF_INET_PRE_ROUTING`, `NF_IP_PRI_RAW`).
const GUARD: Chain = Chain {
    name: "guard",
    kind: "filter",
    hook: 0,
    priority: -300,
};
/// What leaves comes here last (`NF_INET_POST_ROUTING`, `NF_IP_PRI_NAT_SRC`).
const WAY_OUT: Chain = Chain {
    name: "postrouting",
    kind: "nat",
    hook: 4,
    priority: 100,
};

/// What could be had of the packet filter.
#[derive(Debug)]
pub(super) struct Filter {
    /// Whether pods reach what is outside of the cluster.
    pub(super) way_out: Result<(), NetworkError>,
    /// Whether loopback is guarded.
    pub(super) guard: Result<(), NetworkError>,
}

/// Makes the table of a node, or makes it anew.
pub(super) fn ensure(setup: &Setup) -> Filter {
    let way_out = apply(
        guarded(&setup.bridge, &setup.bridge, &setup.loopback)
            .chain(WAY_OUT)
            .rule(
                WAY_OUT,
                &[
                    Match::From(setup.range),
                    Match::NotTo(setup.cluster),
                    Match::NotOutBy(&setup.bridge),
                ],
                Verdict::Masquerade,
            ),
    );
    let guard = match &way_out {
        Ok(()) => Ok(()),
        // That much an old kernel may have.
        Err(_) => apply(guarded(&setup.bridge, &setup.bridge, &setup.loopback)),
    };
    Filter { way_out, guard }
}

/// Has a pod's interface take nothing for the pod's own loopback, which its neighbours could send
/// as the machine can. In its namespace.
pub(super) fn guard_pod(setup: &Setup, interface: &str) -> Result<(), NetworkError> {
    apply(guarded(&setup.bridge, interface, &[]))
}

/// Removes the table of the node of a bridge.
pub(super) fn remove(bridge: &str) -> Result<(), NetworkError> {
    apply(Batch::remove(bridge))
}

/// A table that has an interface take packets for some addresses of loopback, and for no others:
/// the setting `route_localnet` lets all in, and who may make packets by hand could reach what
/// listens on 127.0.0.1 and trusts who comes from there.
fn guarded(table: &str, interface: &str, allowed: &[Ipv4Net]) -> Batch {
    let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    let rule = |batch: Batch, to: Ipv4Net, verdict: Verdict| {
        batch.rule(GUARD, &[Match::InBy(interface), Match::To(to)], verdict)
    };
    let batch = Batch::replace(table).chain(GUARD);
    let batch = allowed
        .iter()
        .fold(batch, |batch, net| rule(batch, *net, Verdict::Accept));
    rule(batch, loopback, Verdict::Drop)
}

fn apply(batch: Batch) -> Result<(), NetworkError> {
    let failed = NetworkError::of("make a table of the packet filter", MODULES);
    batch.apply().map_err(failed)
}
