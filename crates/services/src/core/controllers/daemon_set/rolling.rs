//! Updates: old pods make way for new ones, node by node. Without a surge an old pod goes first,
//! and [`super::upkeep`] makes the new one; with a surge the new one comes first.
//!
//! An old pod that does not serve is replaced at once. Its node counts as one that is unavailable,
//! which it does not in Kubernetes: so an update alone never brings more nodes down than it may.

use std::sync::Arc;

use serde_json::Value;

use super::{Daemons, placement::Fit, sites::Site, work::Work};

impl Daemons<'_> {
    /// What an update does next, where there is nothing else to do.
    pub(super) fn roll(&self) -> Work<'_> {
        let mut work = Work::default();
        if self.numbers.is_on_delete {
            return work;
        }
        self.roll_unwanted(&mut work);
        match self.numbers.max_surge {
            0 => self.replace(&mut work),
            max_surge => self.surge(max_surge, &mut work),
        }
        work
    }

    /// The nodes that have only an old pod.
    fn outdated(&self, fit: Fit) -> impl Iterator<Item = (&Site, &Arc<Value>)> {
        let sites = self.sites.iter().filter(move |site| site.fit == fit);
        sites.filter_map(|site| {
            let is_new = site.active().any(|pod| self.is_updated(pod));
            let old = site.active().next().filter(|_| !is_new)?;
            Some((site, old))
        })
    }

    /// On nodes that take no new pods, old ones go without being replaced; those that serve only
    /// as far as more serve than are wanted.
    fn roll_unwanted<'a>(&'a self, work: &mut Work<'a>) {
        let serving = self.sites.iter().filter(|site| self.serves(site)).count();
        let mut spare = serving.saturating_sub(self.wanted().count());
        for (site, pod) in self.outdated(Fit::Stays) {
            if !self.is_available(pod) {
                work.delete(pod, &site.node);
            } else if spare > 0 {
                spare -= 1;
                work.delete(pod, &site.node);
            }
        }
    }

    fn replace<'a>(&'a self, work: &mut Work<'a>) {
        let unavailable = self.wanted().filter(|site| !self.serves(site)).count();
        let mut left = self.numbers.max_unavailable.saturating_sub(unavailable);
        for (site, pod) in self.outdated(Fit::Runs) {
            if !self.is_available(pod) {
                work.delete(pod, &site.node);
            } else if left > 0 {
                left -= 1;
                work.delete(pod, &site.node);
            }
        }
    }

    fn surge<'a>(&'a self, max_surge: usize, work: &mut Work<'a>) {
        let surging = self.wanted().filter(|site| site.active().count() > 1);
        let mut left = max_surge.saturating_sub(surging.count());
        for (site, pod) in self.outdated(Fit::Runs) {
            if self.is_available(pod) {
                if left == 0 {
                    continue;
                }
                left -= 1;
            }
            work.create(site, self.failures(site));
        }
    }
}
