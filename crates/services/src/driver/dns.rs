//! The name server of this node: names of Services are answered from an index that follows the
//! mirror, all others by the machine's own resolvers.
//!
//! Every node serves the same address of loopback, so of several nodes on one machine one listens,
//! and another one takes over when it is gone, as with addresses of Services. What the control plane
//! says can be late here and is never waited for: a node that is cut off answers what it knew.

mod server;
#[cfg(test)]
mod tests;
mod upstream;

use std::{net::SocketAddr, sync::Arc};

use atoll_world::{net::Datagrams, task};
use hickory_proto::op::ResponseCode;
use parking_lot::RwLock;
use tokio::sync::Semaphore;

use self::upstream::Upstream;
use super::mirror::{Mirror, Standing};
use crate::core::{
    controllers::world::View as _,
    dns::{
        Index, Zone,
        message::{Outcome, Query, Transport},
    },
    kinds,
};

/// So many questions wait for resolvers at a time; one more fails at once.
const FORWARDED_MAX: usize = 256;

/// What is served, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where questions come in, by UDP and TCP.
    pub address: SocketAddr,
    /// The zone that is the cluster's.
    pub zone: Zone,
}

/// Begins to serve, as long as the node runs.
pub(super) fn start(mirror: Mirror, settings: Settings) {
    let names = Arc::new(Names::new(settings.zone, Upstream::new(settings.address)));
    task::spawn(follow(mirror, names.clone()));
    task::spawn(server::listen(settings.address, names));
}

/// What questions are answered from.
struct Names {
    zone: Zone,
    /// None: nothing is known yet.
    index: RwLock<Option<Index>>,
    upstream: Upstream,
    places: Arc<Semaphore>,
}

/// What there is to say to a message.
enum Said {
    /// Nothing.
    Nothing,
    /// This, at once.
    Reply(Vec<u8>),
    /// Something that has to be waited for.
    Later(Box<Waiting>),
}

/// A question for which others are asked.
struct Waiting {
    query: Query,
    outcome: Outcome,
}

impl Names {
    fn new(zone: Zone, upstream: Upstream) -> Names {
        Names {
            zone,
            index: RwLock::default(),
            upstream,
            places: Arc::new(Semaphore::new(FORWARDED_MAX)),
        }
    }

    fn ask(&self, bytes: &[u8], transport: Transport) -> Said {
        let query = match Query::read(bytes, transport) {
            Ok(query) => query,
            Err(None) => return Said::Nothing,
            Err(Some(reply)) => return Said::Reply(reply),
        };
        let outcome = match &*self.index.read() {
            Some(index) => query.answer(index, &self.zone),
            // That it is not there would be believed for a while.
            None if query.is_inside(&self.zone) => {
                Outcome::Reply(query.failed(ResponseCode::ServFail))
            }
            None => Outcome::Forward,
        };
        match outcome {
            Outcome::Reply(reply) => Said::Reply(reply),
            outcome => Said::Later(Box::new(Waiting { query, outcome })),
        }
    }

    /// Asks the machine's resolvers.
    async fn wait(&self, waiting: Box<Waiting>, transport: Transport) -> Vec<u8> {
        let Waiting { query, outcome } = *waiting;
        let Ok(_place) = self.places.try_acquire() else {
            return query.failed(ResponseCode::ServFail);
        };
        let reply = match outcome {
            Outcome::Reply(reply) => Some(reply),
            Outcome::Forward => {
                let question = |id| query.forwarded(id);
                let read = |id, reply| query.relayed(id, reply);
                self.upstream.ask(transport, &question, &read).await
            }
            Outcome::Follow(follow) => {
                let question = |id| follow.question(id);
                let read = |id, reply: Vec<u8>| follow.read(id, &reply);
                let mut reply = self.upstream.ask(Transport::Udp, &question, &read).await;
                if reply.as_ref().is_some_and(|reply| reply.truncation) {
                    reply = self.upstream.ask(Transport::Tcp, &question, &read).await;
                }
                Some(query.joined(*follow, reply))
            }
        };
        reply.unwrap_or_else(|| query.failed(ResponseCode::ServFail))
    }

    /// Answers a datagram. What has to be waited for is waited for beside the next ones.
    async fn answer(self: &Arc<Self>, socket: &Arc<Datagrams>, bytes: &[u8], to: SocketAddr) {
        match self.ask(bytes, Transport::Udp) {
            Said::Nothing => {}
            Said::Reply(reply) => send(socket, &reply, to).await,
            Said::Later(waiting) => {
                let (names, socket) = (self.clone(), socket.clone());
                // Each ends by itself; those above the bound at once.
                drop(task::spawn(async move {
                    let reply = names.wait(waiting, Transport::Udp).await;
                    send(&socket, &reply, to).await;
                }));
            }
        }
    }
}

async fn send(socket: &Datagrams, reply: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(reply, to).await {
        tracing::debug!(%to, %error, "a reply could not be sent");
    }
}

/// Keeps the index as the mirror is.
async fn follow(mirror: Mirror, names: Arc<Names>) {
    let mut news = mirror.news();
    // Nothing is known before there is a revision.
    if news.wait_for(|it| it.revision > 0).await.is_err() {
        return;
    }
    let follower = mirror.follower();
    follower.has_looked(read_all(&mirror, &names));
    while news.changed().await.is_ok() {
        match follower.changes() {
            None => follower.has_looked(read_all(&mirror, &names)),
            Some(mut changes) => {
                changes.retain(|it| Index::is_about(it.name.kind));
                if !changes.is_empty() {
                    let mut index = names.index.write();
                    let index = index.get_or_insert_default();
                    for it in changes {
                        index.change(it.name.kind, it.old.as_deref(), it.new.as_deref());
                    }
                }
            }
        }
    }
}

/// Makes the index anew; where the mirror stood then.
fn read_all(mirror: &Mirror, names: &Names) -> Standing {
    let (objects, standing) = {
        let look = mirror.look();
        let of = |kind| look.list(kind, None);
        let objects = [&kinds::SERVICES, &kinds::ENDPOINT_SLICES].map(|kind| (kind, of(kind)));
        (objects, look.standing())
    };
    let mut index = Index::default();
    for (kind, objects) in objects {
        for object in objects {
            index.change(kind, None, Some(&object));
        }
    }
    *names.index.write() = Some(index);
    standing
}
