//! What stays of a replica that its partition has moved away from.
//!
//! A replica drops its log and its state once the control plane has recorded a configuration, of
//! number `c`, in which it has no part. Why nothing is lost by that:
//!
//! - Whatever was committed under numbers below `c` is known to a majority of the members of `c`:
//!   each step on the way there took its proof (point 6 of the head of [`super`]).
//! - Promises and entries that it drops are of ballots of numbers up to `c`. They count only in
//!   quorums of configurations that name it, all of which are older than `c`. As long as it says
//!   nothing there, it is to them like one that crashed for good, and a log bears that.
//!
//! So what it must not do is speak up again in one of these, with an empty log and no promises:
//! it could make a majority with others who have not heard of `c` either, although one of which
//! it was a part has decided. That it can be asked to is not far-fetched, since after a restart
//! a node may see the control plane as it was some time before. So the number `c` stays, durable
//! before anything else is dropped, and the replica is placed only by a newer configuration.
//! There it begins with a promise of that configuration's first ballot ([`Durable::new`]), which
//! is above all that it can have promised before.
//!
//! It stays what it is while it knows of a newer configuration than its node has heard of, as
//! messages may tell of one sooner than the control plane does: that one may name it.

use super::{configuration::Configuration, durable::Durable};

/// A replica that was let go: what it may not forget even so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forgotten {
    /// The number of a configuration in which it has no part. It takes part in newer ones only.
    pub configuration: u64,
}

impl Forgotten {
    /// What is left of a replica that has no part in a recorded configuration of this number;
    /// none if it knows of a newer one, and has to stay.
    pub fn of(durable: &Durable, configuration: u64) -> Option<Forgotten> {
        let newest = durable
            .configuration
            .number
            .max(durable.promised.configuration);
        (newest <= configuration).then_some(Forgotten { configuration })
    }

    /// Whether the replica may begin anew in a configuration.
    pub fn lets_begin_in(&self, configuration: &Configuration) -> bool {
        configuration.number > self.configuration
    }
}

#[cfg(test)]
mod tests {
    use atoll_base::id::ReplicaId;

    use super::*;
    use crate::core::paxos::{Ballot, Members, Record};

    #[test]
    fn a_replica_that_knows_more_stays_and_comes_back_only_later() {
        let members = |ids: &[u64]| {
            let ids = ids.iter().copied().map(ReplicaId).collect();
            Members::new(ids).expect("some")
        };
        let first = Configuration::first(members(&[1, 2, 3]));
        let joint = first.joint(members(&[2, 3, 4])).expect("it is stable");
        let mut durable = Durable::new(first.clone());
        let forgotten = Forgotten { configuration: 1 };
        assert_eq!(Forgotten::of(&durable, 1), Some(forgotten));
        assert!(!forgotten.lets_begin_in(&first));
        assert!(forgotten.lets_begin_in(&joint));
        durable.apply(Record::Promise(Ballot {
            configuration: 2,
            round: 1,
            replica: ReplicaId(2),
        }));
        assert_eq!(Forgotten::of(&durable, 1), None);
        durable.apply(Record::Configure(joint));
        assert_eq!(Forgotten::of(&durable, 1), None);
        let later = Forgotten { configuration: 3 };
        assert_eq!(Forgotten::of(&durable, 3), Some(later));
    }
}
