//! Free loopback ports for servers that must be told theirs before they start.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Ports below the kernel's ephemeral range, so that no outgoing connection takes one between
/// our look and the server's bind.
const PORT_MIN: u32 = 12_000;
const PORT_MAX: u32 = 32_000;

/// A loopback port that nothing listens on; never the same twice in one process.
///
/// # Panics
/// When every port of the range is taken.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let span = PORT_MAX - PORT_MIN;
    // Processes that run at the same time begin at different places.
    let base = process::id().wrapping_mul(61) % span;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORT_MIN + (base + step) % span;
        let port = u16::try_from(port).expect("PORT_MAX fits a port");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {PORT_MIN} and {PORT_MAX}");
}
