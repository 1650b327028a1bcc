//! Port-forward: connections to ports of a pod.

mod channels;
mod spdy;

pub use self::{
    channels::ChannelForward,
    spdy::{CONNECTIONS_MAX, SpdyForward},
};

#[cfg(test)]
mod tests;
