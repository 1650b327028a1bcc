//! Network namespaces for nodes, joined by a bridge, so that a link can be cut without either
//! end being told: a port taken from its bridge keeps its carrier, and what is sent through it
//! is dropped. What one node sends to one other is lost by itself where it believes that the
//! other has a hardware address that nobody has.

use std::{
    fs::{self, File},
    io,
    net::Ipv4Addr,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
    process::{self, Command},
    sync::atomic::{AtomicU8, Ordering},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{
    command::Place,
    node::{Error, os, run},
};

/// Where `ip netns` keeps namespaces.
const NAMESPACES: &str = "/var/run/netns";

/// Networks of one process differ.
static NETWORKS: AtomicU8 = AtomicU8::new(0);

/// 198.18.0.0/15 is set aside for measurements of networks (RFC 2544).
const NETWORK: [u8; 2] = [198, 18];
const PREFIX_BITS: u8 = 24;
/// Administered locally, and nobody's.
const NOBODYS_LINK_ADDRESS: &str = "02:00:00:00:00:01";

/// Namespaces and their bridge; removed when dropped.
#[derive(Debug)]
pub struct Network {
    /// What its names hold that no other one's do.
    id: String,
    bridge: String,
    ports: Vec<Port>,
    /// The third byte of its addresses.
    number: u8,
}

#[derive(Debug)]
struct Port {
    namespace: String,
    /// The end of the link that is outside.
    link: String,
}

impl Network {
    /// Makes as many namespaces. Needs root, and `ip`.
    ///
    /// # Errors
    /// They can't be made.
    ///
    /// # Panics
    /// There are too many nodes for the addresses.
    pub fn new(count: usize) -> Result<Self, Error> {
        let what = "make network namespaces";
        let owner = fs::metadata("/proc/self").map_err(os(what))?;
        if owner.uid() != 0 {
            let source = io::Error::new(io::ErrorKind::PermissionDenied, "that needs root");
            return Err(os(what)(source));
        }
        // Short enough for the name of an interface, which has 15 bytes at most.
        let (process, own) = (process::id(), NETWORKS.fetch_add(1, Ordering::Relaxed));
        let id = format!("{process}{}", char::from(b'a' + own % 26));
        let mut network = Self {
            bridge: format!("atb{id}"),
            id,
            ports: Vec::new(),
            number: (process.wrapping_add(own.into()) % 250) as u8,
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

    fn add(&mut self, index: usize) -> Result<(), Error> {
        let id = &self.id;
        let port = Port {
            namespace: format!("atoll-{id}-{index}"),
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
    pub fn places(&self) -> Vec<Place> {
        let ports = self.ports.iter().enumerate();
        let place = |(index, port): (usize, &Port)| Place {
            host: self.address(index + 1),
            namespace: Some(port.namespace.clone()),
        };
        ports.map(place).collect()
    }

    /// From now on nothing gets to this node or away from it.
    ///
    /// # Errors
    /// The link can't be cut.
    pub fn cut(&self, index: usize) -> Result<(), Error> {
        ip(&format!("link set {} nomaster", self.ports[index].link))
    }

    /// From now on nothing that a node sends to another one gets there. The other way around
    /// nothing changes, nor does it for anybody else.
    ///
    /// # Errors
    /// The link can't be cut.
    pub fn lose(&self, from: usize, to: usize) -> Result<(), Error> {
        let (namespace, to) = (&self.ports[from].namespace, self.address(to + 1));
        ip(&format!(
            "-n {namespace} neigh replace {to} lladdr {NOBODYS_LINK_ADDRESS} dev eth0 nud permanent"
        ))
    }

    /// What a node sends to another one gets there again.
    ///
    /// # Errors
    /// It can't be mended.
    pub fn restore(&self, from: usize, to: usize) -> Result<(), Error> {
        let (namespace, to) = (&self.ports[from].namespace, self.address(to + 1));
        ip(&format!("-n {namespace} neigh del {to} dev eth0"))
    }

    /// Does something as a process next to the node would: a socket that is made by it belongs to
    /// the node's namespace, and goes on to wherever it is taken.
    ///
    /// # Errors
    /// The namespace can't be entered.
    ///
    /// # Panics
    /// When what is done panics.
    pub fn beside<T: Send>(
        &self,
        index: usize,
        act: impl FnOnce() -> T + Send,
    ) -> Result<T, Error> {
        let path = Path::new(NAMESPACES).join(&self.ports[index].namespace);
        let enter = || -> io::Result<()> {
            let namespace = File::open(&path)?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(())
        };
        // A namespace is a thread's own; this one ends there.
        let acted = thread::scope(|scope| {
            let thread = scope.spawn(|| enter().map(|()| act()));
            thread.join()
        });
        match acted {
            Ok(acted) => acted.map_err(os("enter a network namespace")),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// The link is as it was.
    ///
    /// # Errors
    /// It can't be mended.
    pub fn mend(&self, index: usize) -> Result<(), Error> {
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
                eprintln!("{line}: {error}");
            }
        }
    }
}

fn ip(line: &str) -> Result<(), Error> {
    run(Command::new("ip").args(line.split(' ')))?;
    Ok(())
}
