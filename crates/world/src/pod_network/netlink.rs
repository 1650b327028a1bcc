//! Asking the kernel over netlink(7), and waiting for its answer.
//!
//! A socket belongs to the network namespace of the thread that opened it, and stays there
//! whichever thread uses it.

use std::{io, os::fd::OwnedFd, time::Duration};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, socket_with, sockopt,
};

/// More than the kernel puts into one datagram (32 KiB; netlink(7) of the kernel's documentation).
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// An answer has no more datagrams. A route takes about 60 bytes of one.
const DATAGRAMS_MAX: usize = 4_096;
/// The kernel answers at once; nothing waits longer than that, whatever happens.
const ANSWER_MS_MAX: u64 = 10_000;
/// What changes while it is listed is listed again, so many times at most.
const LISTINGS_MAX: u32 = 16;

/// A socket for questions to the kernel.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// What is asked of the kernel: one message, and answers of the same kind.
pub(super) trait Message: NetlinkSerializable + NetlinkDeserializable + Clone {}

impl<T: NetlinkSerializable + NetlinkDeserializable + Clone> Message for T {}

impl Netlink {
    /// A socket in the calling thread's namespace; routes and interfaces if no protocol is named.
    pub(super) fn open(protocol: Option<Protocol>) -> io::Result<Netlink> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        let wait = Duration::from_millis(ANSWER_MS_MAX);
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(wait))?;
        Ok(Netlink {
            socket,
            sequence: 0,
        })
    }

    /// Has something done or shown; the answers that came before the kernel said that it is.
    pub(super) fn ask<M: Message>(&mut self, message: M, flags: u16) -> io::Result<Vec<M>> {
        let sequence = self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        Ok(self.answers(sequence)?.messages)
    }

    /// All that there is of something.
    pub(super) fn list<M: Message>(&mut self, message: M) -> io::Result<Vec<M>> {
        for _ in 0..LISTINGS_MAX {
            let sequence = self.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            let answers = self.answers(sequence)?;
            if !answers.is_torn {
                return Ok(answers.messages);
            }
        }
        Err(io::Error::other("it changes all the time"))
    }

    /// Has several things done at once, with the flags of each, of which the last one that asks for
    /// an acknowledgement gets it.
    pub(super) fn ask_at_once<M: Message>(&mut self, messages: Vec<(M, u16)>) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let written = messages.into_iter();
        let written = written.map(|(message, flags)| self.write(message, NLM_F_REQUEST | flags));
        self.send_bytes(&written.collect::<Vec<_>>().concat())?;
        self.answers::<M>(self.sequence)?;
        Ok(())
    }

    fn send<M: Message>(&mut self, message: M, flags: u16) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send_bytes(&self.write(message, flags))?;
        Ok(self.sequence)
    }

    fn write<M: Message>(&self, message: M, flags: u16) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        // Without an address it goes to the kernel.
        rustix::net::send(&self.socket, bytes, SendFlags::empty())?;
        Ok(())
    }

    fn answers<M: Message>(&self, sequence: u32) -> io::Result<Answers<M>> {
        let mut answers = Answers {
            messages: Vec::new(),
            is_torn: false,
        };
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        for _ in 0..DATAGRAMS_MAX {
            let received = rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::TRUNC);
            let (_, length) = received?;
            let datagram = buffer.get(..length);
            let datagram = datagram.ok_or_else(|| io::Error::other("its answer is too long"))?;
            if answers.take(datagram, sequence)? {
                return Ok(answers);
            }
        }
        Err(io::Error::other("its answer is too long"))
    }
}

struct Answers<M> {
    messages: Vec<M>,
    /// It changed while it was listed.
    is_torn: bool,
}

impl<M: Message> Answers<M> {
    /// Reads a datagram; whether the answer is whole with it.
    fn take(&mut self, mut datagram: &[u8], sequence: u32) -> io::Result<bool> {
        while !datagram.is_empty() {
            let head = NetlinkBuffer::new_checked(datagram).map_err(io::Error::other)?;
            let length = head.length() as usize;
            let is_ours = head.sequence_number() == sequence;
            if is_ours && self.take_message(datagram)? {
                return Ok(true);
            }
            // Messages begin at multiples of four bytes (NLMSG_ALIGN).
            let next = length.next_multiple_of(4);
            datagram = datagram.get(next..).unwrap_or_default();
        }
        Ok(false)
    }

    fn take_message(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let message = match NetlinkMessage::<M>::deserialize(bytes) {
            Ok(message) => message,
            // An interface of a kind that is newer than this program is no reason to know none.
            Err(error) if is_one_of_many(bytes) => {
                tracing::warn!(%error, "the kernel's description of an interface, address or route can't be read; it is passed over");
                return Ok(false);
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        self.is_torn |= message.header.flags & NLM_F_DUMP_INTR != 0;
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            NetlinkPayload::Error(_) => return Ok(true),
            NetlinkPayload::InnerMessage(message) => self.messages.push(message),
            _ => {}
        }
        Ok(false)
    }
}

/// Whether it is what was asked for, and not what the kernel says of the question
/// (`NLMSG_MIN_TYPE`).
fn is_one_of_many(bytes: &[u8]) -> bool {
    const FIRST: u16 = 0x10;
    NetlinkBuffer::new_checked(bytes).is_ok_and(|head| head.message_type() >= FIRST)
}
