//! Tables of packet filters for IPv4, as the kernel takes them (linux/netfilter/nf_tables.h).
//!
//! All that belongs together goes to it as one batch (linux/netfilter/nfnetlink.h), which holds as
//! a whole or not at all: no packet sees a table that is half made.

use std::{convert::Infallible, io, net::Ipv4Addr};

use ipnet::Ipv4Net;
use netlink_packet_core::{
    DefaultNla, Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE,
    NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
};
use rustix::net::netlink;

use super::{INTERFACE_NAME_BYTES_MAX, netlink::Netlink};

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN` and its end.
const BATCH: (u16, u16) = (0x10, 0x11);
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = NEW_TABLE | 2;
const NEW_CHAIN: u16 = NEW_TABLE | 3;
const NEW_RULE: u16 = NEW_TABLE | 6;
/// `NFPROTO_IPV4`.
const IPV4: u8 = 2;
/// `struct nfgenmsg`: the family, a version, the subsystem.
const HEAD_BYTES: usize = 4;
/// `NFT_REG_1`, with room for 16 bytes, and that of verdicts.
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
/// `NFT_PAYLOAD_NETWORK_HEADER`.
const NETWORK_HEADER: u32 = 1;
/// Where the addresses are in the header of IPv4 (RFC 791, section 3.1), and how long they are.
const SOURCE_OFFSET: u32 = 12;
const DESTINATION_OFFSET: u32 = 16;
const ADDRESS_BYTES: u32 = 4;
/// `NFT_META_IIFNAME` and `NFT_META_OIFNAME`.
const IN_NAME: u32 = 6;
const OUT_NAME: u32 = 7;
/// `NFT_CMP_EQ` and `NFT_CMP_NEQ`.
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;

/// Where a chain sees packets.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    /// What it is called.
    pub(super) name: &'static str,
    /// `filter` or `nat`.
    pub(super) kind: &'static str,
    /// `NF_INET_PRE_ROUTING` and so on.
    pub(super) hook: u32,
    /// Those with a lower one are before it.
    pub(super) priority: i32,
}

/// What a packet has to be like.
pub(super) enum Match<'a> {
    /// It comes from one of these addresses.
    From(Ipv4Net),
    /// It goes to one of these.
    To(Ipv4Net),
    /// It goes to none of these.
    NotTo(Ipv4Net),
    /// It came in by this interface.
    InBy(&'a str),
    /// It does not go out by this interface.
    NotOutBy(&'a str),
}

/// What becomes of a packet.
#[derive(Clone, Copy)]
pub(super) enum Verdict {
    /// It is lost.
    Drop,
    /// It goes on.
    Accept,
    /// It goes on as if it was the machine's.
    Masquerade,
}

/// Changes to a table that are made together.
pub(super) struct Batch {
    table: String,
    messages: Vec<(Message, u16)>,
}

impl Batch {
    /// Removes a table, whether or not it is there.
    pub(super) fn remove(table: &str) -> Batch {
        let named = || Message::new(NEW_TABLE, vec![text(1, table)]);
        let mut gone = named();
        gone.kind = DELETE_TABLE;
        Batch {
            table: table.to_owned(),
            // What is not there can't be removed.
            messages: vec![(named(), NLM_F_CREATE), (gone, 0)],
        }
    }

    /// Makes a table anew.
    pub(super) fn replace(table: &str) -> Batch {
        let mut batch = Batch::remove(table);
        let made = Message::new(NEW_TABLE, vec![text(1, table)]);
        batch.messages.push((made, NLM_F_CREATE));
        batch
    }

    /// Adds a chain, through which packets go that no rule of it says something about.
    pub(super) fn chain(mut self, chain: Chain) -> Batch {
        let priority = chain.priority.to_be_bytes().to_vec();
        let hook = vec![number(1, chain.hook), DefaultNla::new(2, priority)];
        let attributes = vec![
            text(1, &self.table),
            text(3, chain.name),
            nested(4, &hook),
            text(7, chain.kind),
        ];
        let message = Message::new(NEW_CHAIN, attributes);
        self.messages.push((message, NLM_F_CREATE));
        self
    }

    /// Adds a rule to the end of a chain: what becomes of packets that are like that.
    pub(super) fn rule(mut self, chain: Chain, all: &[Match<'_>], verdict: Verdict) -> Batch {
        let mut expressions: Vec<DefaultNla> = all.iter().flat_map(expressions).collect();
        expressions.push(verdict_expression(verdict));
        let attributes = vec![
            text(1, &self.table),
            text(2, chain.name),
            nested(4, &expressions),
        ];
        let message = Message::new(NEW_RULE, attributes);
        self.messages.push((message, NLM_F_CREATE | NLM_F_APPEND));
        self
    }

    /// Has the kernel of the calling thread's namespace do it.
    ///
    /// # Errors
    /// What it said. Nothing is changed then.
    pub(super) fn apply(self) -> io::Result<()> {
        let mut messages = vec![(Message::frame(BATCH.0), 0)];
        messages.extend(self.messages);
        // The kernel says what is wrong with each; that the last one is fine tells that all are.
        if let Some((_, flags)) = messages.last_mut() {
            *flags |= NLM_F_ACK;
        }
        messages.push((Message::frame(BATCH.1), 0));
        Netlink::open(Some(netlink::NETFILTER))?.ask_at_once(messages)
    }
}

fn expressions(one: &Match<'_>) -> Vec<DefaultNla> {
    match one {
        Match::From(net) => address(SOURCE_OFFSET, *net, EQUAL),
        Match::To(net) => address(DESTINATION_OFFSET, *net, EQUAL),
        Match::NotTo(net) => address(DESTINATION_OFFSET, *net, NOT_EQUAL),
        Match::InBy(name) => interface(IN_NAME, name, EQUAL),
        Match::NotOutBy(name) => interface(OUT_NAME, name, NOT_EQUAL),
    }
}

/// Takes an address of the packet, as much of it as the prefix has, and compares that.
fn address(offset: u32, net: Ipv4Net, how: u32) -> Vec<DefaultNla> {
    let octets = |address: Ipv4Addr| address.octets().to_vec();
    let load = [
        number(1, REGISTER),
        number(2, NETWORK_HEADER),
        number(3, offset),
        number(4, ADDRESS_BYTES),
    ];
    let mask = [
        number(1, REGISTER),
        number(2, REGISTER),
        number(3, ADDRESS_BYTES),
        nested(4, &[DefaultNla::new(1, octets(net.netmask()))]),
        nested(5, &[DefaultNla::new(1, octets(Ipv4Addr::UNSPECIFIED))]),
    ];
    vec![
        expression("payload", &load),
        expression("bitwise", &mask),
        compare(octets(net.network()), how),
    ]
}

fn interface(key: u32, name: &str, how: u32) -> Vec<DefaultNla> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(INTERFACE_NAME_BYTES_MAX + 1, 0);
    let load = [number(1, REGISTER), number(2, key)];
    vec![expression("meta", &load), compare(bytes, how)]
}

fn compare(bytes: Vec<u8>, how: u32) -> DefaultNla {
    let value = nested(3, &[DefaultNla::new(1, bytes)]);
    expression("cmp", &[number(1, REGISTER), number(2, how), value])
}

fn verdict_expression(verdict: Verdict) -> DefaultNla {
    // `NF_DROP` and `NF_ACCEPT` (linux/netfilter.h).
    let code = match verdict {
        Verdict::Drop => 0,
        Verdict::Accept => 1,
        Verdict::Masquerade => return expression("masq", &[]),
    };
    let code = nested(2, &[nested(2, &[number(1, code)])]);
    expression("immediate", &[number(1, VERDICT_REGISTER), code])
}

/// One of a list (`NFTA_LIST_ELEM`): its name and its attributes.
fn expression(name: &str, attributes: &[DefaultNla]) -> DefaultNla {
    nested(1, &[text(1, name), nested(2, attributes)])
}

fn number(kind: u16, number: u32) -> DefaultNla {
    DefaultNla::new(kind, number.to_be_bytes().to_vec())
}

fn text(kind: u16, text: &str) -> DefaultNla {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    DefaultNla::new(kind, bytes)
}

fn nested(kind: u16, attributes: &[DefaultNla]) -> DefaultNla {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    DefaultNla::new(kind | NLA_F_NESTED, bytes)
}

/// A message of the packet filter.
#[derive(Clone)]
struct Message {
    kind: u16,
    family: u8,
    resource: u16,
    attributes: Vec<DefaultNla>,
}

impl Message {
    fn new(kind: u16, attributes: Vec<DefaultNla>) -> Message {
        Message {
            kind,
            family: IPV4,
            resource: 0,
            attributes,
        }
    }

    /// The beginning or the end of a batch.
    fn frame(kind: u16) -> Message {
        Message {
            kind,
            family: 0,
            resource: SUBSYSTEM,
            attributes: Vec::new(),
        }
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        HEAD_BYTES + self.attributes.as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (head, rest) = buffer.split_at_mut(HEAD_BYTES);
        let [high, low] = self.resource.to_be_bytes();
        head.copy_from_slice(&[self.family, 0, high, low]);
        self.attributes.as_slice().emit(rest);
    }
}

impl NetlinkDeserializable for Message {
    type Error = Infallible;

    /// Nothing is asked that has an answer beside yes or no.
    fn deserialize(header: &NetlinkHeader, _: &[u8]) -> Result<Self, Infallible> {
        Ok(Message::frame(header.message_type))
    }
}
