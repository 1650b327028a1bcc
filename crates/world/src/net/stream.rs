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
        delegate!(self, io => io.poll_write_vectored(cx, bufs))
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
