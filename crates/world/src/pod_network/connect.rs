//! Connections from within a pod's network.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use super::namespace;

/// Opens a TCP connection from within the network that a file keeps, whose loopback is the pod's:
/// so programs are reached that listen nowhere else. Blocks, but no longer than is said.
///
/// # Errors
/// `NotFound` if there is no such network; else what the operating system said.
pub fn connect_within(file: &Path, to: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let Some(namespace) = namespace::open(file)? else {
        let told = format!("{} keeps no network", file.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, told));
    };
    namespace::within(&namespace, || TcpStream::connect_timeout(&to, within))?
}
