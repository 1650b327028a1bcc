//! One attempt: what it has read, and what it is to write.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tonic::Status;

use crate::{
    Client, Error, IntoBytes,
    proto::{
        CommitWritesRequest, FoundKey, ReadKey, ReadKeysRequest, ScanPrefixRequest, ScannedPrefix,
        WriteKey, write_key::What,
    },
};

/// Keys that one transaction reads and writes.
const KEYS_MAX: usize = 10_000;

/// A key as it was read: where it stood, and its value.
#[derive(Clone, Debug)]
struct Seen {
    version: u64,
    value: Option<Bytes>,
}

/// A transaction that is not committed yet. It sees what it has written itself, and each key as
/// it was when it was read first. Clones are the same.
#[derive(Clone, Debug)]
pub struct Transaction {
    client: Client,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    seen: BTreeMap<Bytes, Seen>,
    scanned: BTreeMap<Bytes, BTreeSet<Bytes>>,
    /// None removes the key.
    writes: BTreeMap<Bytes, Option<Bytes>>,
}

fn refused(status: Status) -> Error {
    Error::Refused(Box::new(status))
}

impl Transaction {
    pub(crate) fn new(client: Client) -> Transaction {
        Transaction {
            client,
            state: Arc::default(),
        }
    }

    /// The value of a key; none, if it is not there.
    ///
    /// # Errors
    /// [`Error::Refused`]: a node does not tell; the key holds something else than a string.
    pub async fn get(&self, key: impl IntoBytes) -> Result<Option<Bytes>, Error> {
        let key = key.into_bytes();
        if let Some(known) = self.state.lock().known(&key) {
            return Ok(known);
        }
        let client = &self.client;
        let read = client.until_answered(|| {
            let request = client.request(ReadKeysRequest {
                database: client.database,
                keys: vec![key.clone()],
            });
            let mut txn = client.txn.clone();
            async move { txn.read_keys(request).await }
        });
        let found = read.await.map_err(refused)?.into_inner().found;
        let mut state = self.state.lock();
        for found in found {
            state.see(found);
        }
        let known = state.known(&key);
        known.ok_or_else(|| refused(Status::internal("a node told of another key")))
    }

    /// All keys whose names begin so, with their values, in the order of their names. One that
    /// holds a whole `{hash tag}` is looked for in one place; any other in all, and the commit
    /// locks all of them for a moment.
    ///
    /// # Errors
    /// [`Error::Refused`]: as for [`get`](Self::get); there are more than 10,000.
    pub async fn scan(&self, prefix: impl IntoBytes) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let prefix = prefix.into_bytes();
        let is_known = self.state.lock().scanned.contains_key(&prefix);
        if !is_known {
            let client = &self.client;
            let scan = client.until_answered(|| {
                let request = client.request(ScanPrefixRequest {
                    database: client.database,
                    prefix: prefix.clone(),
                });
                let mut txn = client.txn.clone();
                async move { txn.scan_prefix(request).await }
            });
            let found = scan.await.map_err(refused)?.into_inner().found;
            let names = found.iter().map(|found| found.key.clone()).collect();
            let mut state = self.state.lock();
            for found in found {
                state.see(found);
            }
            state.scanned.entry(prefix.clone()).or_insert(names);
        }
        let state = self.state.lock();
        let names = state.scanned.get(&prefix).into_iter().flatten();
        let seen = names.filter_map(|name| {
            let value = state.seen.get(name)?.value.clone()?;
            Some((name.clone(), Some(value)))
        });
        // What it has written itself comes over what it has read.
        let mut all: BTreeMap<Bytes, Option<Bytes>> = seen.collect();
        for (name, written) in &state.writes {
            if name.starts_with(&prefix) {
                all.insert(name.clone(), written.clone());
            }
        }
        let there = all.into_iter();
        Ok(there
            .filter_map(|(name, value)| Some((name, value?)))
            .collect())
    }

    /// Gives a key a value, in the place of whatever is there, once it is committed.
    pub fn put(&self, key: impl IntoBytes, value: impl IntoBytes) {
        let (key, value) = (key.into_bytes(), value.into_bytes());
        self.state.lock().writes.insert(key, Some(value));
    }

    /// Removes a key, once it is committed.
    pub fn delete(&self, key: impl IntoBytes) {
        self.state.lock().writes.insert(key.into_bytes(), None);
    }

    /// What is asked of a node; none, if there is nothing to be asked.
    pub(crate) fn into_request(
        self,
        database: u32,
        name: &[u8],
    ) -> Result<Option<CommitWritesRequest>, Error> {
        let state = std::mem::take(&mut *self.state.lock());
        // What was found by its prefix was read, too.
        let scanned = state.scanned.values().flatten();
        let scanned = scanned.filter(|key| !state.seen.contains_key(*key)).count();
        if state.seen.len() + scanned + state.writes.len() > KEYS_MAX {
            return Err(Error::TooLarge(
                "a transaction reads and writes up to 10,000 keys",
            ));
        }
        if state.seen.is_empty() && state.scanned.is_empty() && state.writes.is_empty() {
            return Ok(None);
        }
        let only_reads = state.writes.is_empty();
        let read = state.seen.into_iter().map(|(key, seen)| ReadKey {
            key,
            version: seen.version,
        });
        let scanned = state
            .scanned
            .into_iter()
            .map(|(prefix, keys)| ScannedPrefix {
                prefix,
                keys: keys.into_iter().collect(),
            });
        let writes = state.writes.into_iter().map(|(key, value)| WriteKey {
            key,
            what: Some(match value {
                Some(value) => What::Put(value),
                None => What::Delete(true),
            }),
        });
        Ok(Some(CommitWritesRequest {
            database,
            read: read.collect(),
            scanned: scanned.collect(),
            writes: writes.collect(),
            // What only reads may be done twice.
            idempotency_key: match only_reads {
                true => Bytes::new(),
                false => Bytes::copy_from_slice(name),
            },
        }))
    }
}

impl State {
    /// The value of a key, if it was written or read.
    fn known(&self, key: &Bytes) -> Option<Option<Bytes>> {
        let written = self.writes.get(key).cloned();
        written.or_else(|| self.seen.get(key).map(|seen| seen.value.clone()))
    }

    /// What was read first counts: whatever came after it is found out by the commit.
    fn see(&mut self, found: FoundKey) {
        let value = found.exists.then_some(found.value);
        let version = found.version;
        let seen = self.seen.entry(found.key);
        seen.or_insert(Seen { version, value });
    }
}
