//! Everything in a node's folder of certificates, as one thing: who the node is, whom it
//! trusts, and the authority with which it certifies others.
//!
//! What is in memory is what is in the files: a change is durable before it is seen.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use atoll_base::id::NodeId;
use parking_lot::RwLock;

use super::{Authority, Fingerprint, Identity, PkiError, Trust, certificates_to_pem, files};

/// The name of the node's own certificate.
const IDENTITY: &str = "node";

/// A node's certificates and keys, in memory and in its folder.
#[derive(Debug)]
pub struct Keyring {
    dir: PathBuf,
    held: RwLock<Held>,
}

#[derive(Debug)]
struct Held {
    identity: Identity,
    trust: Trust,
    authority: Option<Authority>,
}

impl Keyring {
    /// Fills a folder for a new node.
    ///
    /// # Errors
    /// `File`.
    pub fn create(
        dir: &Path,
        identity: &Identity,
        trust: &Trust,
        authority: &Authority,
    ) -> Result<(), PkiError> {
        files::save_authority(dir, authority)?;
        files::save_trust(dir, trust)?;
        files::save_identity(dir, IDENTITY, identity)
    }

    /// Reads a folder.
    ///
    /// # Errors
    /// `File`, `Malformed`, `WrongKey`.
    pub fn open(dir: &Path) -> Result<Keyring, PkiError> {
        let held = Held {
            identity: files::load_identity(dir, IDENTITY)?,
            trust: files::load_trust(dir)?,
            authority: files::load_authority(dir)?,
        };
        Ok(Keyring {
            dir: dir.to_path_buf(),
            held: RwLock::new(held),
        })
    }

    /// Who this node is.
    pub fn identity(&self) -> Identity {
        self.held.read().identity.clone()
    }

    /// Whom it trusts.
    pub fn trust(&self) -> Trust {
        self.held.read().trust.clone()
    }

    /// The fingerprint of the current root.
    pub fn fingerprint(&self) -> Fingerprint {
        self.held.read().trust.fingerprint()
    }

    /// The roots that clients have to trust, as PEM.
    pub fn roots_pem(&self) -> String {
        certificates_to_pem(&self.held.read().trust.roots)
    }

    /// Certifies the key of a request for a user. The answer is the chain as PEM.
    ///
    /// # Errors
    /// `NoAuthority`; `Malformed`; `Make`.
    pub fn sign_client(
        &self,
        csr_pem: &str,
        user: &str,
        life: Duration,
    ) -> Result<String, PkiError> {
        let held = self.held.read();
        let authority = held.authority.as_ref().ok_or(PkiError::NoAuthority)?;
        authority.sign_client(csr_pem, user, life)
    }

    /// Certifies the key of a request for another node, and tells all that a member holds.
    ///
    /// # Errors
    /// `NoAuthority`; `Malformed`; `Make`.
    pub fn admit(
        &self,
        csr_pem: &str,
        node: NodeId,
        names: &[String],
    ) -> Result<Admission, PkiError> {
        let held = self.held.read();
        let authority = held.authority.as_ref().ok_or(PkiError::NoAuthority)?;
        Ok(Admission {
            certificate_pem: authority.sign_node(csr_pem, node, names, super::LEAF_LIFE)?,
            trust: held.trust.clone(),
            authority_pem: authority.to_pem(),
        })
    }

    /// Gives the node a new certificate for the same id, with these names.
    ///
    /// # Errors
    /// `NoAuthority`; `Make`; `File`.
    pub fn renew(&self, node: NodeId, names: &[String]) -> Result<(), PkiError> {
        let mut held = self.held.write();
        let authority = held.authority.as_ref().ok_or(PkiError::NoAuthority)?;
        let renewed = authority.issue_node(node, names, super::LEAF_LIFE)?;
        files::save_identity(&self.dir, IDENTITY, &renewed)?;
        held.identity = renewed;
        Ok(())
    }
}

/// What a node that is let in is given.
#[derive(Debug)]
pub struct Admission {
    /// Its certificate's chain.
    pub certificate_pem: String,
    /// Whom to trust.
    pub trust: Trust,
    /// The authority, private keys included.
    pub authority_pem: zeroize::Zeroizing<String>,
}
