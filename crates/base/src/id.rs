//! Typed ids: two things that can be swapped have two types.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $repr:ty, $fmt:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $fmt, self.0)
            }
        }
    };
}

id!(
    /// One node of the cluster, for the life of its data directory. Never used again:
    /// a wiped disk is a new node. Written in hexadecimal, as etcd writes member ids.
    NodeId, u64, "{:x}"
);
id!(
    /// The cluster itself, drawn at random when it is made.
    ClusterId, u64, "{:x}"
);
id!(
    /// A lease of the etcd API. Positive.
    LeaseId, i64, "{:x}"
);
id!(
    /// The main revision of a keyspace: one for every transaction that wrote. A fresh
    /// keyspace stands at 1, so its first write is 2, as in etcd.
    Revision, i64, "{}"
);
id!(
    /// One of the parts that the data is cut into: the unit of replication, of snapshots and of
    /// movement. Counted from 0.
    PartitionId, u16, "{}"
);
id!(
    /// A voice in the partitions' logs. A node has one at a time, and a new one when its disk may
    /// have forgotten what it promised. The cluster counts them up from 1 and never gives one
    /// twice.
    ReplicaId, u64, "{}"
);
id!(
    /// The number of the cluster's topology: one higher with every change of it.
    Epoch, u64, "{}"
);
id!(
    /// The number of one partition's configuration: one higher with every change of who votes
    /// and who learns there. The first part of that partition's ballots.
    ConfigurationNumber, u64, "{}"
);
id!(
    /// A place in one partition's log. The first entry stands at 1; 0 is before all.
    LogIndex, u64, "{}"
);

impl LogIndex {
    /// The one after.
    pub fn next(self) -> LogIndex {
        LogIndex(self.0 + 1)
    }

    /// The one before; of 0, 0.
    pub fn previous(self) -> LogIndex {
        LogIndex(self.0.saturating_sub(1))
    }
}
