//! A connection as the rest of the house sees it: bytes, and who is at the other end.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::pki::{Facts, tls::PEER_ALPN};

/// So few bytes in several pieces are copied into one: `writev` costs more than that beside
/// `send`.
const JOINED_BYTES_MAX: usize = 1024;

/// A connection, with TLS or without.
#[derive(Debug)]
pub struct Stream {
    pub(super) kind: Kind,
    pub(super) peer: SocketAddr,
}

#[derive(Debug)]
pub(super) enum Kind {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::TlsStream<TcpStream>>),
}

impl Stream {
    /// A connection that was made in another way.
    ///
    /// # Errors
    /// It has ended, or there is no runtime to drive it.
    pub fn plain(stream: std::net::TcpStream) -> io::Result<Stream> {
        stream.set_nonblocking(true)?;
        let peer = stream.peer_addr()?;
        let kind = Kind::Plain(TcpStream::from_std(stream)?);
        Ok(Stream { kind, peer })
    }

    /// The other side's address.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer
    }

    /// Whether it is under TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.kind, Kind::Tls(_))
    }

    /// The protocol that both sides agreed on in the handshake.
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Plain(_) => None,
            Kind::Tls(tls) => tls.get_ref().1.alpn_protocol(),
        }
    }

    /// Whether it is a peer link.
    pub fn is_peer_link(&self) -> bool {
        self.alpn() == Some(PEER_ALPN)
    }

    /// The certificate that the other side showed, and which was verified.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        match &self.kind {
            Kind::Plain(_) => None,
            Kind::Tls(tls) => tls.get_ref().1.peer_certificates()?.first(),
        }
    }

    /// What that certificate says: the user of a client, the id of a node.
    pub fn peer_facts(&self) -> Option<Facts> {
        Facts::of(self.peer_certificate()?).ok()
    }

    /// The common name of that certificate: of a client, the user.
    pub fn peer_common_name(&self) -> Option<String> {
        self.peer_facts().map(|facts| facts.common_name)
    }
}

/// Copies pieces one behind the other, if there is room for all; the sum of their bytes.
fn join(pieces: &[io::IoSlice<'_>], joined: &mut [u8]) -> Option<usize> {
    let mut end = 0;
    for piece in pieces {
        joined
            .get_mut(end..end + piece.len())?
            .copy_from_slice(piece);
        end += piece.len();
    }
    Some(end)
}

macro_rules! delegate {
    ($self:ident, $io:ident => $call:expr) => {
        match &mut $self.get_mut().kind {
            Kind::Plain($io) => {
                let $io = Pin::new($io);
                $call
            }
            Kind::Tls($io) => {
                let $io = Pin::new(&mut **$io);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tcp = match &mut self.get_mut().kind {
            Kind::Plain(tcp) => Pin::new(tcp),
            Kind::Tls(tls) => return Pin::new(&mut **tls).poll_write_vectored(cx, bufs),
        };
        if let [one] = bufs {
            return tcp.poll_write(cx, one);
        }
        let mut joined = [0; JOINED_BYTES_MAX];
        match join(bufs, &mut joined) {
            Some(bytes) => tcp.poll_write(cx, &joined[..bytes]),
            None => tcp.poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Plain(tcp) => tcp.is_write_vectored(),
            Kind::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_shutdown(cx))
    }
}
