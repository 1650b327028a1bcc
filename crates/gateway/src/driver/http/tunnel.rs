//! WebSockets: after status 101 the connection of the client and that of the endpoint carry
//! bytes until both sides are done, or both were silent for too long (the endpoint's connection
//! notices).

use atoll_world::task;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional, sync::watch};

use super::body::{Held, Open};
use crate::{
    core::breaker::Permit,
    driver::{Stage, reached},
};

/// What a tunnel holds while it is open.
pub(super) struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) endpoint: OnUpgrade,
    pub(super) stages: watch::Receiver<Stage>,
    pub(super) counted: Permit,
    pub(super) held: Held,
    pub(super) open: Open,
}

impl Tunnel {
    /// Carries bytes, in a task of its own: the connection's task has to let the connection go
    /// first.
    pub(super) fn run(mut self) {
        drop(task::spawn(async move {
            let carrying = async {
                let both = futures_util::future::try_join(self.client, self.endpoint);
                let (client, endpoint) = both.await.map_err(std::io::Error::other)?;
                let (mut client, mut endpoint) = (TokioIo::new(client), TokioIo::new(endpoint));
                copy_bidirectional(&mut client, &mut endpoint).await
            };
            let carried = tokio::select! {
                carried = carrying => carried.map(|_| ()),
                () = reached(&mut self.stages, Stage::Cut) => Ok(()),
            };
            if let Err(error) = carried {
                tracing::debug!(%error, "a tunnel broke");
            }
            drop((self.counted, self.held, self.open));
        }));
    }
}
