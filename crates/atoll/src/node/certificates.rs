//! The certificates of a running node: their renewal, and their following of what the cluster
//! decides about its authority.

use std::{sync::Arc, time::Duration};

use atoll_base::{config::Config, id::NodeId};
use atoll_control::{
    api::ControlApi as _,
    driver::{
        control::Control,
        rotation::{self, Decided, RotationError},
    },
    proto::cluster::AuthorityPhase as Phase,
};
use atoll_world::{
    clock,
    peers::tls::TlsPeers,
    pki::{
        Fingerprint, Keyring, PkiError, Trust,
        tls::{self, ClientCertificate},
    },
    task,
};

use super::{Acceptor, CLIENT_ALPN, hosts, pki_failed};
use crate::error::CliError;

/// How often the certificate's age is looked at.
const AGE_INTERVAL: Duration = Duration::from_secs(3_600);

/// How often it is looked at what is decided about the authority: a few keys of this node's
/// own state.
const DECISION_INTERVAL: Duration = Duration::from_millis(500);

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
            clock::sleep(AGE_INTERVAL).await;
        }
    }

    fn renew_if_due(&self) -> Result<(), PkiError> {
        if !self.keyring.facts()?.needs_renewal(clock::wall_ms()) {
            return Ok(());
        }
        self.keyring.renew(self.node, &self.hosts)?;
        self.show()?;
        tracing::info!("this node's certificate was renewed");
        Ok(())
    }

    /// Does what the cluster decides about its authority, as long as the node runs.
    pub(super) async fn follow(self, control: Control) {
        let mut said = String::new();
        loop {
            match self.follow_once(&control).await {
                Ok(()) => said.clear(),
                Err(error) => {
                    let text = error.to_string();
                    if text != said {
                        tracing::warn!(%error, "this node does not follow the rotation of the authority yet");
                        said = text;
                    }
                }
            }
            clock::sleep(DECISION_INTERVAL).await;
        }
    }

    async fn follow_once(&self, control: &Control) -> Result<(), FollowError> {
        let rotation = rotation::read(control, true).await?;
        if let Some(decided) = &rotation.decided {
            if let Some(missing) = self.clone().obey(decided.clone()).await? {
                let fetched = rotation::fetch(control, &*self.peers, missing.fingerprint()).await;
                let pem = fetched.ok_or(FollowError::NobodyHas(missing.fingerprint()))?;
                let keyring = self.keyring.clone();
                task::blocking(move || keyring.take_next(&pem, &missing)).await?;
                if let Some(missing) = self.clone().obey(decided.clone()).await? {
                    return Err(FollowError::NobodyHas(missing.fingerprint()));
                }
            }
            let standing = self.keyring.standing()?;
            rotation::tell(control, &rotation, self.node, &standing).await?;
        }
        if control.standing().leader == Some(self.node) {
            rotation::forget_strangers(control, &rotation).await?;
            match rotation::advance(control, &rotation, &self.keyring).await {
                // Whatever it is now, it is looked at next time.
                Err(RotationError::Changed) => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Brings the keyring, the listeners and the links to what is decided; answers the
    /// authority that this node would have to hold for that and does not.
    async fn obey(self, decided: Decided) -> Result<Option<Trust>, PkiError> {
        task::blocking(move || self.obey_now(&decided)).await
    }

    fn obey_now(&self, decided: &Decided) -> Result<Option<Trust>, PkiError> {
        let (keyring, current) = (&self.keyring, &decided.current);
        let both = match &decided.other {
            Some(other) => current.with(other),
            None => current.clone(),
        };
        let news = match (decided.phase, &decided.other) {
            (Phase::Preparing, Some(next)) => {
                let held = keyring.standing()?.held;
                if !held.contains(&next.fingerprint()) {
                    return Ok(Some(next.clone()));
                }
                keyring.set_trust(both)?
            }
            // The new one is trusted before it is shown, and the old one after.
            (Phase::Switched | Phase::Preparing, _) => {
                if !keyring.turn_to(current.fingerprint())? {
                    return Ok(Some(current.clone()));
                }
                let trusts = keyring.set_trust(both)?;
                keyring.show_current(self.node, &self.hosts)? || trusts
            }
            (Phase::Steady, other) => {
                if !keyring.turn_to(current.fingerprint())? {
                    return Ok(Some(current.clone()));
                }
                if let Some(dropped) = other {
                    keyring.drop_next(dropped.fingerprint())?;
                }
                let shows = keyring.show_current(self.node, &self.hosts)?;
                let settled = keyring.settle()?;
                keyring.set_trust(current.clone())? || settled || shows
            }
        };
        if news {
            self.show()?;
            tracing::info!(phase = ?decided.phase, root = %current.fingerprint(), "this node follows the cluster's authority");
        }
        Ok(None)
    }
}

/// Why a node does not follow a rotation yet.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Rotation(#[from] RotationError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(
        "no member that can be reached holds the authority with the root {0}; if the node that began the rotation is gone for good, `atoll ca abort` gives it up"
    )]
    NobodyHas(Fingerprint),
}
