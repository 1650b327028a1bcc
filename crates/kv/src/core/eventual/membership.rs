//! Who keeps the partition, how far each has what the others have, and what follows: up to where
//! all have everything, and how far behind a replica is.
//!
//! Golding's timestamped anti-entropy ("Weak-consistency group communication and membership",
//! 1992, chapter 5): each replica keeps for each other a mark, a stamp of that other's clock, up
//! to which it has all that the other had; a finished exchange moves it. Told to everybody, these
//! rows are a matrix, and its least mark is a stamp up to which every member has everything:
//! what was written up to there was at its writer when the writer gave its mark, and whoever has
//! what the writer had has that. Nobody writes before its own mark, so nothing will be added.
//!
//! Marks are of one configuration. In a new one they begin anew: a replica that left may have
//! told some members what others have yet to hear, and a member takes nothing from it from the
//! moment on at which it knows of the configuration without it. So once all of the new members
//! have exchanged under the new configuration, what the one that left had told is everywhere or
//! nowhere. A dead member holds back the least mark for as long as it is a member.

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::{ConfigurationNumber, ReplicaId};

use super::clock::Stamp;

/// More members than these are refused.
pub const MEMBERS_MAX: usize = 64;

/// Who keeps the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// One higher with every change.
    pub number: ConfigurationNumber,
    /// At least one, at most [`MEMBERS_MAX`].
    pub replicas: BTreeSet<ReplicaId>,
}

/// Marks that one replica holds: up to where it has what each other had.
pub type Row = BTreeMap<ReplicaId, Stamp>;

/// The members with their marks, as one of them knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    own: ReplicaId,
    members: Members,
    rows: BTreeMap<ReplicaId, Row>,
}

impl Membership {
    /// Without any marks.
    pub fn new(own: ReplicaId, members: Members) -> Membership {
        let count = members.replicas.len();
        assert!((1..=MEMBERS_MAX).contains(&count), "{count} members");
        Membership {
            own,
            members,
            rows: BTreeMap::new(),
        }
    }

    /// The members.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The number of the configuration.
    pub fn number(&self) -> ConfigurationNumber {
        self.members.number
    }

    /// Whether this is a member.
    pub fn has(&self, replica: ReplicaId) -> bool {
        self.members.replicas.contains(&replica)
    }

    /// The members but this one.
    pub fn others(&self) -> impl Iterator<Item = ReplicaId> {
        let others = self.members.replicas.iter().copied();
        others.filter(|replica| *replica != self.own)
    }

    /// Whether a newer configuration came; marks begin anew.
    pub fn configure(&mut self, members: Members) -> bool {
        let is_newer = members.number > self.members.number;
        if is_newer {
            *self = Membership::new(self.own, members);
        }
        is_newer
    }

    /// An exchange has ended: this replica has all that `peer` had when it gave the mark, and
    /// both were of the configuration that is kept here.
    pub fn synced(&mut self, peer: ReplicaId, mark: Stamp) {
        let row = self.rows.entry(self.own).or_default();
        let held = row.entry(peer).or_default();
        *held = mark.max(*held);
    }

    /// Another member tells its marks.
    pub fn told(&mut self, peer: ReplicaId, number: ConfigurationNumber, row: &Row) {
        if number != self.members.number || !self.has(peer) {
            return;
        }
        let held = self.rows.entry(peer).or_default();
        for (replica, mark) in row {
            if self.members.replicas.contains(replica) {
                let held = held.entry(*replica).or_default();
                *held = (*mark).max(*held);
            }
        }
    }

    /// This replica's marks, to be told.
    pub fn row(&self) -> Row {
        self.rows.get(&self.own).cloned().unwrap_or_default()
    }

    /// Up to where this replica has what a peer had: how far behind it is, at most.
    pub fn mark(&self, peer: ReplicaId) -> Stamp {
        self.mark_of(self.own, peer)
    }

    /// The same, as it is known here of any member.
    pub fn mark_of(&self, holder: ReplicaId, peer: ReplicaId) -> Stamp {
        let mark = self.rows.get(&holder).and_then(|row| row.get(&peer));
        mark.copied().unwrap_or_default()
    }

    /// Up to where every member has everything, as far as is known here. `last` is the greatest
    /// stamp given out here; a member that is alone has everything up to there.
    pub fn stable(&self, last: Stamp) -> Stamp {
        let all = &self.members.replicas;
        let pairs = all.iter().flat_map(|holder| {
            let peers = all.iter().filter(move |peer| *peer != holder);
            peers.map(move |peer| self.mark_of(*holder, *peer))
        });
        pairs.min().unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(number: u64, ids: &[u64]) -> Members {
        Members {
            number: ConfigurationNumber(number),
            replicas: ids.iter().copied().map(ReplicaId).collect(),
        }
    }

    fn at(ms: u64) -> Stamp {
        Stamp::of_moment(ms)
    }

    fn row(marks: &[(u64, u64)]) -> Row {
        marks
            .iter()
            .map(|(id, ms)| (ReplicaId(*id), at(*ms)))
            .collect()
    }

    #[test]
    fn the_slowest_holds_all_back_until_it_is_no_member() {
        let number = ConfigurationNumber(1);
        let mut one = Membership::new(ReplicaId(1), members(1, &[1, 2, 3]));
        one.synced(ReplicaId(2), at(20));
        one.synced(ReplicaId(3), at(30));
        one.told(ReplicaId(2), number, &row(&[(1, 25), (3, 15)]));
        assert_eq!(one.stable(at(90)), Stamp::ZERO, "3 has told nothing");
        one.told(ReplicaId(3), number, &row(&[(1, 40), (2, 50)]));
        assert_eq!(one.stable(at(90)), at(15));
        // Marks never go back.
        one.told(ReplicaId(2), number, &row(&[(3, 5)]));
        assert_eq!(
            (one.stable(at(90)), one.mark(ReplicaId(3))),
            (at(15), at(30))
        );

        assert!(one.configure(members(2, &[1, 2])));
        assert!(!one.configure(members(2, &[1, 2, 3])));
        assert_eq!(one.stable(at(90)), Stamp::ZERO, "marks begin anew");
        one.synced(ReplicaId(2), at(60));
        one.told(ReplicaId(2), number, &row(&[(1, 70)]));
        assert_eq!(
            one.stable(at(90)),
            Stamp::ZERO,
            "that was of the old configuration"
        );
        one.told(
            ReplicaId(2),
            ConfigurationNumber(2),
            &row(&[(1, 70), (3, 1)]),
        );
        assert_eq!(one.stable(at(90)), at(60));
        // Who is no member has no say.
        one.told(ReplicaId(3), ConfigurationNumber(2), &row(&[(1, 1)]));
        assert_eq!(one.stable(at(90)), at(60));
    }

    #[test]
    fn who_is_alone_has_everything() {
        let one = Membership::new(ReplicaId(1), members(1, &[1]));
        assert_eq!(one.stable(at(90)), at(90));
    }
}
