//! The bytes to a database: counted, and by TLS where it has to be.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use atoll_world::net::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

/// Bytes that a database may send for one order. A row is held whole before it is looked at, and
/// a client's statement says how large it is.
const ANSWERS_BYTES_MAX: u64 = 16 << 20;

/// How many bytes may come yet. Clones are the same.
#[derive(Clone)]
pub(super) struct Allowance(Arc<AtomicU64>);

impl Default for Allowance {
    fn default() -> Self {
        Allowance(Arc::new(AtomicU64::new(ANSWERS_BYTES_MAX)))
    }
}

impl Allowance {
    /// Another order begins.
    pub(super) fn renew(&self) {
        self.0.store(ANSWERS_BYTES_MAX, Ordering::Relaxed);
    }

    /// Whether nothing more is taken.
    pub(super) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let left = self.0.load(Ordering::Relaxed).saturating_sub(bytes);
        self.0.store(left, Ordering::Relaxed);
        match left {
            0 => Err(io::Error::other(format!(
                "the database's answers have more than {ANSWERS_BYTES_MAX} bytes"
            ))),
            _ => Ok(()),
        }
    }
}

/// A socket of which only so much is read.
pub(super) struct Metered(Stream, Allowance);

impl Metered {
    pub(super) fn new(stream: Stream, allowance: Allowance) -> Self {
        Metered(stream, allowance)
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(context, buffer))?;
        Poll::Ready(self.1.take(buffer.filled().len() - before))
    }
}

/// Goes over to TLS when the database has agreed to.
pub(super) struct Upgrade {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

/// A connection by TLS.
pub(super) struct Tls(tokio_rustls::client::TlsStream<Metered>);

impl TlsConnect<Metered> for Upgrade {
    type Stream = Tls;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Tls>> + Send>>;

    fn connect(self, stream: Metered) -> Self::Future {
        let connecting = self.connector.connect(self.name, stream);
        Box::pin(async move { connecting.await.map(Tls) })
    }
}

impl TlsStream for Tls {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

/// What is inside does it.
macro_rules! through {
    ($trait:ident for $outer:ident: $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl $trait for $outer {
            $(fn $name(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                $($argument: $type),*
            ) -> Poll<io::Result<$answer>> {
                Pin::new(&mut self.get_mut().0).$name(context, $($argument),*)
            })*
        }
    };
}

through! { AsyncRead for Tls:
    poll_read(buffer: &mut ReadBuf<'_>) -> ();
}

through! { AsyncWrite for Tls:
    poll_write(bytes: &[u8]) -> usize;
    poll_flush() -> ();
    poll_shutdown() -> ();
}

through! { AsyncWrite for Metered:
    poll_write(bytes: &[u8]) -> usize;
    poll_flush() -> ();
    poll_shutdown() -> ();
}
