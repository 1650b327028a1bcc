//! The resolvers of the machine, which know all other names. They are asked one after the other,
//! each for a while, from a port and with an id that are drawn for the question alone, so that a
//! stranger's reply is hardly taken for theirs (RFC 5452).

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use atoll_world::{
    clock::{self, Instant},
    machine, net, random, task,
};
use parking_lot::Mutex;

use super::server::{read_message, write_message};
use crate::core::dns::{Resolvers, message::Transport};

/// So many resolvers are asked for a question.
const SERVERS_MAX: usize = 3;
/// How long each may take. Clients wait for five seconds by default (resolv.conf(5)).
const TRY: Duration = Duration::from_millis(1_500);
/// How long what the machine's file says is taken to be so.
const FRESH: Duration = Duration::from_secs(5);
/// Resolvers listen there.
const PORT: u16 = 53;
/// The longest reply, in bytes.
const REPLY_BYTES_MAX: usize = u16::MAX as usize;
/// So many datagrams that are no reply to the question are left out.
const STRAY_MAX: usize = 16;

/// Whom to ask.
pub(super) struct Upstream {
    /// This server, which is not asked.
    own: SocketAddr,
    known: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

impl Upstream {
    pub(super) fn new(own: SocketAddr) -> Upstream {
        Upstream {
            own,
            known: Mutex::default(),
        }
    }

    /// Asks until somebody's reply can be read; none: nobody's.
    pub(super) async fn ask<T>(
        &self,
        transport: Transport,
        question: &(dyn Fn(u16) -> Vec<u8> + Sync),
        read: &(dyn Fn(u16, Vec<u8>) -> Option<T> + Sync),
    ) -> Option<T> {
        for server in self.servers().await {
            let id: u16 = random::range(0..=u16::MAX);
            let asked = question(id);
            let ask = async {
                match transport {
                    Transport::Udp => by_datagram(server, &asked, &|reply| read(id, reply)).await,
                    Transport::Tcp => by_connection(server, &asked).await.map(|it| read(id, it)),
                }
            };
            match clock::timeout(TRY, ask).await {
                Ok(Ok(Some(reply))) => return Some(reply),
                Ok(Ok(None)) => tracing::debug!(%server, "a resolver answers something else"),
                Ok(Err(error)) => tracing::debug!(%server, %error, "a resolver can't be asked"),
                Err(_) => tracing::debug!(%server, "a resolver does not answer"),
            }
        }
        None
    }

    async fn servers(&self) -> Vec<SocketAddr> {
        let now = clock::now();
        if let Some((since, servers)) = &*self.known.lock()
            && now.saturating_duration_since(*since) < FRESH
        {
            return servers.clone();
        }
        let text = task::blocking(machine::resolv_conf).await;
        let servers = others(&text, self.own);
        *self.known.lock() = Some((now, servers.clone()));
        servers
    }

    /// Whom to ask, whatever the machine's file says.
    #[cfg(test)]
    pub(super) fn of(servers: Vec<SocketAddr>) -> Upstream {
        let far = clock::now() + Duration::from_secs(3_600);
        let upstream = Upstream::new(([127, 0, 0, 1], 0).into());
        *upstream.known.lock() = Some((far, servers));
        upstream
    }
}

/// The resolvers of a text, but for this server.
pub(super) fn others(resolv_conf: &str, own: SocketAddr) -> Vec<SocketAddr> {
    let is_own = |server: &IpAddr| {
        let everywhere = own.ip().is_unspecified() && server.is_loopback();
        own.port() == PORT && (own.ip() == *server || everywhere)
    };
    let servers = Resolvers::read(resolv_conf).servers.into_iter();
    let others = servers.filter(|server| !is_own(server)).take(SERVERS_MAX);
    others.map(|server| (server, PORT).into()).collect()
}

async fn by_datagram<T>(
    server: SocketAddr,
    question: &[u8],
    read: &(dyn Fn(Vec<u8>) -> Option<T> + Sync),
) -> io::Result<Option<T>> {
    let socket = net::datagrams_to(server).await.map_err(io::Error::other)?;
    socket.send(question).await?;
    let mut bytes = vec![0; REPLY_BYTES_MAX];
    for _ in 0..STRAY_MAX {
        let length = socket.receive(&mut bytes).await?;
        if let Some(reply) = read(bytes[..length].to_vec()) {
            return Ok(Some(reply));
        }
    }
    Ok(None)
}

async fn by_connection(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let address = server.to_string();
    let stream = net::connect(&address, TRY).await;
    let mut stream = stream.map_err(io::Error::other)?;
    write_message(&mut stream, question).await?;
    read_message(&mut stream, REPLY_BYTES_MAX).await
}
