//! What is to be done about a DaemonSet's pods, and the steps that do it.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use super::{COMPONENT, Daemons, pod::Failures, sites::Site};
use crate::core::{
    controllers::{
        pods,
        world::{self, BURST, Event, Step},
    },
    kinds::{NAMESPACES, PODS},
    lifecycle::Deletion,
    object::{self, Name},
};

/// What is to be done.
#[derive(Default)]
pub(super) struct Work<'a> {
    /// Pods that go, from the node of this name.
    deletions: Vec<(&'a Value, &'a str)>,
    /// Nodes that get a pod; those that have ended there go.
    creations: Vec<(&'a Site, Failures)>,
    /// In how many milliseconds there is more.
    pub(super) again_in_ms: Option<u64>,
}

impl<'a> Work<'a> {
    pub(super) fn is_idle(&self) -> bool {
        self.deletions.is_empty() && self.creations.is_empty()
    }

    pub(super) fn delete(&mut self, pod: &'a Arc<Value>, node: &'a str) {
        self.deletions.push((pod, node));
    }

    /// Makes a pod, once it may come.
    pub(super) fn create(&mut self, site: &'a Site, failures: Failures) {
        match failures.rest_ms {
            0 => self.creations.push((site, failures)),
            rest_ms => self.again_in(Some(rest_ms)),
        }
    }

    pub(super) fn again_in(&mut self, ms: Option<u64>) {
        self.again_in_ms = self.again_in_ms.into_iter().chain(ms).min();
    }
}

impl Daemons<'_> {
    /// The steps of some work: what goes goes first, so that what can't be made keeps nothing
    /// else from being done.
    pub(super) fn steps(&self, key: &Name, work: &Work<'_>, failed: Option<&str>) -> Vec<Step> {
        let about = world::reference(key.kind, self.set);
        let deletions = work.deletions.iter().take(BURST);
        let mut steps: Vec<Step> = deletions
            .flat_map(|(pod, node)| self.deletion(&about, pod, node))
            .collect();
        if work.creations.is_empty() || self.is_namespace_ending() {
            return steps;
        }
        if let Some(why) = failed {
            let message = format!("Error creating: {why}");
            let event = Event::warning(COMPONENT, about.clone(), "FailedCreate", message);
            steps.push(event);
        }
        let mut names = BTreeSet::new();
        for (site, failures) in work.creations.iter().take(BURST) {
            let is_taken = |name: &str| {
                let namespace = &key.namespace;
                names.contains(name) || self.view.get(&PODS, namespace, name).is_some()
            };
            let name = self.free_name(&site.node, is_taken);
            let object = self.pod(key.kind, site, &name, *failures);
            steps.push(Step::Create {
                kind: &PODS,
                object,
            });
            let message = format!("Created pod: {name}");
            let event = Event::normal(COMPONENT, about.clone(), "SuccessfulCreate", message);
            steps.push(event);
            names.insert(name);
            // Only now: the new one knows how many have failed before it.
            for pod in site.ended() {
                steps.extend(self.deletion(&about, pod, &site.node));
            }
        }
        steps
    }

    fn is_namespace_ending(&self) -> bool {
        let space = self.view.get(&NAMESPACES, "", object::namespace(self.set));
        space.is_some_and(|space| object::is_being_deleted(&space))
    }

    fn deletion(&self, about: &Value, pod: &Value, node: &str) -> Vec<Step> {
        let told = told_end(about, pod, node);
        let version = object::meta(pod, "resourceVersion").to_owned();
        // What does not serve yet must not have become what others count on.
        let is_idle = pods::is_active(pod) && !self.is_available(pod);
        let deletion = Step::Delete {
            name: Name::of(&PODS, pod),
            deletion: Deletion {
                uid: Some(object::uid(pod).to_owned()),
                resource_version: is_idle.then_some(version),
                ..Deletion::default()
            },
        };
        let message = format!("Deleted pod: {}", object::name(pod));
        let event = Event::normal(COMPONENT, about.clone(), "SuccessfulDelete", message);
        told.into_iter().chain([deletion, event]).collect()
    }
}

/// Tells of a pod that should not have ended.
fn told_end(about: &Value, pod: &Value, node: &str) -> Option<Step> {
    let phase = pods::phase(pod);
    let (about, space, name) = (about.clone(), object::namespace(pod), object::name(pod));
    let found = format!(
        "Found {} daemon pod {space}/{name} on node {node}, will try to",
        phase.to_lowercase()
    );
    match phase {
        "Failed" => {
            let message = format!("{found} kill it");
            Some(Event::warning(COMPONENT, about, "FailedDaemonPod", message))
        }
        "Succeeded" => {
            let message = format!("{found} delete it");
            let reason = "SucceededDaemonPod";
            Some(Event::normal(COMPONENT, about, reason, message))
        }
        _ => None,
    }
}
