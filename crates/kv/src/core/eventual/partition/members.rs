//! Who keeps the partition, what this replica knows of them, and whether it may still speak as one
//! of them.

use std::collections::BTreeSet;

use atoll_base::id::ReplicaId;

use super::{Partition, Record};
use crate::core::{data::Milliseconds, eventual::membership::Members};

impl Partition {
    /// By how much its clock is, or was, ahead of the others', in milliseconds, if that is more
    /// than they take: it takes no writes then.
    pub fn ahead_ms(&self, now_ms: Milliseconds) -> Option<u64> {
        let members = self.membership.members().replicas.len();
        self.complaints
            .ahead_ms(members, self.replica.last(), now_ms)
    }

    /// Whether others know a newer configuration than this replica has heard of: it takes no
    /// commands until it has, since it may have no part in that one.
    pub fn is_behind(&self) -> bool {
        self.heard > self.membership.number()
    }

    /// Whether the members that leave may go, as far as is known here: those that stay and are
    /// `reached` lack nothing that the members had before, and each that leaves and is reached,
    /// which takes no commands since it knows this configuration, has given all that it has to
    /// one of them.
    pub fn may_shrink(
        &self,
        staying: &BTreeSet<ReplicaId>,
        reached: impl Fn(ReplicaId) -> bool,
    ) -> bool {
        let own = self.replica.id();
        let is_filled = |member: ReplicaId| match member == own {
            true => self.is_filled,
            false => self.filled.contains(&member),
        };
        let is_reached = |member: ReplicaId| member == own || reached(member);
        let filled: Vec<ReplicaId> = staying
            .iter()
            .copied()
            .filter(|it| is_filled(*it))
            .collect();
        let members = &self.membership.members().replicas;
        let has_given = |leaving: ReplicaId| {
            let mut holders = filled.iter();
            holders.any(|holder| !self.membership.mark_of(*holder, leaving).is_zero())
        };
        let all_filled = staying.iter().all(|it| is_filled(*it) || !is_reached(*it));
        let mut leaving = members.difference(staying).copied();
        !filled.is_empty()
            && all_filled
            && leaving.all(|leaving| !is_reached(leaving) || has_given(leaving))
    }

    /// By how much this replica may be behind a peer, in milliseconds: it has all that the peer
    /// had so long ago. None while they have not exchanged anything yet.
    pub fn behind_ms(&self, peer: ReplicaId, now_ms: Milliseconds) -> Option<u64> {
        let mark = self.membership.mark(peer);
        (!mark.is_zero()).then(|| now_ms.saturating_sub(mark.ms()))
    }

    /// Hears of who keeps the partition; an older configuration than the one known says nothing.
    /// The caller lets a replica go that is no member any more.
    pub fn configure(&mut self, members: Members, now_ms: Milliseconds) {
        let before = self.membership.members().clone();
        if !self.membership.configure(members.clone()) {
            return;
        }
        self.filled.clear();
        self.since
            .retain(|member, _| members.replicas.contains(member));
        let is_next = members.number.0 == before.number.0 + 1;
        for member in &members.replicas {
            // In a configuration that was not heard of any of them may have left.
            if !is_next || !before.replicas.contains(member) {
                self.since.insert(*member, members.number);
            }
        }
        self.record(Record::Members(members));
        self.complaints.retain(|member| self.membership.has(member));
        self.session = None;
        self.next_sync_ms = now_ms;
        self.hints.retain(|member| self.membership.has(member));
        let effects = self.quorum.retain(|member| self.membership.has(member));
        self.perform(effects, now_ms);
    }
}
