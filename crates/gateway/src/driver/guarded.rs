//! A client's connection of HTTP as the parser sees it: nothing ambiguous gets through, and
//! nobody keeps it for longer than the listener's limits allow.
//!
//! The [`Inspector`] looks at what was read before the parser does. A faulty head is cut
//! before its last byte and goes on with bytes that no parser takes, so that the answers that
//! are still owed go out first and the parser then says 400 by itself; a faulty body ends with
//! an error. One timer serves all waits for the client, and is set only when what is waited for
//! changes.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use atoll_world::clock::{self, Sleep};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{gather::Gather, stats::Stats};
use crate::core::{
    config::ListenerLimits,
    strict::{Inspector, Phase, Refusal, Upgrade},
};

#[cfg(test)]
mod tests;

/// What no parser of HTTP/1.1 takes, wherever in a head it stands, and the head's end.
const POISON: &[u8] = b"\0\r\n\r\n";

/// What the answering side of a connection tells the reading side.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Requests whose answers have not ended.
    busy: AtomicU32,
    upgrade: AtomicU8,
}

const WAITING: u8 = 0;
const DECLINED: u8 = 1;
const TUNNEL: u8 = 2;

/// A request that has not been answered to its end.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Gate>);

impl Gate {
    /// A request came.
    pub(crate) fn enter(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// The request is answered as any other; if it asked to upgrade, that is declined.
    pub(crate) fn decline_upgrade(&self) {
        self.upgrade.store(DECLINED, Ordering::Release);
    }

    /// The connection becomes a tunnel.
    pub(crate) fn open_tunnel(&self) {
        self.upgrade.store(TUNNEL, Ordering::Release);
    }

    fn ask_upgrade(&self) {
        self.upgrade.store(WAITING, Ordering::Release);
    }

    fn upgrade(&self) -> Upgrade {
        match self.upgrade.load(Ordering::Acquire) {
            TUNNEL => Upgrade::Tunnel,
            DECLINED => Upgrade::Declined,
            _ => Upgrade::Waiting,
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A guarded connection.
#[derive(Debug)]
pub(crate) struct Guarded<I> {
    io: I,
    inspector: Inspector,
    gate: Arc<Gate>,
    limits: ListenerLimits,
    stats: Arc<Stats>,
    end: Option<End>,
    /// What the timer runs for; `None`: not set.
    awaited: Phase,
    timer: Pin<Box<Sleep>>,
    has_moved: bool,
    stall: Option<Pin<Box<Sleep>>>,
    gather: Gather,
}

/// What the parser still gets to read.
#[derive(Debug)]
enum End {
    /// These bytes, and then the end.
    Poison(&'static [u8]),
    /// An error.
    Error,
}

impl<I> Guarded<I> {
    /// `is_http2`: HTTP/2 was agreed on, and nothing else is let through.
    pub(crate) fn new(
        io: I,
        gate: Arc<Gate>,
        limits: &ListenerLimits,
        stats: Arc<Stats>,
        is_http2: bool,
    ) -> Self {
        let inspector = match is_http2 {
            true => Inspector::http2(),
            false => Inspector::new(limits.head_bytes_max),
        };
        Guarded {
            io,
            inspector,
            gate,
            limits: limits.clone(),
            stats,
            end: None,
            // The first head has to come in time.
            awaited: Phase::Head,
            timer: Box::pin(clock::sleep(Duration::from_millis(limits.head_ms))),
            has_moved: false,
            stall: None,
            gather: Gather::new(is_http2),
        }
    }

    fn limit(&self, phase: Phase) -> Duration {
        Duration::from_millis(match phase {
            Phase::Head => self.limits.head_ms,
            Phase::Body => self.limits.body_idle_ms,
            Phase::Between | Phase::Opaque => self.limits.keep_alive_ms,
        })
    }

    /// Nothing has come. How that ends, if it has lasted for too long.
    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let phase = self.inspector.phase();
        if phase == Phase::Opaque {
            // HTTP/2 pings by itself; a tunnel is limited at its other side.
            return Poll::Pending;
        }
        if phase != self.awaited {
            self.awaited = phase;
            self.has_moved = false;
            let limit = self.limit(phase);
            self.timer.as_mut().reset(clock::now() + limit);
        }
        while self.timer.as_mut().poll(context).is_ready() {
            let is_busy = self.gate.busy.load(Ordering::Relaxed) > 0;
            let goes_on = match phase {
                Phase::Between => is_busy || std::mem::take(&mut self.has_moved),
                Phase::Body => std::mem::take(&mut self.has_moved),
                Phase::Head | Phase::Opaque => false,
            };
            if !goes_on {
                // Between requests a connection just ends.
                let end = match phase {
                    Phase::Between => Ok(()),
                    _ => Err(io::ErrorKind::TimedOut.into()),
                };
                return Poll::Ready(end);
            }
            let limit = self.limit(phase);
            self.timer.as_mut().reset(clock::now() + limit);
        }
        Poll::Pending
    }

    fn refuse(&mut self, refusal: Refusal) {
        tracing::debug!(fault = %refusal.fault, "a request is refused");
        self.stats.malformed.add_one();
        self.end = Some(if refusal.is_head {
            End::Poison(POISON)
        } else {
            End::Error
        });
    }

    /// What comes after a refusal.
    fn poison(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        match &mut self.end {
            Some(End::Poison(rest)) => {
                let some = rest.len().min(buffer.remaining());
                buffer.put_slice(&rest[..some]);
                *rest = &rest[some..];
                Ok(())
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Something was to be sent; how long has the client not taken it?
    fn sent<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stall = None;
            return polled;
        }
        let limit = Duration::from_millis(self.limits.send_stall_ms);
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(clock::sleep(limit)));
        stall
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Guarded<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.end.is_some() {
            return Poll::Ready(this.poison(buffer));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.io).poll_read(context, buffer) {
            Poll::Pending => return this.poll_wait(context),
            Poll::Ready(Ok(())) => {}
            failed => return failed,
        }
        this.has_moved = true;
        let upgrade = this.gate.upgrade();
        let came = &buffer.filled()[before..];
        let Err(refusal) = this.inspector.inspect(came, upgrade) else {
            if this.inspector.awaits_upgrade() {
                this.gate.ask_upgrade();
            }
            return Poll::Ready(Ok(()));
        };
        buffer.set_filled(before + refusal.passed_bytes);
        this.refuse(refusal);
        if refusal.is_head || refusal.passed_bytes == 0 {
            return Poll::Ready(this.poison(buffer));
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Guarded<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.gather.poll(context, bytes.len()));
        let written = Pin::new(&mut this.io).poll_write(context, bytes);
        this.sent(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(context);
        let flushed = this.gather.flushed(flushed);
        this.sent(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = Pin::new(&mut this.io).poll_shutdown(context);
        this.sent(context, ended)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        ready!(this.gather.poll(context, bytes));
        let written = Pin::new(&mut this.io).poll_write_vectored(context, slices);
        this.sent(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
