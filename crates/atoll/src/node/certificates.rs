//! The certificates of a running node, and their renewal.

use std::{sync::Arc, time::Duration};

use atoll_base::{config::Config, id::NodeId};
use atoll_world::{
    clock,
    peers::tls::TlsPeers,
    pki::{
        Keyring, PkiError,
        tls::{self, ClientCertificate},
    },
};

use super::{Acceptor, CLIENT_ALPN, hosts, pki_failed};
use crate::error::CliError;

/// How often the certificate's age is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(3_600);

/// Keeps what the node shows and trusts on every listener and link equal to its keyring.
#[derive(Clone)]
pub(super) struct Certificates {
    pub(super) keyring: Arc<Keyring>,
    pub(super) clients: Acceptor,
    pub(super) peer_side: Acceptor,
    peers: Arc<TlsPeers>,
    node: NodeId,
    /// The names and addresses that the node's certificate is for.
    hosts: Vec<String>,
    from_clients: ClientCertificate,
}

impl Certificates {
    pub(super) fn new(
        config: &Config,
        node: NodeId,
        keyring: Arc<Keyring>,
        peers: Arc<TlsPeers>,
    ) -> Result<Certificates, CliError> {
        let certificates = Certificates {
            keyring,
            clients: Acceptor::default(),
            peer_side: Acceptor::default(),
            peers,
            node,
            hosts: hosts(config),
            from_clients: match config.security.require_client_cert {
                true => ClientCertificate::Required,
                false => ClientCertificate::Optional,
            },
        };
        certificates.show().map_err(pki_failed)?;
        Ok(certificates)
    }

    /// Later handshakes use what the keyring holds now.
    fn show(&self) -> Result<(), PkiError> {
        let (identity, trust) = (self.keyring.identity(), self.keyring.trust());
        let clients = tls::listener_config(&identity, &trust, self.from_clients, CLIENT_ALPN)?;
        // A joiner has no certificate; it speaks gRPC on the peer listener.
        let optional = ClientCertificate::Optional;
        let joiners = tls::listener_config(&identity, &trust, optional, &[b"h2"])?;
        let peers = tls::peer_server_config(&identity, &trust)?;
        let calls = tls::peer_client_config(&identity, &trust)?;
        self.clients.replace(Some(clients), None);
        self.peer_side.replace(Some(joiners), Some(peers));
        self.peers.replace_tls(calls);
        Ok(())
    }

    /// Renews the node's certificate in the last third of its life, and uses it at once.
    pub(super) async fn renew(self) {
        loop {
            if let Err(error) = self.renew_if_due() {
                tracing::error!(%error, "this node's certificate was not renewed; it will be tried again in an hour");
            }
            clock::sleep(LOOK_INTERVAL).await;
        }
    }

    fn renew_if_due(&self) -> Result<(), PkiError> {
        let facts = self.keyring.identity().facts()?;
        if !facts.needs_renewal(clock::wall_ms()) {
            return Ok(());
        }
        self.keyring.renew(self.node, &self.hosts)?;
        self.show()?;
        tracing::info!("this node's certificate was renewed");
        Ok(())
    }
}
