//! Everything in a node's folder of certificates, as one thing: who the node is, whom it
//! trusts, and the authority with which it certifies others.
//!
//! What is in memory is what is in the files: a change is durable before it is seen. Each
//! step of a rotation can be taken again after a crash at any point of it; taking it twice
//! changes nothing.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use atoll_base::id::NodeId;
use parking_lot::RwLock;
use zeroize::Zeroizing;

use super::{
    Authority, Facts, Fingerprint, Identity, LEAF_LIFE, PkiError, Trust, certificates_to_pem,
    files::{self, Which},
    sealing::SealingKey,
};

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
    next: Option<Authority>,
}

impl Held {
    fn authority(&self) -> Result<&Authority, PkiError> {
        self.authority.as_ref().ok_or(PkiError::NoAuthority)
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
    pub authority_pem: Zeroizing<String>,
    /// The one that shall take its place, if there is one.
    pub next_pem: Option<Zeroizing<String>>,
}

/// What a node holds and shows, as others may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The roots it trusts, the current one first.
    pub trusted: Vec<Fingerprint>,
    /// The roots whose authority it holds, keys included.
    pub held: Vec<Fingerprint>,
    /// The root that its own certificate comes from; none if that is an authority it does not
    /// hold any more.
    pub shown: Option<Fingerprint>,
    /// Until when its own certificate is good, milliseconds since the epoch.
    pub expires_ms: u64,
}

/// Reading it, and certifying.
impl Keyring {
    /// Fills a folder for a new node. `next`: if the authority is being replaced just now.
    ///
    /// # Errors
    /// `File`.
    pub fn create(
        dir: &Path,
        identity: &Identity,
        trust: &Trust,
        authority: &Authority,
        next: Option<&Authority>,
    ) -> Result<(), PkiError> {
        if let Some(next) = next {
            files::save_authority(dir, Which::Next, next)?;
        }
        files::save_authority(dir, Which::Current, authority)?;
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
            authority: files::load_authority(dir, Which::Current)?,
            next: files::load_authority(dir, Which::Next)?,
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

    /// What it holds and shows.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn standing(&self) -> Result<Standing, PkiError> {
        let held = self.held.read();
        let authorities = [&held.authority, &held.next].into_iter().flatten();
        let shown = authorities
            .clone()
            .find(|authority| authority.issued(&held.identity));
        Ok(Standing {
            trusted: held.trust.roots.iter().map(Fingerprint::of).collect(),
            shown: shown.map(Authority::fingerprint),
            held: authorities.map(Authority::fingerprint).collect(),
            expires_ms: held.identity.facts()?.not_after_ms,
        })
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
        held.authority()?.sign_client(csr_pem, user, life)
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
        let authority = held.authority()?;
        Ok(Admission {
            certificate_pem: authority.sign_node(csr_pem, node, names, LEAF_LIFE)?,
            trust: held.trust.clone(),
            authority_pem: authority.to_pem(),
            next_pem: held.next.as_ref().map(Authority::to_pem),
        })
    }

    /// The key with which an authority that is held seals the cluster's secrets.
    pub fn sealing_key(&self, root: Fingerprint) -> Option<SealingKey> {
        let held = self.held.read();
        let mut authorities = [&held.authority, &held.next].into_iter().flatten();
        let found = authorities.find(|authority| authority.fingerprint() == root);
        found.map(Authority::sealing_key)
    }

    /// An authority with its keys, for another member.
    pub fn authority_pem(&self, root: Fingerprint) -> Option<Zeroizing<String>> {
        let held = self.held.read();
        let mut authorities = [&held.authority, &held.next].into_iter().flatten();
        let found = authorities.find(|authority| authority.fingerprint() == root);
        found.map(Authority::to_pem)
    }
}

/// Changing it.
impl Keyring {
    /// Gives the node a new certificate for the same id, with these names.
    ///
    /// # Errors
    /// `NoAuthority`; `Make`; `File`.
    pub fn renew(&self, node: NodeId, names: &[String]) -> Result<(), PkiError> {
        let mut held = self.held.write();
        let renewed = held.authority()?.issue_node(node, names, LEAF_LIFE)?;
        files::save_identity(&self.dir, IDENTITY, &renewed)?;
        held.identity = renewed;
        Ok(())
    }

    /// Makes the authority that shall take the place of the current one; answers what
    /// everybody may know of it.
    ///
    /// # Errors
    /// `NoAuthority`; `Make`; `File`.
    pub fn make_next(&self) -> Result<Trust, PkiError> {
        let mut held = self.held.write();
        let next = held.authority()?.successor()?;
        let trust = next.trust();
        files::save_authority(&self.dir, Which::Next, &next)?;
        held.next = Some(next);
        Ok(trust)
    }

    /// Takes over an authority that another member made, if it is the one that is `wanted`.
    ///
    /// # Errors
    /// `Malformed`; `WrongKey`; `File`.
    pub fn take_next(&self, pem: &str, wanted: &Trust) -> Result<(), PkiError> {
        let next = Authority::from_pem(pem)?;
        if next.trust() != *wanted {
            let reason = "it is not the one that the cluster has decided on";
            return Err(PkiError::malformed("the next authority", reason));
        }
        let mut held = self.held.write();
        files::save_authority(&self.dir, Which::Next, &next)?;
        held.next = Some(next);
        Ok(())
    }

    /// Forgets the authority with this root, which shall not take the place of the current one.
    ///
    /// # Errors
    /// `File`.
    pub fn drop_next(&self, root: Fingerprint) -> Result<(), PkiError> {
        let mut held = self.held.write();
        if held.next.as_ref().map(Authority::fingerprint) == Some(root) {
            files::remove_authority(&self.dir, Which::Next)?;
            held.next = None;
        }
        Ok(())
    }

    /// Trusts these, and nobody else; whether that is news.
    ///
    /// # Errors
    /// `File`.
    pub fn set_trust(&self, trust: Trust) -> Result<bool, PkiError> {
        let mut held = self.held.write();
        if held.trust == trust {
            return Ok(false);
        }
        files::save_trust(&self.dir, &trust)?;
        held.trust = trust;
        Ok(true)
    }

    /// Certifies with the authority with this root from now on; false if it is not held.
    ///
    /// # Errors
    /// `File`, `Malformed`, `WrongKey`.
    pub fn turn_to(&self, root: Fingerprint) -> Result<bool, PkiError> {
        let mut held = self.held.write();
        let is = |one: &Option<Authority>| one.as_ref().map(Authority::fingerprint) == Some(root);
        if is(&held.authority) {
            // What a crash left behind.
            if is(&held.next) {
                files::remove_authority(&self.dir, Which::Next)?;
                held.next = None;
            }
            return Ok(true);
        }
        if !is(&held.next) {
            return Ok(false);
        }
        let next = held.next.as_ref().expect("it was just looked at");
        files::save_authority(&self.dir, Which::Current, next)?;
        held.authority = held.next.take();
        files::remove_authority(&self.dir, Which::Next)?;
        Ok(true)
    }

    /// Gives the node a certificate of the current authority if it has one of another;
    /// whether that is news.
    ///
    /// # Errors
    /// `NoAuthority`; `Make`; `File`.
    pub fn show_current(&self, node: NodeId, names: &[String]) -> Result<bool, PkiError> {
        {
            let held = self.held.read();
            if held.authority()?.issued(&held.identity) {
                return Ok(false);
            }
        }
        self.renew(node, names)?;
        Ok(true)
    }

    /// Forgets the authority before the current one: its root is no way to this node any more.
    /// Whether that is news.
    ///
    /// # Errors
    /// `NoAuthority`; `File`, `Malformed`, `WrongKey`.
    pub fn settle(&self) -> Result<bool, PkiError> {
        let mut held = self.held.write();
        let mut news = false;
        if held.authority()?.is_bridged() {
            let mut settled = Authority::from_pem(&held.authority()?.to_pem())?;
            settled.settle();
            files::save_authority(&self.dir, Which::Current, &settled)?;
            held.authority = Some(settled);
            news = true;
        }
        let authority = held.authority()?;
        if authority.issued(&held.identity) {
            let identity = authority.rechained(&held.identity);
            if identity.chain() != held.identity.chain() {
                files::save_identity(&self.dir, IDENTITY, &identity)?;
                held.identity = identity;
                news = true;
            }
        }
        Ok(news)
    }

    /// When the node's own certificate should be renewed.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn facts(&self) -> Result<Facts, PkiError> {
        self.held.read().identity.facts()
    }
}
