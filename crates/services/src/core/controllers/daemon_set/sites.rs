//! Nodes, each with the pods that are for it.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    Daemons,
    placement::{self, Fit, Placement},
};
use crate::core::{
    controllers::{pods, world::View},
    kinds::NODES,
    object,
};

/// A node.
pub(super) struct Site {
    pub(super) node: String,
    pub(super) fit: Fit,
    /// Those first that are worth most: the first one that is active is kept.
    pub(super) pods: Vec<Arc<Value>>,
}

impl Site {
    /// Pods that run, or will.
    pub(super) fn active(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.pods.iter().filter(|pod| pods::is_active(pod))
    }

    /// Pods that will never run again, and that nobody deletes yet; the newest first.
    pub(super) fn ended(&self) -> Vec<&Arc<Value>> {
        let is_left = |pod: &&Arc<Value>| pods::has_ended(pod) && !object::is_being_deleted(pod);
        let mut ended: Vec<&Arc<Value>> = self.pods.iter().filter(is_left).collect();
        ended.sort_by_key(|pod| Reverse(object::meta(pod, "creationTimestamp")));
        ended
    }

    /// Whether a pod is being stopped.
    pub(super) fn is_clearing(&self) -> bool {
        self.pods.iter().any(|pod| pods::is_terminating(pod))
    }
}

/// Puts each pod to its node, and also says which wait for a node that is not there. Pods that are
/// on a node that is gone end with it, by themselves.
pub(super) fn sort(
    view: &dyn View,
    placement: &Placement,
    owned: Vec<Arc<Value>>,
) -> (Vec<Site>, Vec<Arc<Value>>) {
    let mut by_node: BTreeMap<String, Vec<Arc<Value>>> = BTreeMap::new();
    for pod in owned {
        if let Some(node) = placement::target(&pod) {
            by_node.entry(node.to_owned()).or_default().push(pod);
        }
    }
    let sites = view.list(&NODES, None).into_iter().map(|node| {
        let name = object::name(&node);
        Site {
            node: name.to_owned(),
            fit: placement.fit(&node),
            pods: by_node.remove(name).unwrap_or_default(),
        }
    });
    let sites = sites.collect();
    let is_unbound = |pod: &Arc<Value>| pod["spec"]["nodeName"].as_str().unwrap_or_default() == "";
    let strays = by_node.into_values().flatten().filter(is_unbound);
    (sites, strays.collect())
}

impl Daemons<'_> {
    /// Brings the pods of each node in order: what serves stays, then what is up to date, then
    /// what has a node already, then the oldest.
    pub(super) fn rank(&mut self) {
        let mut sites = std::mem::take(&mut self.sites);
        for site in &mut sites {
            site.pods.sort_by_cached_key(|pod| {
                (
                    !pods::is_active(pod),
                    pods::has_ended(pod),
                    !self.is_available(pod),
                    !self.is_updated(pod),
                    !pod["spec"]["nodeName"].is_string(),
                    object::meta(pod, "creationTimestamp").to_owned(),
                    object::name(pod).to_owned(),
                )
            });
        }
        self.sites = sites;
    }
}
