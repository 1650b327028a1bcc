//! Interfaces, addresses and routes, as the kernel is asked about them (rtnetlink(7)).

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use ipnet::Ipv4Net;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage as Message,
    address::{AddressAttribute, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
        RouteType,
    },
};
use rustix::io::Errno;

use super::{NetworkError, netlink::Netlink};

/// The table of routes that are set by hand or by such as we are (rtnetlink(7)).
pub(super) const MAIN_TABLE: u8 = RouteHeader::RT_TABLE_MAIN;
/// The table of this machine's own addresses, which is looked at before all others.
pub(super) const LOCAL_TABLE: u8 = 255;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Its number in its namespace.
    pub(super) index: u32,
    /// What it is called.
    pub(super) name: String,
    /// The bridge that it is in.
    pub(super) bridge: Option<u32>,
    /// The number of the other end, of a pair, in that one's namespace.
    pub(super) peer: Option<u32>,
    /// What it is: a bridge, one end of a pair.
    pub(super) kind: Option<InfoKind>,
    /// Whether it is switched on.
    pub(super) is_up: bool,
    /// The longest packet that it takes, in bytes.
    pub(super) mtu: u32,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// The interface.
    pub(super) index: u32,
    /// The address, and the network that it is in.
    pub(super) net: Ipv4Net,
}

/// A route to neighbours or to who passes packets on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The table that it is in.
    pub(super) table: u8,
    /// Where to.
    pub(super) to: Ipv4Net,
    /// Over whom; nobody if it is a neighbour.
    pub(super) via: Option<Ipv4Addr>,
    /// By which interface.
    pub(super) index: Option<u32>,
    /// Who has set it.
    pub(super) protocol: RouteProtocol,
    /// Of several to the same place, that with the lowest counts.
    pub(super) metric: u32,
}

/// The kernel, as one network namespace has it.
pub(super) struct Kernel(Netlink);

impl Kernel {
    /// That of the calling thread's namespace.
    pub(super) fn open() -> Result<Kernel, NetworkError> {
        let opened = Netlink::open(None);
        opened
            .map(Kernel)
            .map_err(NetworkError::system("ask the kernel about interfaces"))
    }

    /// An interface by its name.
    pub(super) fn link(&mut self, name: &str) -> Result<Option<Link>, NetworkError> {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
        match self.0.ask(Message::GetLink(message), 0) {
            Ok(answers) => Ok(answers.into_iter().find_map(read_link)),
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) => Err(NetworkError::system(format!(
                "look at the interface {name}"
            ))(error)),
        }
    }

    /// All interfaces.
    pub(super) fn links(&mut self) -> Result<Vec<Link>, NetworkError> {
        let listed = self.0.list(Message::GetLink(LinkMessage::default()));
        let listed = listed.map_err(NetworkError::system("list interfaces"))?;
        Ok(listed.into_iter().filter_map(read_link).collect())
    }

    /// Makes a bridge with a hardware address that it keeps: otherwise it had that of one of its
    /// ports, and changed it with them.
    pub(super) fn add_bridge(&mut self, name: &str, hardware: [u8; 6]) -> Result<(), NetworkError> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(hardware.to_vec()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        let made = self
            .0
            .ask(Message::NewLink(message), NLM_F_CREATE | NLM_F_EXCL);
        let failed = NetworkError::of(format!("make the bridge {name}"), "bridge");
        made.map(drop).map_err(failed)
    }

    /// Makes a pair: one end in a bridge here, the other, with a hardware address, in another
    /// namespace.
    pub(super) fn add_pair(
        &mut self,
        (name, bridge): (&str, u32),
        (other, namespace): (&str, BorrowedFd<'_>),
        hardware: [u8; 6],
    ) -> Result<(), NetworkError> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(other.to_owned()),
            LinkAttribute::Address(hardware.to_vec()),
            LinkAttribute::NetNsFd(namespace.as_raw_fd()),
        ];
        let mut message = LinkMessage::default();
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Controller(bridge),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        let made = self
            .0
            .ask(Message::NewLink(message), NLM_F_CREATE | NLM_F_EXCL);
        let failed = NetworkError::of(format!("make the pair {name}"), "veth");
        made.map(drop).map_err(failed)
    }

    /// Switches an interface on.
    pub(super) fn set_up(&mut self, link: &Link) -> Result<(), NetworkError> {
        if link.is_up {
            return Ok(());
        }
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        let done = self.0.ask(Message::SetLink(message), 0);
        let failed = NetworkError::system(format!("switch {} on", link.name));
        done.map(drop).map_err(failed)
    }

    /// Says how long packets can be at an interface, in bytes.
    pub(super) fn set_mtu(&mut self, link: &Link, mtu: u32) -> Result<(), NetworkError> {
        if link.mtu == mtu {
            return Ok(());
        }
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.attributes = vec![LinkAttribute::Mtu(mtu)];
        let done = self.0.ask(Message::SetLink(message), 0);
        let failed = NetworkError::system(format!("set the MTU of {} to {mtu}", link.name));
        done.map(drop).map_err(failed)
    }

    /// Removes an interface; fine if it is not there.
    pub(super) fn remove_link(&mut self, link: &Link) -> Result<(), NetworkError> {
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        match self.0.ask(Message::DelLink(message), 0) {
            Err(error) if error.raw_os_error() != Some(Errno::NODEV.raw_os_error()) => {
                Err(NetworkError::system(format!("remove {}", link.name))(error))
            }
            _ => Ok(()),
        }
    }

    /// All addresses.
    pub(super) fn addresses(&mut self) -> Result<Vec<Address>, NetworkError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let listed = self.0.list(Message::GetAddress(message));
        let listed = listed.map_err(NetworkError::system("list addresses"))?;
        Ok(listed.into_iter().filter_map(read_address).collect())
    }

    /// Gives an interface an address, and so a route to the network that it is in.
    pub(super) fn add_address(&mut self, address: Address) -> Result<(), NetworkError> {
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        let done = self
            .0
            .ask(Message::NewAddress(write_address(address)), flags);
        let failed = NetworkError::system(format!("set the address {}", address.net));
        done.map(drop).map_err(failed)
    }

    /// Takes an address from an interface.
    pub(super) fn remove_address(&mut self, address: Address) -> Result<(), NetworkError> {
        let done = self.0.ask(Message::DelAddress(write_address(address)), 0);
        let failed = NetworkError::system(format!("remove the address {}", address.net));
        done.map(drop).map_err(failed)
    }

    /// All routes of the main table that lead somewhere.
    pub(super) fn routes(&mut self) -> Result<Vec<Route>, NetworkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        let listed = self.0.list(Message::GetRoute(message));
        let listed = listed.map_err(NetworkError::system("list routes"))?;
        Ok(listed.into_iter().filter_map(read_route).collect())
    }

    /// Sets a route, in place of one to the same network with the same metric.
    ///
    /// # Errors
    /// What the kernel said.
    pub(super) fn set_route(&mut self, route: &Route) -> io::Result<()> {
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.0.ask(Message::NewRoute(write_route(route)), flags)?;
        Ok(())
    }

    /// Takes a route away.
    ///
    /// # Errors
    /// What the kernel said.
    pub(super) fn remove_route(&mut self, route: &Route) -> io::Result<()> {
        self.0.ask(Message::DelRoute(write_route(route)), 0)?;
        Ok(())
    }
}

fn read_link(message: Message) -> Option<Link> {
    let Message::NewLink(message) = message else {
        return None;
    };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        bridge: None,
        peer: None,
        kind: None,
        is_up: message.header.flags.contains(LinkFlags::Up),
        mtu: 0,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Controller(index) => link.bridge = Some(index),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Link(index) => link.peer = Some(index),
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.into_iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Some(link)
}

fn read_address(message: Message) -> Option<Address> {
    let Message::NewAddress(message) = message else {
        return None;
    };
    let local = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        });
    Some(Address {
        index: message.header.index,
        net: Ipv4Net::new(local?, message.header.prefix_len).ok()?,
    })
}

fn write_address(address: Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = address.net.prefix_len();
    message.header.index = address.index;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(address.net.addr())),
        AddressAttribute::Address(IpAddr::V4(address.net.addr())),
        AddressAttribute::Broadcast(address.net.broadcast()),
    ];
    message
}

fn read_route(message: Message) -> Option<Route> {
    let Message::NewRoute(message) = message else {
        return None;
    };
    let header = &message.header;
    if header.table != MAIN_TABLE || header.kind != RouteType::Unicast {
        return None;
    }
    let mut to = Ipv4Addr::UNSPECIFIED;
    let (mut via, mut index, mut metric) = (None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => via = Some(*address),
            RouteAttribute::Oif(number) => index = Some(*number),
            RouteAttribute::Priority(number) => metric = *number,
            // Of several ways, the first one stands for all.
            RouteAttribute::MultiPath(hops) => {
                index = hops.first().map(|hop| hop.interface_index);
            }
            _ => {}
        }
    }
    Some(Route {
        to: Ipv4Net::new(to, header.destination_prefix_length).ok()?,
        via,
        index,
        table: header.table,
        protocol: header.protocol,
        metric,
    })
}

fn write_route(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = route.to.prefix_len();
    message.header.table = route.table;
    message.header.protocol = route.protocol;
    message.header.kind = RouteType::Unicast;
    message.header.scope = match route.via {
        Some(_) => RouteScope::Universe,
        None => RouteScope::Link,
    };
    let mut attributes = vec![RouteAttribute::Destination(route.to.network().into())];
    attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    attributes.extend(route.index.map(RouteAttribute::Oif));
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    message.attributes = attributes;
    message
}
