//! Network namespaces for nodes, joined by a bridge, so that a link can be cut without either
//! end being told: a port taken from its bridge keeps its carrier, and what is sent through it
//! is dropped.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::MetadataExt as _,
    process::{self, Command},
};

use atoll_e2e::{command::Place, node::run};

use crate::error::{Error, Result};

/// 198.18.0.0/15 is set aside for measurements of networks (RFC 2544).
const NETWORK: [u8; 2] = [198, 18];
const PREFIX_BITS: u8 = 24;

/// Namespaces and their bridge; removed when dropped.
pub(super) struct Network {
    bridge: String,
    ports: Vec<Port>,
    /// The third byte of its addresses.
    number: u8,
}

struct Port {
    namespace: String,
    /// The end of the link that is outside.
    link: String,
}

impl Network {
    /// Makes as many namespaces. Needs root.
    pub(super) fn new(count: usize) -> Result<Self> {
        let owner = fs::metadata("/proc/self").map_err(Error::io("ask who we are"))?;
        if owner.uid() != 0 {
            return Err(Error::Options(
                "a cut link needs network namespaces, and those need root; leave `cut` out of \
                 --faults otherwise"
                    .to_owned(),
            ));
        }
        // Short enough for the name of an interface, which has 15 bytes at most.
        let id = process::id();
        let mut network = Self {
            bridge: format!("atb{id}"),
            ports: Vec::new(),
            number: (id % 250) as u8,
        };
        let outside = format!("{}/{PREFIX_BITS}", network.address(0));
        ip(&format!("link add {} type bridge", network.bridge))?;
        ip(&format!("address add {outside} dev {}", network.bridge))?;
        ip(&format!("link set {} up", network.bridge))?;
        for index in 0..count {
            network.add(index)?;
        }
        Ok(network)
    }

    fn add(&mut self, index: usize) -> Result<()> {
        let id = process::id();
        let port = Port {
            namespace: format!("atoll-bench-{id}-{index}"),
            link: format!("atv{id}x{index}"),
        };
        let address = format!("{}/{PREFIX_BITS}", self.address(index + 1));
        let (namespace, link) = (&port.namespace, &port.link);
        ip(&format!("netns add {namespace}"))?;
        let bridge = &self.bridge;
        let made = [
            format!("link add {link} type veth peer name eth0 netns {namespace}"),
            format!("link set {link} master {bridge}"),
            format!("link set {link} up"),
            format!("-n {namespace} address add {address} dev eth0"),
            format!("-n {namespace} link set eth0 up"),
            format!("-n {namespace} link set lo up"),
        ]
        .iter()
        .try_for_each(|line| ip(line));
        // Also what is half made has to go.
        self.ports.push(port);
        made
    }

    fn address(&self, index: usize) -> Ipv4Addr {
        let host = u8::try_from(index + 1).expect("few nodes");
        Ipv4Addr::new(NETWORK[0], NETWORK[1], self.number, host)
    }

    /// Where the nodes run.
    pub(super) fn places(&self) -> Vec<Place> {
        let ports = self.ports.iter().enumerate();
        let place = |(index, port): (usize, &Port)| Place {
            host: self.address(index + 1),
            namespace: Some(port.namespace.clone()),
        };
        ports.map(place).collect()
    }

    /// From now on nothing gets to this node or away from it.
    pub(super) fn cut(&self, index: usize) -> Result<()> {
        ip(&format!("link set {} nomaster", self.ports[index].link))
    }

    /// The link is as it was.
    pub(super) fn mend(&self, index: usize) -> Result<()> {
        let link = &self.ports[index].link;
        ip(&format!("link set {link} master {}", self.bridge))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Links first: the kernel takes its time over a namespace and what is in it. What can't be
        // removed is named, for a person to remove.
        let mut lines: Vec<String> = Vec::new();
        for port in &self.ports {
            lines.push(format!("link del {}", port.link));
            lines.push(format!("netns del {}", port.namespace));
        }
        lines.push(format!("link del {}", self.bridge));
        for line in lines {
            if let Err(error) = ip(&line) {
                eprintln!("bench: {error}");
            }
        }
    }
}

fn ip(line: &str) -> Result<()> {
    run(Command::new("ip").args(line.split(' ')))?;
    Ok(())
}
