//! The control plane's own keyspace as the log of decisions.
//!
//! A record is the value of one key, its version that key's `mod_revision`: growing, never given
//! twice, and compared when a write is applied, so that the first of two coordinators wins. A
//! proposal is applied once, whoever leads when; so a write whose answer was lost is done once or
//! never, which is what the core asks for. Each node follows the keys by a watch.
//!
//! The keys name the cluster: one that was made from another's snapshot must not speak in its
//! name to databases and services that the other still uses.

use std::{sync::Arc, time::Duration};

use atoll_base::id::{ClusterId, NodeId};
use atoll_control::{
    api::{BothReply, ControlApi, Watches as _},
    core::error::Error,
    driver::{
        swap::{swap_at, swap_with},
        system_identity,
    },
    proto::{
        etcdserverpb::{self as pb, watch_request::RequestUnion},
        mvccpb::{KeyValue, event::EventType},
    },
};
use atoll_world::{
    clock,
    peers::{Handler, PeerError, Peers, Reply, Service},
};
use bytes::Bytes;

use super::{
    cluster::{Cluster, Unclear, Written},
    index::Index,
};
use crate::core::global::{Place, Record, TransactionId, Version, keys};

/// Says that a node is there.
const SERVICE: Service = Service(48);
/// So many records are read at a time.
const PAGE: i64 = 500;
/// How long to wait when the log can't be followed.
const REST: Duration = Duration::from_millis(500);

/// The control plane, for coordinators. Clones are the same.
#[derive(Clone)]
pub struct Decisions<C> {
    control: C,
    peers: Arc<dyn Peers>,
    node: NodeId,
    prefix: Arc<str>,
}

/// Answers that this node is there.
struct Here;

impl Handler for Here {
    fn handle(&self, _: NodeId, _: Bytes, reply: Reply) {
        reply.send(Bytes::new());
    }
}

impl<C: ControlApi> Decisions<C> {
    /// Of this node of this cluster; begins to answer other nodes that look for it.
    pub fn new(control: C, peers: Arc<dyn Peers>, cluster: ClusterId, node: NodeId) -> Self {
        peers.serve(SERVICE, Arc::new(Here));
        Decisions {
            control,
            peers,
            node,
            prefix: format!("/atoll/txn/{cluster}/records/").into(),
        }
    }

    fn key(&self, id: TransactionId) -> Bytes {
        format!("{}{id}", self.prefix).into()
    }

    fn range_end(&self) -> Bytes {
        let mut end = self.prefix.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            // A slash, which is not the highest byte.
            *last += 1;
        }
        end.into()
    }

    /// The id in a key.
    fn id_in(&self, key: &[u8]) -> Option<TransactionId> {
        let digits = key.strip_prefix(self.prefix.as_bytes())?;
        let digits = std::str::from_utf8(digits).ok()?;
        u128::from_str_radix(digits, 16).ok().map(TransactionId)
    }

    fn read_record(&self, kv: KeyValue) -> Option<(Version, Record)> {
        let id = self.id_in(&kv.key);
        match Record::decode(kv.value) {
            Ok(record) if Some(record.id) == id => Some((version(kv.mod_revision), record)),
            Ok(record) => {
                tracing::error!(key = ?kv.key, id = %record.id, "a transaction is kept under another one's key");
                None
            }
            Err(error) => {
                tracing::error!(key = ?kv.key, %error, "a transaction can't be read; was it written by a newer version?");
                None
            }
        }
    }

    /// Writes a record with what keys of the control plane are to do.
    async fn write_with(
        &self,
        id: TransactionId,
        swapped: (&Bytes, i64),
        value: Bytes,
        parts: &[(Place, Bytes)],
    ) -> Result<Written, Unclear> {
        let mut asked = Vec::with_capacity(parts.len());
        for (place, payload) in parts {
            match keys::parse(payload) {
                Ok(part) => asked.push(part),
                Err(error) => {
                    tracing::error!(%id, %place, %error, "keys can't take part");
                    return Ok(Written::Refused(*place));
                }
            }
        }
        let done = swap_with(&self.control, swapped, value, asked).await;
        match done.map_err(|error| unclear(&error))? {
            (BothReply::Done, revision) => Ok(Written::At(version(revision.0))),
            (BothReply::Changed, _) => Ok(Written::Changed),
            (BothReply::Refused { part, error }, _) => {
                let place = parts.get(part).map(|(place, _)| *place);
                let place = place.ok_or_else(|| Unclear("a part that is not there".to_owned()))?;
                match error {
                    Some(error) => tracing::info!(%id, %place, %error, "keys can't be written"),
                    None => tracing::debug!(%id, %place, "keys are not as compared"),
                }
                Ok(Written::Refused(place))
            }
        }
    }

    /// Reads everything, then what changes; returns when it has to be read anew.
    async fn follow_once(&self, index: &Index) -> Result<(), Error> {
        let (mut key, mut revision) = (Bytes::from(self.prefix.to_string()), 0);
        let mut records = Vec::new();
        loop {
            let request = pb::RangeRequest {
                key: key.clone(),
                range_end: self.range_end(),
                limit: PAGE,
                revision,
                serializable: true,
                ..pb::RangeRequest::default()
            };
            let page = self.control.range(system_identity(), request).await?;
            if revision == 0 {
                revision = page.header.map_or(0, |header| header.revision);
            }
            if let Some(last) = page.kvs.last() {
                key = [&last.key[..], &[0]].concat().into();
            }
            let read = page.kvs.into_iter();
            records.extend(read.filter_map(|kv| self.read_record(kv)));
            if !page.more {
                break;
            }
        }
        index.replace(records.into_iter());
        let mut watches = self.control.watch(system_identity());
        let create = pb::WatchCreateRequest {
            key: self.prefix.to_string().into(),
            range_end: self.range_end(),
            start_revision: revision + 1,
            ..pb::WatchCreateRequest::default()
        };
        let request_union = Some(RequestUnion::CreateRequest(create));
        watches.request(pb::WatchRequest { request_union }).await?;
        loop {
            let news = watches.next().await;
            for event in news.events {
                let is_put = event.r#type() == EventType::Put;
                let Some(kv) = event.kv else { continue };
                if !is_put {
                    if let Some(id) = self.id_in(&kv.key) {
                        index.remove(id);
                    }
                } else if let Some((version, record)) = self.read_record(kv) {
                    index.put(version, &record);
                }
            }
            if news.canceled {
                tracing::debug!(
                    reason = news.cancel_reason,
                    "the log of transactions is read anew"
                );
                return Ok(());
            }
        }
    }
}

fn version(revision: i64) -> Version {
    Version(revision.unsigned_abs())
}

fn unclear(error: &Error) -> Unclear {
    Unclear(error.to_string())
}

impl<C: ControlApi> Cluster for Decisions<C> {
    async fn write(
        &self,
        id: TransactionId,
        expected: Version,
        record: Option<&Record>,
        parts: &[(Place, Bytes)],
    ) -> Result<Written, Unclear> {
        let key = self.key(id);
        let expected = i64::try_from(expected.0).unwrap_or(i64::MAX);
        let value = record.map(Record::encode);
        if let Some(value) = value.clone().filter(|_| !parts.is_empty()) {
            return self.write_with(id, (&key, expected), value, parts).await;
        }
        let written = swap_at(&self.control, &key, expected, value).await;
        let written = written.map_err(|error| unclear(&error))?;
        Ok(match written {
            Some(revision) => Written::At(version(revision.0)),
            None => Written::Changed,
        })
    }

    async fn read(&self, id: TransactionId) -> Result<Option<(Version, Record)>, Unclear> {
        let request = pb::RangeRequest {
            key: self.key(id),
            ..pb::RangeRequest::default()
        };
        let found = self.control.range(system_identity(), request).await;
        let found = found.map_err(|error| unclear(&error))?.kvs.pop();
        let Some(kv) = found else { return Ok(None) };
        // To take it for none would have it presumed to be aborted.
        let read = self.read_record(kv);
        read.map(Some)
            .ok_or_else(|| Unclear("its record can't be read".to_owned()))
    }

    async fn follow(&self, index: Arc<Index>) {
        loop {
            if let Err(error) = self.follow_once(&index).await {
                tracing::debug!(%error, "the log of transactions can't be followed");
            }
            clock::sleep(REST).await;
        }
    }

    fn leads(&self) -> bool {
        self.control.standing().leader == Some(self.node)
    }

    async fn is_alive(&self, node: NodeId) -> bool {
        match self.peers.call(node, SERVICE, Bytes::new()).await {
            // One that does not know the question is there, too.
            Ok(_) | Err(PeerError::Refused(_) | PeerError::Full(_)) => true,
            Err(_) => false,
        }
    }
}
