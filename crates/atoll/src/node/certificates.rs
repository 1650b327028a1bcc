//! The certificates of a running node, and their renewal.

use std::{path::PathBuf, sync::Arc, time::Duration};

use atoll_base::id::NodeId;
use atoll_world::{
    clock,
    peers::tls::TlsPeers,
    pki::{self, Identity, Trust, tls},
};

use super::{Acceptor, CLIENT_ALPN, NODE_IDENTITY, pki_failed};
use crate::error::CliError;

/// How often the certificate's age is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(3_600);

/// What the listeners show.
#[derive(Clone)]
pub(super) struct Acceptors {
    pub(super) clients: Acceptor,
    pub(super) peers: Acceptor,
}

impl Acceptors {
    pub(super) fn new(identity: &Identity, trust: &Trust) -> Result<Acceptors, CliError> {
        let acceptors = Acceptors {
            clients: Acceptor::default(),
            peers: Acceptor::default(),
        };
        acceptors.show(identity, trust).map_err(pki_failed)?;
        Ok(acceptors)
    }

    fn show(&self, identity: &Identity, trust: &Trust) -> Result<(), pki::PkiError> {
        let clients = tls::listener_config(identity, trust, CLIENT_ALPN)?;
        // A joiner has no certificate; it speaks gRPC on the peer listener.
        let joiners = tls::listener_config(identity, trust, &[b"h2"])?;
        let peers = tls::peer_server_config(identity, trust)?;
        self.clients.replace(Some(clients), None);
        self.peers.replace(Some(joiners), Some(peers));
        Ok(())
    }
}

/// Renews the node's certificate in the last third of its life, and uses it at once.
pub(super) async fn renew(
    dir: PathBuf,
    node: NodeId,
    hosts: Vec<String>,
    acceptors: Acceptors,
    peers: Arc<TlsPeers>,
) {
    loop {
        if let Err(error) = renew_if_due(&dir, node, &hosts, &acceptors, &peers) {
            tracing::error!(%error, "this node's certificate was not renewed; it will be tried again in an hour");
        }
        clock::sleep(LOOK_INTERVAL).await;
    }
}

fn renew_if_due(
    dir: &std::path::Path,
    node: NodeId,
    hosts: &[String],
    acceptors: &Acceptors,
    peers: &TlsPeers,
) -> Result<(), pki::PkiError> {
    let identity = pki::files::load_identity(dir, NODE_IDENTITY)?;
    if !identity.facts()?.needs_renewal(clock::wall_ms()) {
        return Ok(());
    }
    let Some(authority) = pki::files::load_authority(dir)? else {
        return Ok(());
    };
    let trust = pki::files::load_trust(dir)?;
    let renewed = authority.issue_node(node, hosts, pki::LEAF_LIFE)?;
    pki::files::save_identity(dir, NODE_IDENTITY, &renewed)?;
    acceptors.show(&renewed, &trust)?;
    peers.replace_tls(tls::peer_client_config(&renewed, &trust)?);
    tracing::info!("this node's certificate was renewed");
    Ok(())
}
