//! Questions come in by UDP, one in a datagram, and by TCP, one after the other on a connection,
//! each behind its length (RFC 7766).

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use atoll_world::{
    clock,
    net::{self, Datagrams, Listener, NetError, Stream},
    task,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Semaphore,
};

use super::{Names, Said};
use crate::core::dns::message::{QUERY_BYTES_MAX, Transport};

/// How often a node that could not listen tries again: soon after the node of this machine that
/// does is gone, it has taken over.
const RETRY: Duration = Duration::from_secs(1);
/// So many connections are open at a time; one more is closed at once.
const CONNECTIONS_MAX: usize = 128;
/// How long a connection may be silent, or take nothing of what is sent.
const IDLE: Duration = Duration::from_secs(10);

/// Listens at the address, now or as soon as that can be done.
pub(super) async fn listen(address: SocketAddr, names: Arc<Names>) {
    let mut is_told = false;
    let (datagrams, connections) = loop {
        match open(address).await {
            Ok(opened) => break opened,
            // Told once; several nodes of one machine want the address for good.
            Err(error) => {
                if !is_told {
                    let help = help(&error);
                    tracing::warn!(%address, %error, help, "names of Services are not resolved here; will try again");
                    is_told = true;
                }
            }
        }
        clock::sleep(RETRY).await;
    };
    tracing::info!(%address, zone = names.zone.text(), "names of Services are resolved");
    tokio::join!(
        serve_datagrams(Arc::new(datagrams), names.clone()),
        serve_connections(connections, names)
    );
}

/// What whoever looks after the node may do.
fn help(error: &NetError) -> &'static str {
    match error {
        NetError::NotPermitted { .. } => {
            "let the node listen there (`sysctl net.ipv4.ip_unprivileged_port_start=53`, or root), give services.dns another port, or nothing to do without"
        }
        NetError::AddressTaken { .. } => {
            "nothing, if that is another node of this machine; else give services.dns another address, or nothing to do without"
        }
        _ => "give services.dns an address of this machine, or nothing to do without",
    }
}

async fn open(address: SocketAddr) -> Result<(Datagrams, Listener), NetError> {
    let datagrams = net::listen_datagrams(&address.to_string()).await?;
    // By the same port, if any will do.
    let address = datagrams.local_address();
    let connections = net::listen(&address.to_string()).await?;
    Ok((datagrams, connections))
}

pub(super) async fn serve_datagrams(socket: Arc<Datagrams>, names: Arc<Names>) {
    let mut bytes = vec![0; QUERY_BYTES_MAX];
    loop {
        let (length, from) = socket.receive_any(&mut bytes).await;
        names.answer(&socket, &bytes[..length], from).await;
    }
}

pub(super) async fn serve_connections(listener: Listener, names: Arc<Names>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let incoming = listener.accept().await;
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let names = names.clone();
        drop(task::spawn(async move {
            let mut stream = incoming.plain();
            let peer = stream.peer_address();
            if let Err(error) = serve_connection(&mut stream, &names).await {
                tracing::debug!(%peer, %error, "a connection ended badly");
            }
            drop(place);
        }));
    }
}

async fn serve_connection(stream: &mut Stream, names: &Names) -> io::Result<()> {
    loop {
        let message = match in_time(read_message(stream, QUERY_BYTES_MAX)).await {
            Ok(message) => message,
            // Nobody has anything more to ask.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let reply = match names.ask(&message, Transport::Tcp) {
            Said::Reply(reply) => reply,
            Said::Nothing => return Ok(()),
            Said::Later(waiting) => names.wait(waiting, Transport::Tcp).await,
        };
        in_time(write_message(stream, &reply)).await?;
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = clock::timeout(IDLE, work).await;
    done.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Reads a message behind its length, of at most so many bytes.
pub(super) async fn read_message(stream: &mut Stream, bytes_max: usize) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > bytes_max {
        return Err(io::Error::other(format!("a message of {length} bytes")));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message behind its length.
pub(super) async fn write_message(stream: &mut Stream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await?;
    stream.flush().await
}
