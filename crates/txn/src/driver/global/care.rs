//! What nobody brings to its end: finds it in the index, and has the coordinator adopt it.
//!
//! A node looks after its own: what it owned when it ended it goes on with. The leader also looks
//! after what owners have left that are gone, or that do not keep their deadlines. What has ended
//! is deleted when clients had time to ask for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_world::clock;

use super::{
    actor::{Actor, Event, read},
    cluster::Cluster,
    index::Summary,
    stats,
};
use crate::core::global::{Record, TransactionId, Version, coordinator::Input, record::Phase};

/// So many transactions are looked after at a time; the others are found by the next look.
const FOUND_MAX: usize = 1_000;
/// An owner that was asked so often and gave no answer is gone.
const SILENT_MAX: u32 = 2;
/// What is late by so long somebody else looks after, too.
const LATE_MS: u64 = 30_000;

/// What is known of what others left behind.
#[derive(Debug, Default)]
pub(super) struct Care {
    /// Owners of what has not ended: how often each was silent, and whether it is being asked.
    owners: BTreeMap<NodeId, Owner>,
    /// Open transactions whose owner is gone: since when, in milliseconds of this node's clock.
    orphans: BTreeMap<TransactionId, (Version, u64)>,
    /// Those of which the log is being read, or that are being deleted.
    busy: BTreeSet<TransactionId>,
    /// When participants are asked next what they hold, in milliseconds of this node's clock.
    list_at_ms: u64,
    is_listing: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Owner {
    silent: u32,
    is_asked: bool,
}

/// What is done about a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Nothing.
    Nothing,
    /// It is gone on with.
    Adopt,
    /// The same, but nobody says any more that it is to be committed.
    GiveUp,
}

impl Care {
    /// An owner has answered, or has not.
    pub(super) fn answered(&mut self, node: NodeId, is_alive: bool) {
        if let Some(owner) = self.owners.get_mut(&node) {
            owner.is_asked = false;
            owner.silent = if is_alive { 0 } else { owner.silent + 1 };
        }
    }

    /// Participants have told what they hold.
    pub(super) fn has_listed(&mut self) {
        self.is_listing = false;
    }

    fn is_gone(&self, node: NodeId) -> bool {
        let owner = self.owners.get(&node);
        owner.is_some_and(|it| it.silent >= SILENT_MAX)
    }
}

impl<C: Cluster> Actor<C> {
    /// Looks for what nobody brings to its end.
    pub(super) fn look(&mut self) {
        if !self.index.is_complete() {
            return;
        }
        let (now_ms, leads) = (clock::wall_ms(), self.cluster.leads());
        let ended = self
            .index
            .ended_by(now_ms.saturating_sub(self.keep_ms), FOUND_MAX);
        for summary in ended {
            if self.may_delete(&summary, now_ms, leads) {
                self.delete(&summary);
            }
        }
        let mut wanted = Vec::new();
        let mut owners = BTreeSet::new();
        for summary in self.index.under_way(None, usize::MAX) {
            if summary.owner != self.node {
                if !leads {
                    continue;
                }
                owners.insert(summary.owner);
            }
            match self.want(&summary, now_ms) {
                Want::Nothing => {}
                want if wanted.len() < FOUND_MAX => wanted.push((summary.id, want)),
                _ => break,
            }
        }
        self.care.owners.retain(|node, _| owners.contains(node));
        for owner in owners {
            self.probe(owner);
        }
        let index = &self.index;
        let is_open = |id: TransactionId| index.get(id).is_some_and(|it| it.is_open());
        self.care.orphans.retain(|id, _| is_open(*id));
        for (id, want) in wanted {
            self.fetch(id, want == Want::GiveUp);
        }
        for (branch, name) in self.outside.found().into_iter().take(self.listed_max) {
            self.step(Input::Inquired { branch, name });
        }
        if leads && !self.care.is_listing && now_ms >= self.care.list_at_ms {
            self.care.is_listing = true;
            self.care.list_at_ms = now_ms.saturating_add(self.bounds.held_ms);
            let held = self.outside.held();
            self.spawn(async move { Event::Held(held.await) });
        }
    }

    /// Whether what has ended is this node's to delete: its own, and what an owner that is there
    /// would have deleted by now.
    fn may_delete(&self, it: &Summary, now_ms: u64, leads: bool) -> bool {
        let Phase::Ended { at_ms, .. } = it.phase else {
            return false;
        };
        let is_left = now_ms >= at_ms.saturating_add(self.keep_ms.saturating_mul(2));
        let is_ours = it.owner == self.node || (leads && is_left);
        is_ours && !self.care.busy.contains(&it.id)
    }

    fn want(&mut self, it: &Summary, now_ms: u64) -> Want {
        let is_own = it.owner == self.node;
        let is_gone = !is_own && self.care.is_gone(it.owner);
        if self.care.busy.contains(&it.id) {
            return Want::Nothing;
        }
        let is_late = now_ms >= it.deadline_ms.saturating_add(LATE_MS);
        if self.coordinator.drives(it.id) {
            self.care.orphans.remove(&it.id);
            return Want::Nothing;
        }
        if !is_own && !is_gone && !is_late {
            self.care.orphans.remove(&it.id);
            return Want::Nothing;
        }
        if !it.is_open() || now_ms >= it.deadline_ms {
            return Want::Adopt;
        }
        // Whoever asks for something of it at another node makes it that node's.
        let orphan = self.care.orphans.entry(it.id);
        let orphan = orphan.or_insert((it.version, now_ms));
        if orphan.0 != it.version {
            *orphan = (it.version, now_ms);
        }
        match now_ms >= orphan.1.saturating_add(self.bounds.orphan_ms) {
            true => Want::GiveUp,
            false => Want::Nothing,
        }
    }

    fn probe(&mut self, node: NodeId) {
        let owner = self.care.owners.entry(node).or_default();
        if owner.is_asked {
            return;
        }
        owner.is_asked = true;
        let cluster = self.cluster.clone();
        let limit = Duration::from_millis(self.bounds.alive_ms);
        self.spawn(async move {
            let asked = clock::timeout(limit, cluster.is_alive(node)).await;
            let is_alive = asked.unwrap_or(false);
            Event::Probed { node, is_alive }
        });
    }

    fn fetch(&mut self, id: TransactionId, is_over: bool) {
        self.care.busy.insert(id);
        let cluster = self.cluster.clone();
        self.spawn(async move {
            let found = read(&cluster, id).await;
            Event::Found { id, found, is_over }
        });
    }

    pub(super) fn found(
        &mut self,
        id: TransactionId,
        found: Option<(Version, Record)>,
        is_over: bool,
    ) {
        self.care.busy.remove(&id);
        let Some((version, mut record)) = found.filter(|(_, it)| !it.has_ended()) else {
            return;
        };
        if is_over && record.phase == Phase::Active {
            // Nobody says any more that it is to be committed.
            record.deadline_ms = record.deadline_ms.min(clock::wall_ms());
        }
        if !self.coordinator.drives(id) {
            stats::add(&self.stats.adopted);
            tracing::info!(%id, owner = %record.owner, phase = ?record.phase, "a transaction that nobody brings to its end is taken over");
        }
        self.step(Input::Adopt { version, record });
    }

    fn delete(&mut self, summary: &Summary) {
        let (id, version) = (summary.id, summary.version);
        self.care.busy.insert(id);
        let cluster = self.cluster.clone();
        self.spawn(async move {
            if let Err(error) = cluster.write(id, version, None, &[]).await {
                // The next look finds it again.
                tracing::debug!(%id, %error, "a transaction that has ended was not deleted");
            }
            Event::Found {
                id,
                found: None,
                is_over: false,
            }
        });
    }
}
