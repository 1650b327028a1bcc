//! Objects in the control plane: each is the value of one key, as JSON, and its resourceVersion
//! is that key's `mod_revision`. Nothing is written but by compare and swap.
//!
//! A value carries its version as every object does: in its `apiVersion`. Rights on objects are
//! rights on their keys. Secrets are sealed as a whole ([`atoll_control::driver::vault`]): here
//! alone they are opened.

mod encoding;
mod fence;
mod keys;
mod recent;

use std::sync::Arc;

use atoll_base::id::Revision;
use atoll_control::{
    api::{ControlApi, Reply},
    core::error::Error,
    driver::{
        system_identity,
        vault::{Vault, VaultError},
    },
    proto::{
        etcdserverpb::{
            self as pb,
            compare::{CompareResult, CompareTarget, TargetUnion},
            request_op::Request,
        },
        internal::command::Op,
        mvccpb::KeyValue,
    },
};
use bytes::Bytes;
use serde_json::{Value, json};

pub(crate) use self::{
    encoding::{encode, encode_marked, with_revision},
    keys::{PREFIX, key, key_after, name_in, prefix, range_end},
};
use self::{
    encoding::{read, unreadable},
    recent::Recent,
};
use crate::core::{
    kinds::{self, Kind},
    object::Name,
    status::{Failure, Reason},
};

/// An object as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// It, with its resourceVersion.
    pub(crate) object: Value,
    /// That, as a number.
    pub(crate) revision: i64,
}

/// A part of a list.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// The objects, in order of their keys.
    pub(crate) objects: Vec<Stored>,
    /// The key after the last one, if there are more.
    pub(crate) next: Option<Bytes>,
    /// How many more there are.
    pub(crate) left: i64,
    /// What the list shows.
    pub(crate) revision: i64,
}

/// One key of a write: as it has to be, and as it is to be.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Which.
    pub(crate) key: Bytes,
    /// Its revision now, 0: it is not there; none: whatever it is.
    pub(crate) expected: Option<i64>,
    /// What it gets; none of it: it goes; nothing said: it stays.
    pub(crate) to: To,
}

/// What becomes of a key.
#[derive(Clone, Debug)]
pub(crate) enum To {
    /// It stays as it is.
    Same,
    /// It goes.
    Gone,
    /// It gets this value.
    Value(Bytes),
}

/// Objects in the control plane. Clones are the same.
#[derive(Clone)]
pub(crate) struct Store<C> {
    control: C,
    vault: Arc<Vault>,
    recent: Arc<Recent>,
    /// What each write compares besides, if somebody has to lead for it.
    fence: Option<Arc<Change>>,
}

impl<C: ControlApi> Store<C> {
    pub(crate) fn new(control: C) -> Self {
        Store {
            control,
            vault: Arc::default(),
            recent: Arc::default(),
            fence: None,
        }
    }

    pub(crate) fn control(&self) -> &C {
        &self.control
    }

    /// An object as it is now.
    ///
    /// # Errors
    /// Those of the cluster; an object that can't be read.
    pub(crate) async fn get(&self, name: &Name) -> Result<Option<Stored>, Failure> {
        let found = self.value(key(name)).await?;
        if self.is_shut(found.iter()) {
            self.unlock().await.map_err(|error| failure(&error))?;
        }
        found.map(|kv| self.read(kv)).transpose()
    }

    /// A key's value as it is now.
    ///
    /// # Errors
    /// Those of the cluster.
    pub(crate) async fn value(&self, key: Bytes) -> Result<Option<KeyValue>, Failure> {
        let request = pb::RangeRequest {
            key,
            ..pb::RangeRequest::default()
        };
        let found = self.control.range(system_identity(), request).await;
        Ok(found.map_err(|error| failure(&error))?.kvs.pop())
    }

    /// An object as it was before a revision that this node has heard of.
    ///
    /// # Errors
    /// Those of the cluster; `Expired` if that is not kept any more; an object that can't be read.
    pub(crate) async fn before(
        &self,
        key: Bytes,
        revision: i64,
    ) -> Result<Option<Arc<Value>>, Failure> {
        let request = pb::RangeRequest {
            key,
            revision: revision - 1,
            serializable: true,
            ..pb::RangeRequest::default()
        };
        let found = self.control.range(system_identity(), request).await;
        let found = found.map_err(|error| failure(&error))?.kvs.pop();
        if self.is_shut(found.iter()) {
            self.unlock().await.map_err(|error| failure(&error))?;
        }
        found.map(|kv| self.read_change(kv)).transpose()
    }

    /// Where the keyspace of objects stands: whatever was written before this call is at or before
    /// that revision.
    ///
    /// # Errors
    /// Those of the cluster.
    pub(crate) async fn revision(&self) -> Result<i64, Failure> {
        let request = pb::RangeRequest {
            key: PREFIX.into(),
            count_only: true,
            ..pb::RangeRequest::default()
        };
        let found = self.control.range(system_identity(), request).await;
        let found = found.map_err(|error| failure(&error))?;
        Ok(found.header.map_or(0, |header| header.revision))
    }

    /// Objects of a kind, in all namespaces or in one; `from` a key, as of a revision (0: now),
    /// at most `limit` (0: all).
    ///
    /// # Errors
    /// Those of the cluster; `Expired` for a revision that is not kept any more.
    pub(crate) async fn list(
        &self,
        kind: &'static Kind,
        namespace: Option<&str>,
        from: Option<Bytes>,
        revision: i64,
        limit: i64,
    ) -> Result<Page, Failure> {
        let prefix = prefix(kind, namespace);
        let request = pb::RangeRequest {
            key: from.unwrap_or_else(|| prefix.clone().into()),
            range_end: range_end(&prefix),
            limit,
            revision,
            ..pb::RangeRequest::default()
        };
        let found = self.control.range(system_identity(), request).await;
        let found = found.map_err(|error| failure(&error))?;
        let standing = found.header.map_or(0, |header| header.revision);
        let next = found.kvs.last().filter(|_| found.more);
        let next = next.map(|last| Bytes::from([&last.key[..], &[0]].concat()));
        let shown = i64::try_from(found.kvs.len()).unwrap_or(i64::MAX);
        if self.is_shut(found.kvs.iter()) {
            self.unlock().await.map_err(|error| failure(&error))?;
        }
        let objects = found.kvs.into_iter().map(|kv| self.read(kv));
        Ok(Page {
            objects: objects.collect::<Result<_, _>>()?,
            next,
            left: found.count.saturating_sub(shown).max(0),
            revision: if revision == 0 { standing } else { revision },
        })
    }

    /// An object as this node knows it: perhaps not the newest.
    ///
    /// # Errors
    /// Those of the cluster; an object that can't be read.
    pub(crate) async fn known_one(&self, name: &Name) -> Result<Option<Arc<Value>>, Failure> {
        let request = pb::RangeRequest {
            key: key(name),
            serializable: true,
            ..pb::RangeRequest::default()
        };
        let found = self.control.range(system_identity(), request).await;
        let found = found.map_err(|error| failure(&error))?.kvs.pop();
        found.map(|kv| self.read_change(kv)).transpose()
    }

    /// All objects of a kind that has few, as this node knows them: perhaps not the newest.
    ///
    /// # Errors
    /// Those of the cluster.
    pub(crate) async fn known(&self, kind: &'static Kind) -> Result<Vec<Arc<Value>>, Failure> {
        let prefix = prefix(kind, None);
        let request = pb::RangeRequest {
            range_end: range_end(&prefix),
            key: prefix.into(),
            serializable: true,
            ..pb::RangeRequest::default()
        };
        let found = self.control.range(system_identity(), request).await;
        let found = found.map_err(|error| failure(&error))?;
        let objects = found.kvs.into_iter().map(|kv| self.read(kv));
        objects.map(|read| Ok(Arc::new(read?.object))).collect()
    }

    /// Writes all of it if every key is as expected, or nothing; the revision of the write.
    ///
    /// # Errors
    /// Those of the cluster, and `Conflict` if this store's [fence](Store::lead) is broken. After
    /// `Timeout` nobody knows whether it is done.
    pub(crate) async fn commit(&self, changes: &[Change]) -> Result<Option<i64>, Failure> {
        let sealed = prefix(&kinds::SECRETS, None);
        let is_secret = |change: &Change| change.key.starts_with(sealed.as_bytes());
        if changes.iter().any(is_secret) {
            let prepared = self.vault.prepare(&self.control).await;
            prepared.map_err(|error| shut(&error))?;
        }
        let seal = |change: &Change, value: &Bytes| match is_secret(change) {
            true => self.vault.seal(&change.key, value),
            false => Ok(value.clone()),
        };
        let unchanged = |change: &Change| {
            Some(pb::Compare {
                result: CompareResult::Equal.into(),
                target: CompareTarget::Mod.into(),
                key: change.key.clone(),
                range_end: Bytes::new(),
                target_union: Some(TargetUnion::ModRevision(change.expected?)),
            })
        };
        let written = changes.iter().filter_map(|change| {
            let key = change.key.clone();
            let request = match &change.to {
                To::Same => return None,
                To::Gone => Request::RequestDeleteRange(pb::DeleteRangeRequest {
                    key,
                    ..pb::DeleteRangeRequest::default()
                }),
                To::Value(value) => match seal(change, value) {
                    Ok(value) => Request::RequestPut(pb::PutRequest {
                        key,
                        value,
                        ..pb::PutRequest::default()
                    }),
                    Err(error) => return Some(Err(shut(&error))),
                },
            };
            Some(Ok(pb::RequestOp {
                request: Some(request),
            }))
        });
        let compared = changes.iter().chain(self.fence.as_deref());
        let txn = pb::TxnRequest {
            compare: compared.filter_map(unchanged).collect(),
            success: written.collect::<Result<_, _>>()?,
            failure: Vec::new(),
        };
        let applied = self.control.propose(system_identity(), Op::Txn(txn)).await;
        let applied = applied.map_err(|error| failure(&error))?;
        let Reply::Txn(response) = applied.reply else {
            unreachable!("a transaction is answered with {:?}", applied.reply)
        };
        if !response.succeeded {
            self.check_fence().await?;
            return Ok(None);
        }
        let Revision(revision) = applied.revision;
        Ok(Some(revision))
    }
}

impl<C: ControlApi> Store<C> {
    /// Whether one of these values wants a key of the vault that was not opened yet.
    pub(crate) fn is_shut<'a>(&self, mut kvs: impl Iterator<Item = &'a KeyValue>) -> bool {
        kvs.any(|kv| is_sealed(kv) && self.vault.lacks_key_of(&kv.value))
    }

    /// Opens the keys of the vault, as far as this cluster can.
    ///
    /// # Errors
    /// Those of the cluster: then it is not known what can be opened.
    pub(crate) async fn unlock(&self) -> Result<(), Error> {
        match self.vault.load(&self.control).await {
            Ok(()) => Ok(()),
            Err(VaultError::Cluster(error)) => Err(error),
            Err(error) => {
                tracing::error!(%error, "the keys of the vault can't be read");
                Ok(())
            }
        }
    }

    /// What a change brought: [`Store::read`] for those who hear of it at the same time.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn read_change(&self, kv: KeyValue) -> Result<Arc<Value>, Failure> {
        if is_sealed(&kv) {
            // What can't be opened now may be a moment later.
            return Ok(Arc::new(self.read(kv)?.object));
        }
        if let Some(object) = self.recent.get(&kv) {
            return Ok(object);
        }
        let object = Arc::new(read(&kv)?.object);
        self.recent.keep(&kv, &object);
        Ok(object)
    }

    /// An object that is kept; if it [is shut](Store::is_shut), [`Store::unlock`] comes first.
    /// One that was sealed by another cluster is there, and empty: so it can be replaced.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn read(&self, mut kv: KeyValue) -> Result<Stored, Failure> {
        if is_sealed(&kv) {
            kv.value = match self.vault.open(&kv.key, &kv.value) {
                Ok(value) => value.into(),
                Err(error @ VaultError::UnknownKey { .. }) => {
                    return shell(&kv, &error).ok_or_else(|| unreadable(&kv, &error.to_string()));
                }
                Err(error) => return Err(unreadable(&kv, &error.to_string())),
            };
        }
        read(&kv)
    }
}

/// The type of a Secret that can't be opened.
pub(crate) const SHUT: &str = "atoll.dev/shut";

/// What is known of an object that can't be opened.
fn shell(kv: &KeyValue, why: &VaultError) -> Option<Stored> {
    let name = name_in(&kv.key)?;
    let object = json!({
        "apiVersion": name.kind.api_version(), "kind": name.kind.kind, "type": SHUT,
        "metadata": {
            "name": name.name, "namespace": name.namespace,
            "annotations": {"atoll.dev/shut": why.to_string()},
        },
    });
    Some(Stored {
        object: with_revision(object, kv.mod_revision),
        revision: kv.mod_revision,
    })
}

/// Objects are JSON objects, unless they are sealed.
fn is_sealed(kv: &KeyValue) -> bool {
    !kv.value.is_empty() && kv.value[0] != b'{'
}

fn shut(error: &VaultError) -> Failure {
    match error {
        VaultError::Cluster(error) => failure(error),
        VaultError::Changed => {
            Failure::new(Reason::ServiceUnavailable, error.to_string()).retry_after(1)
        }
        error => Failure::internal(error.to_string()),
    }
}

/// What the control plane says, in the words of this API.
pub(crate) fn failure(error: &Error) -> Failure {
    let reason = match error {
        Error::Compacted => {
            return Failure::new(
                Reason::Expired,
                "The resourceVersion for the provided list or watch is too old.",
            );
        }
        Error::FutureRev => Reason::BadRequest,
        Error::RequestTooLarge | Error::TooManyOps => Reason::RequestEntityTooLarge,
        Error::PermissionDenied | Error::ReservedKey => Reason::Forbidden,
        Error::InvalidAuthToken | Error::AuthOldRevision | Error::UserEmpty => Reason::Unauthorized,
        Error::Timeout
        | Error::TimeoutDueToLeaderFail
        | Error::TimeoutDueToConnectionLost
        | Error::OutcomeUnknown
        | Error::DeadlineExceeded => Reason::Timeout,
        Error::RequestTooManyRequests | Error::LimitExceeded => {
            return Failure::new(Reason::TooManyRequests, error.to_string()).retry_after(1);
        }
        Error::NoLeader
        | Error::NotLeader
        | Error::LeaderChanged
        | Error::Stopped
        | Error::Unhealthy
        | Error::LoginsOff
        | Error::TimeoutWaitAppliedIndex => {
            return Failure::new(Reason::ServiceUnavailable, error.to_string()).retry_after(1);
        }
        _ => Reason::InternalError,
    };
    Failure::new(reason, error.to_string())
}
