//! What a DaemonSet's status says, as `kubectl rollout status` reads it: on how many nodes there
//! is to be a pod, and on how many of them is one that is up to date, ready, and available.

use serde_json::{Value, json};

use super::{Daemons, placement::Fit, sites::Site};
use crate::core::controllers::{conditions, pods};

impl Daemons<'_> {
    /// The status that the DaemonSet is to have. Of each node only the pod is counted that is
    /// worth most: an old pod that serves counts until a new one takes over.
    pub(super) fn status(&self, collisions: i64) -> Value {
        let mut status = conditions::status_of(self.set);
        let count = |is_one: &dyn Fn(&Value) -> bool| {
            let first = |site: &&Site| site.pods.first().is_some_and(|pod| is_one(pod));
            self.wanted().filter(first).count()
        };
        let desired = self.wanted().count();
        let misplaced = |site: &&Site| site.fit != Fit::Runs && !site.pods.is_empty();
        let misplaced = self.sites.iter().filter(misplaced).count();
        let ready = |pod: &Value| pods::is_active(pod) && pods::is_ready(pod);
        let available = count(&|pod| ready(pod) && self.is_available(pod));
        for (field, count) in [
            ("currentNumberScheduled", count(&|_| true)),
            ("desiredNumberScheduled", desired),
            ("numberMisscheduled", misplaced),
            ("numberReady", count(&ready)),
        ] {
            status[field] = json!(count);
        }
        let updated = count(&|pod| self.is_updated(pod));
        let generation = self.set["metadata"]["generation"].as_i64();
        for (field, count) in [
            ("updatedNumberScheduled", number(updated)),
            ("numberAvailable", number(available)),
            ("numberUnavailable", number(desired - available)),
            ("observedGeneration", generation.unwrap_or_default()),
            ("collisionCount", collisions),
        ] {
            conditions::set_count(&mut status, field, count);
        }
        status
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
