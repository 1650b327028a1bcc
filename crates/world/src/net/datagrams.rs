//! Datagrams (UDP): messages of their own, which come once, twice or never.

#![allow(
    clippy::disallowed_methods,
    reason = "this module is where sockets are opened"
)]

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::UdpSocket;

use super::{ACCEPT_RETRY, NetError, resolve};
use crate::clock;

/// A socket for datagrams.
#[derive(Debug)]
pub struct Datagrams {
    udp: UdpSocket,
    local: SocketAddr,
}

/// Listens for datagrams on `host:port` (port 0: any free one).
///
/// # Errors
/// What stands in the way, in words for the person who chose the address.
pub async fn listen_datagrams(address: &str) -> Result<Datagrams, NetError> {
    let resolved = resolve(address).await?;
    let bound = UdpSocket::bind(&resolved[..]).await;
    let udp = bound.map_err(|source| NetError::of_bind(address, source))?;
    Datagrams::of(udp, address)
}

/// A socket, at a port that the system draws, that hears one other side alone.
///
/// # Errors
/// `Socket`.
pub async fn datagrams_to(peer: SocketAddr) -> Result<Datagrams, NetError> {
    let failed = |source| NetError::Socket {
        address: peer.to_string(),
        source,
    };
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let udp = UdpSocket::bind(any).await.map_err(failed)?;
    udp.connect(peer).await.map_err(failed)?;
    Datagrams::of(udp, &peer.to_string())
}

impl Datagrams {
    fn of(udp: UdpSocket, address: &str) -> Result<Datagrams, NetError> {
        let local = udp.local_addr().map_err(|source| NetError::Socket {
            address: address.to_owned(),
            source,
        })?;
        Ok(Datagrams { udp, local })
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// The next datagram that was sent here by anybody: its length, and who sent it. What does not
    /// fit is cut off. What fails about single datagrams is left out.
    pub async fn receive_any(&self, into: &mut [u8]) -> (usize, SocketAddr) {
        loop {
            match self.udp.recv_from(into).await {
                Ok(received) => return received,
                // The other side of an earlier one is gone.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => {
                    tracing::debug!(listener = %self.local, %error, "cannot receive now");
                    clock::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    /// Sends to somebody.
    ///
    /// # Errors
    /// What the system says; that it was sent does not say that it arrives.
    pub async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.udp.send_to(bytes, to).await.map(|_| ())
    }

    /// The next datagram of the one other side.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        self.udp.recv(into).await
    }

    /// Sends to the one other side.
    ///
    /// # Errors
    /// What the system says.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.udp.send(bytes).await.map(|_| ())
    }
}
