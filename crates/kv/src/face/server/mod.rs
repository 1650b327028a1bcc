//! Serves connections: one task each, which is whoever awaits [`Server::serve_connection`].
//!
//! What came in one read is handled together. Requests that ask hot data are handed over in one
//! call, and their replies are written in their order into one buffer, which is sent while the
//! next requests are read: a client that sends all it has before it reads does not stand still,
//! and one that never reads is let go. Accepting and TLS are the node's.

mod batch;
mod connection;
mod counting;
mod error;
mod identity;
mod members;
mod monitor;
mod node;
mod pause;
mod registry;
mod seat;
mod settings;
mod wire;

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, pin::pin, sync::Arc};

use atoll_world::clock::{self, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

pub use error::ConnectionError;
pub use identity::{Awaited, Identity, NoPasswords, wrong_rule};
pub use settings::ServerSettings;

use crate::{
    api::{Api, ClusterMap},
    face::session::Session,
    hub::Hub,
    memory::Memory,
};
use connection::Connection;
use counting::OfScripts;
use members::Members;
use node::{
    acl_log::AclLog,
    commands::CommandStats,
    config::{Config, Setting},
    latency::Latency,
    slowlog::Slowlog,
    stats::Stats,
};
use pause::Pause;

/// Serves the Redis protocol. Clones are the same.
pub struct Server<A>(Arc<Shared<A>>, Option<Arc<dyn ClusterMap>>);

struct Shared<A> {
    api: A,
    hub: Hub,
    memory: Memory,
    identity: Arc<dyn Identity>,
    settings: ServerSettings,
    members: Members,
    pause: Pause,
    config: Config,
    stats: Stats,
    slowlog: Slowlog,
    commands: Arc<CommandStats>,
    latency: Latency,
    acl_log: AclLog,
    begun: Instant,
    run_id: String,
}

impl<A> Clone for Server<A> {
    fn clone(&self) -> Self {
        Server(self.0.clone(), self.1.clone())
    }
}

impl<A: Api> Server<A> {
    /// `hub` is where `api` publishes, `memory` what its data takes.
    pub fn new(
        api: A,
        hub: Hub,
        memory: Memory,
        identity: Arc<dyn Identity>,
        settings: ServerSettings,
    ) -> Server<A> {
        let [high, middle, low] = [(); 3].map(|()| atoll_world::random::u64());
        let shared = Shared {
            config: Config::new(&settings, memory.clone()),
            stats: Stats::default(),
            slowlog: Slowlog::default(),
            commands: Arc::default(),
            latency: Latency::default(),
            acl_log: AclLog::default(),
            begun: clock::now(),
            // As long as a Redis's: 40 digits.
            run_id: format!("{high:016x}{middle:016x}{:08x}", low >> 32),
            api,
            hub,
            memory,
            identity,
            settings,
            members: Members::default(),
            pause: Pause::default(),
        };
        shared.config.tell_hub(&shared.hub);
        let calls = OfScripts(shared.commands.clone());
        shared.hub.on_calls(Arc::new(calls));
        let server = Server(Arc::new(shared), None);
        server.follow_users();
        server
    }

    /// Ends connections of users that are gone, or that may not listen to what they listen to.
    fn follow_users(&self) {
        let shared = Arc::downgrade(&self.0);
        self.0.identity.acl().on_change(move || {
            let shared = shared.upgrade();
            if let Some(shared) = &shared {
                shared.members.end_outlived();
            }
            shared.is_some()
        });
    }

    /// The same server for clients that are told of the cluster.
    pub fn in_cluster(&self, cluster: Arc<dyn ClusterMap>) -> Server<A> {
        Server(self.0.clone(), Some(cluster))
    }

    /// Serves a connection until the client is done with it. After `shutdown` what was asked is
    /// answered, except what waits for other clients. `peer` is the client's address, `local`
    /// the one that it connected to.
    ///
    /// # Errors
    /// Why the connection ended, if something was wrong with it.
    pub async fn serve_connection<S>(
        &self,
        stream: S,
        peer: SocketAddr,
        local: SocketAddr,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let connections_max = self.0.config.size(Setting::ConnectionsMax);
        let (acl, settings) = (self.0.identity.acl(), self.0.settings.session);
        let condition = self.0.api.condition();
        let new_session = |id| {
            let session = Session::new(id, settings)
                .with_acl(acl.clone())
                .with_condition(condition.clone());
            match &self.1 {
                Some(cluster) => session.in_cluster(cluster.clone()),
                None => session,
            }
        };
        let members = &self.0.members;
        let member = members.admit(new_session, connections_max, peer, local);
        self.0.stats.connected(member.is_some());
        match member {
            Some(member) => {
                let shutdown = pin!(shutdown);
                Connection::new(self, member, stream, shutdown).run().await
            }
            None => connection::refuse(stream, connections_max).await,
        }
    }
}
