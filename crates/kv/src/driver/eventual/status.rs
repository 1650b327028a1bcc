//! How far behind replicas may be: told to whoever looks at this node.

use std::{collections::BTreeMap, sync::Arc};

use atoll_world::clock;
use parking_lot::Mutex;

use super::Eventual;
use crate::{api::EventualStatus, core::keyspaces::KeyspaceNumber};

/// How often it is told, in milliseconds.
const TELL_EVERY_MS: u64 = 1_000;

/// What shards told of their rooms. Clones are the same.
#[derive(Clone, Default)]
pub(in crate::driver) struct Standing(Arc<Mutex<BTreeMap<usize, OfShard>>>);

type OfShard = BTreeMap<KeyspaceNumber, EventualStatus>;

impl Standing {
    /// Of each keyspace that is held here.
    pub(in crate::driver) fn all(&self) -> BTreeMap<KeyspaceNumber, EventualStatus> {
        let mut all = OfShard::new();
        for shard in self.0.lock().values() {
            for (keyspace, status) in shard {
                all.entry(*keyspace).or_default().add(status);
            }
        }
        all
    }
}

/// How often it is said that the clock is wrong, in milliseconds.
const COMPLAIN_EVERY_MS: u64 = 60_000;

impl Eventual {
    /// Says what to do about a clock that is ahead.
    fn complain_of_clock(&mut self, ahead_ms: u64, now_ms: u64) {
        if now_ms < self.complain_at_ms {
            return;
        }
        self.complain_at_ms = now_ms + COMPLAIN_EVERY_MS;
        tracing::error!(
            shard = self.tools.number,
            ahead_ms,
            "this node's clock is, or was, ahead of the others': it takes no writes in eventual keyspaces. Set the clock right (is NTP running?); once real time has caught up with what the node has written it goes on by itself. If that is too long, remove the node from the cluster and join it anew with an empty folder: what only it has is lost then"
        );
    }

    pub(super) fn tell_status(&mut self, now_ms: u64) {
        if now_ms < self.status_at_ms {
            return;
        }
        self.status_at_ms = now_ms + TELL_EVERY_MS;
        let wall_ms = clock::wall_ms();
        let ahead = self.rooms.values();
        let ahead_ms = ahead
            .filter_map(|room| room.partition.ahead_ms(wall_ms))
            .max();
        if let Some(ahead_ms) = ahead_ms {
            self.complain_of_clock(ahead_ms, now_ms);
        }
        let mut all = OfShard::new();
        for (id, room) in &self.rooms {
            let (partition, replica) = (&room.partition, room.partition.replica());
            let mut status = EventualStatus {
                partitions: 1,
                filling: u64::from(!partition.is_filled()),
                keys: replica.len() as u64,
                bytes: replica.bytes() as u64,
                tombstones: replica.uncollected() as u64,
                hints_bytes: partition.hints().bytes() as u64,
                hints_dropped: partition.hints().dropped(),
                ..EventualStatus::default()
            };
            for member in partition.membership().others() {
                let behind_ms = partition.behind_ms(member, wall_ms);
                status.unknown += u64::from(behind_ms.is_none());
                let behind_ms = behind_ms.unwrap_or(wall_ms.saturating_sub(room.since_ms));
                status.behind_ms = status.behind_ms.max(behind_ms);
            }
            all.entry(id.keyspace).or_default().add(&status);
        }
        self.tools.standing.0.lock().insert(self.tools.number, all);
    }
}
