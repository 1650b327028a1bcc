//! What a node is to have, whatever its pods' revisions: one pod where there is to be one, none
//! where there is not, and a second one only while it takes over.

use std::sync::Arc;

use serde_json::Value;

use super::{Daemons, placement::Fit, sites::Site, work::Work};
use crate::core::{controllers::pods, object};

impl Daemons<'_> {
    /// What is to be done on all nodes.
    pub(super) fn upkeep(&self) -> Work<'_> {
        let mut work = Work::default();
        for pod in self
            .strays
            .iter()
            .filter(|pod| !object::is_being_deleted(pod))
        {
            work.delete(pod, "");
        }
        for site in &self.sites {
            match site.fit {
                Fit::Never => {
                    let pods = site.pods.iter();
                    for pod in pods.filter(|pod| !object::is_being_deleted(pod)) {
                        work.delete(pod, &site.node);
                    }
                }
                Fit::Stays | Fit::Runs => self.keep(site, &mut work),
            }
        }
        work
    }

    fn keep<'a>(&'a self, site: &'a Site, work: &mut Work<'a>) {
        for pod in self.surplus(site) {
            work.delete(pod, &site.node);
        }
        let is_empty = site.active().next().is_none();
        let is_free = self.numbers.max_surge > 0 || !site.is_clearing();
        match site.fit == Fit::Runs {
            true if is_empty && is_free => work.create(site, self.failures(site)),
            // They are counted once there is a new pod.
            true if is_empty || self.is_outdated(site) => {}
            _ => {
                for pod in site.ended() {
                    work.delete(pod, &site.node);
                }
            }
        }
    }

    /// Whether a node waits for a pod that will take over.
    pub(super) fn is_outdated(&self, site: &Site) -> bool {
        self.numbers.max_surge > 0 && !site.active().any(|pod| self.is_updated(pod))
    }

    /// Pods of which there are too many on a node.
    fn surplus<'a>(&self, site: &'a Site) -> Vec<&'a Arc<Value>> {
        if self.numbers.max_surge == 0 {
            return site.active().skip(1).collect();
        }
        let (new, old): (Vec<_>, Vec<_>) = site.active().partition(|pod| self.is_updated(pod));
        let is_relieved = |old: &Value, new: &Value| !pods::is_ready(old) || self.is_available(new);
        let relieved = match (old.first(), new.first()) {
            (Some(old), Some(new)) => Some(*old).filter(|old| is_relieved(old, new)),
            _ => None,
        };
        let more = new.into_iter().skip(1).chain(old.into_iter().skip(1));
        more.chain(relieved).collect()
    }
}
