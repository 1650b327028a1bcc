//! The vault: values in the log that only the cluster's members can read. A value is sealed with
//! one of the cluster's own keys, which lie in the log under `/atoll/vault/keys`, sealed
//! themselves with the authority's key: every member holds that, in a file, and no snapshot or
//! backup does.
//!
//! A sealed value is a version, the number of its key, and what [`SealingKey::seal`] gives. It is
//! bound to the key that it is stored under.
//!
//! When the authority is replaced, the keys are sealed for the new one before anybody turns to
//! it ([`seal_for`]), and no more for the old one once that is dropped ([`forget`]). In a cluster
//! that was restored without its authority, old values stay shut; new ones get a new key.

use std::collections::BTreeMap;

use atoll_world::pki::{Fingerprint, Keyring, PkiError, sealing::SealingKey};
use bytes::Bytes;
use parking_lot::RwLock;
use prost::Message as _;

use super::{swap::swap, system_identity};
use crate::{
    api::ControlApi,
    core::error::Error,
    proto::{
        cluster::{StoredVault, stored_vault},
        etcdserverpb as pb,
    },
};

const KEYS: &str = "/atoll/vault/keys";
/// The version of [`StoredVault`].
const VERSION: u32 = 1;
/// The version of a sealed value.
const VALUE_VERSION: u8 = 1;
/// What stands before what the sealing key gives: the version and the number of the key.
const HEAD_BYTES: usize = 5;
/// So often others may come before when the keys are changed.
const ATTEMPTS_MAX: usize = 8;

/// Why a value is not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// This node holds no authority.
    #[error("this node does not hold the cluster's authority, so it can't open what is sealed")]
    NoAuthority,
    /// It is in a form that this program does not know.
    #[error("it is sealed in a way that this version does not know")]
    Version,
    /// The key is not there, or not for an authority that this node holds.
    #[error(
        "it is sealed with key {id}, which this cluster can't open: was it restored without its authority?"
    )]
    UnknownKey {
        /// The number of the key.
        id: u32,
    },
    /// It does not belong here, or was changed.
    #[error("a sealed value is damaged, or was moved from elsewhere")]
    Damaged,
    /// The keys can't be read.
    #[error("the keys of the vault can't be read: {0}")]
    Keys(#[from] prost::DecodeError),
    /// Others change the keys all the time.
    #[error("the keys of the vault are being changed; try again")]
    Changed,
    /// The cluster's.
    #[error(transparent)]
    Cluster(#[from] Error),
    /// The keyring's.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// The keys that this node has opened.
#[derive(Debug, Default)]
pub struct Vault {
    keys: RwLock<BTreeMap<u32, SealingKey>>,
}

impl Vault {
    /// Opens the keys that are in the log, as far as this node has it.
    ///
    /// # Errors
    /// Those of the cluster; `Keys`, `NoAuthority`.
    pub async fn load<C: ControlApi>(&self, control: &C) -> Result<(), VaultError> {
        let (_, stored) = read(control, true).await?;
        self.take(control, &stored)
    }

    fn take<C: ControlApi>(&self, control: &C, stored: &StoredVault) -> Result<(), VaultError> {
        if stored.keys.is_empty() {
            return Ok(());
        }
        let keyring = control.keyring().ok_or(VaultError::NoAuthority)?;
        let opened = stored
            .keys
            .iter()
            .filter_map(|key| Some((key.id, opened(key, &keyring)?)));
        self.keys.write().extend(opened);
        Ok(())
    }

    /// Sees to it that there is a key to seal with.
    ///
    /// # Errors
    /// Those of the cluster; `Keys`, `NoAuthority`, `Changed`.
    pub async fn prepare<C: ControlApi>(&self, control: &C) -> Result<(), VaultError> {
        for _ in 0..ATTEMPTS_MAX {
            if !self.keys.read().is_empty() {
                return Ok(());
            }
            let (revision, mut stored) = read(control, false).await?;
            self.take(control, &stored)?;
            if !self.keys.read().is_empty() {
                return Ok(());
            }
            let keyring = control.keyring().ok_or(VaultError::NoAuthority)?;
            let key = SealingKey::random();
            let last = stored.keys.iter().map(|key| key.id).max();
            let id = last.map_or(1, |last| last + 1);
            let held = keyring.standing()?.held;
            let sealed = held
                .into_iter()
                .filter_map(|root| sealed(id, &key, root, &keyring));
            stored.keys.push(stored_vault::Key {
                id,
                sealed: sealed.collect(),
            });
            if write(control, revision, &stored).await? {
                tracing::info!(id, "the cluster has a key to seal its secrets with");
                self.keys.write().insert(id, key);
            }
        }
        Err(VaultError::Changed)
    }

    /// Seals a value that is to be stored under a key; [`Vault::prepare`] comes first.
    ///
    /// # Errors
    /// `UnknownKey`: there is no key.
    pub fn seal(&self, stored_under: &[u8], value: &[u8]) -> Result<Bytes, VaultError> {
        let keys = self.keys.read();
        let newest = keys.last_key_value();
        let (id, key) = newest.ok_or(VaultError::UnknownKey { id: 0 })?;
        let mut all = vec![VALUE_VERSION];
        all.extend_from_slice(&id.to_be_bytes());
        all.extend_from_slice(&key.seal(stored_under, value));
        Ok(all.into())
    }

    /// Whether a sealed value wants a key that was not opened yet: [`Vault::load`] may help.
    pub fn lacks_key_of(&self, sealed: &[u8]) -> bool {
        key_of(sealed).is_some_and(|id| !self.keys.read().contains_key(&id))
    }

    /// Opens a value that is stored under a key.
    ///
    /// # Errors
    /// `UnknownKey`: [`Vault::load`] may help; `Version`, `Damaged`.
    pub fn open(&self, stored_under: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        if sealed.first() != Some(&VALUE_VERSION) {
            return Err(VaultError::Version);
        }
        let id = key_of(sealed).ok_or(VaultError::Damaged)?;
        let keys = self.keys.read();
        let key = keys.get(&id).ok_or(VaultError::UnknownKey { id })?;
        let opened = key.open(stored_under, &sealed[HEAD_BYTES..]);
        opened
            .map(|value| value.to_vec())
            .map_err(|_| VaultError::Damaged)
    }
}

/// The number of the key that a value is sealed with.
fn key_of(sealed: &[u8]) -> Option<u32> {
    let id = sealed.get(1..HEAD_BYTES)?;
    id.try_into().ok().map(u32::from_be_bytes)
}

/// Seals the keys for an authority that shall take the place of another; it must be held.
///
/// # Errors
/// Those of the cluster; `Keys`, `NoAuthority`, `Changed`.
pub(super) async fn seal_for<C: ControlApi>(
    control: &C,
    keyring: &Keyring,
    root: Fingerprint,
) -> Result<(), VaultError> {
    change(control, |key| {
        if key.sealed.iter().any(|it| it.root[..] == root.0) {
            return Ok(());
        }
        // One that can't be opened here is of no use to the new authority either.
        let Some(open) = opened(key, keyring) else {
            return Ok(());
        };
        let sealed = sealed(key.id, &open, root, keyring);
        key.sealed.push(sealed.ok_or(VaultError::NoAuthority)?);
        Ok(())
    })
    .await
}

/// Takes away what an authority could open that is trusted no more.
///
/// # Errors
/// Those of the cluster; `Keys`, `Changed`.
pub(super) async fn forget<C: ControlApi>(
    control: &C,
    root: Fingerprint,
) -> Result<(), VaultError> {
    change(control, |key| {
        // The last way to open a key is never taken.
        if key.sealed.iter().any(|it| it.root[..] != root.0) {
            key.sealed.retain(|it| it.root[..] != root.0);
        }
        Ok(())
    })
    .await
}

async fn change<C: ControlApi>(
    control: &C,
    mut one: impl FnMut(&mut stored_vault::Key) -> Result<(), VaultError>,
) -> Result<(), VaultError> {
    for _ in 0..ATTEMPTS_MAX {
        let (revision, stored) = read(control, false).await?;
        let mut new = stored.clone();
        new.keys.iter_mut().try_for_each(&mut one)?;
        if new == stored || write(control, revision, &new).await? {
            return Ok(());
        }
    }
    Err(VaultError::Changed)
}

fn opened(key: &stored_vault::Key, keyring: &Keyring) -> Option<SealingKey> {
    key.sealed.iter().find_map(|sealed| {
        let root = Fingerprint(<[u8; 32]>::try_from(&sealed.root[..]).ok()?);
        let authority = keyring.sealing_key(root)?;
        let bytes = authority.open(&context(key.id), &sealed.key).ok()?;
        SealingKey::from_bytes(&bytes)
    })
}

fn sealed(
    id: u32,
    key: &SealingKey,
    root: Fingerprint,
    keyring: &Keyring,
) -> Option<stored_vault::Sealed> {
    let authority = keyring.sealing_key(root)?;
    Some(stored_vault::Sealed {
        root: Bytes::copy_from_slice(&root.0),
        key: authority.seal(&context(id), key.bytes()).into(),
    })
}

fn context(id: u32) -> Vec<u8> {
    [KEYS.as_bytes(), &id.to_be_bytes()].concat()
}

async fn read<C: ControlApi>(
    control: &C,
    serializable: bool,
) -> Result<(i64, StoredVault), VaultError> {
    let request = pb::RangeRequest {
        key: KEYS.into(),
        serializable,
        ..pb::RangeRequest::default()
    };
    let found = control.range(system_identity(), request).await?.kvs.pop();
    let Some(found) = found else {
        return Ok((0, StoredVault::default()));
    };
    let stored = StoredVault::decode(found.value)?;
    match stored.version {
        VERSION => Ok((found.mod_revision, stored)),
        _ => Err(VaultError::Version),
    }
}

async fn write<C: ControlApi>(
    control: &C,
    revision: i64,
    stored: &StoredVault,
) -> Result<bool, VaultError> {
    let stored = StoredVault {
        version: VERSION,
        keys: stored.keys.clone(),
    };
    let value = Some(stored.encode_to_vec().into());
    Ok(swap(control, &KEYS.into(), revision, value).await?)
}
