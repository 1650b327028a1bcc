//! Connections that were upgraded for exec, attach and port-forward: bytes of a client on one
//! side, channels of what is said on the other.
//!
//! request → [`upgrade_response`] → 101 → [`serve_exec`] or [`serve_forward`], which pump until
//! one side is done. Channels are bounded, and what is bounded on one side holds up the other:
//! nothing is read from a client while what it said before was not taken, nothing is taken from
//! the other side while a client does not read.

mod pump;
mod upgrade;
mod wire;

#[cfg(test)]
mod tests;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::{pump::StreamError, upgrade::upgrade_response};
use self::{
    pump::{Patience, pump},
    wire::Wire,
};
pub(crate) use crate::api::Ends;
use crate::core::streams::{
    Forward, FromContainer, ToContainer,
    channels::Coding,
    exec::{ChannelExec, EndForm, SpdyExec},
    forward::{ChannelForward, SpdyForward},
    negotiate::{self, Protocol},
    options::{Ports, Streams},
};

/// Serves exec or attach, until the client is gone.
///
/// # Errors
/// The client broke the protocol, was idle for too long, or the connection broke.
pub(crate) async fn serve_exec(
    upgraded: Upgraded,
    protocol: &Protocol,
    streams: Streams,
    ends: Ends<ToContainer, FromContainer>,
) -> Result<(), StreamError> {
    let io = TokioIo::new(upgraded);
    exec(io, protocol, streams, ends, &Patience::default()).await
}

/// Serves port-forward, until the client is gone. `ports` where the protocol needs them.
///
/// # Errors
/// The client broke the protocol, was idle for too long, or the connection broke.
pub(crate) async fn serve_forward(
    upgraded: Upgraded,
    protocol: &Protocol,
    ports: &Ports,
    ends: Ends<Forward, Forward>,
) -> Result<(), StreamError> {
    let io = TokioIo::new(upgraded);
    forward(io, protocol, ports, ends, &Patience::default()).await
}

async fn exec<I: AsyncRead + AsyncWrite + Unpin>(
    io: I,
    protocol: &Protocol,
    streams: Streams,
    ends: Ends<ToContainer, FromContainer>,
    patience: &Patience,
) -> Result<(), StreamError> {
    match protocol.wire {
        negotiate::Wire::Channels {
            coding,
            end_form,
            has_close,
        } => {
            let exec = ChannelExec::new(coding, end_form, has_close, streams);
            let wire = Wire::socket(io, coding == Coding::Base64).await;
            pump(wire, exec, ends, patience).await
        }
        negotiate::Wire::Spdy {
            end_form,
            has_resize,
        } => {
            let exec = SpdyExec::new(end_form, has_resize, streams);
            pump(Wire::plain(io), exec, ends, patience).await
        }
        // Nobody negotiates this one for exec.
        negotiate::Wire::Tunnel => {
            let exec = SpdyExec::new(EndForm::Status, true, streams);
            pump(Wire::socket(io, false).await, exec, ends, patience).await
        }
    }
}

async fn forward<I: AsyncRead + AsyncWrite + Unpin>(
    io: I,
    protocol: &Protocol,
    ports: &Ports,
    ends: Ends<Forward, Forward>,
    patience: &Patience,
) -> Result<(), StreamError> {
    match protocol.wire {
        negotiate::Wire::Channels { coding, .. } => {
            let forward = ChannelForward::new(coding, ports);
            let wire = Wire::socket(io, coding == Coding::Base64).await;
            pump(wire, forward, ends, patience).await
        }
        negotiate::Wire::Spdy { .. } => {
            pump(Wire::plain(io), SpdyForward::default(), ends, patience).await
        }
        negotiate::Wire::Tunnel => {
            let wire = Wire::socket(io, false).await;
            pump(wire, SpdyForward::default(), ends, patience).await
        }
    }
}
