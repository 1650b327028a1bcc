//! How plans are carried out in the model, one after the other.

use std::sync::Arc;

use serde_json::Value;

use super::cluster::{Cluster, Done, Place, Task, name, place};
use crate::core::{
    controllers::{
        Controller,
        world::{Change, Plan, Step, View},
    },
    kinds::{KINDS, NAMESPACES, PODS},
    object::{self, Name},
    status::{Failure, Reason},
};

/// Plans until everything rests; more would be a controller that never does.
const PLANS_MAX: usize = 20_000;

impl Cluster {
    pub(super) fn plan(&self, task: &Task, view: &dyn View) -> Plan {
        let failed = self.failed.get(task).map(String::as_str);
        task.0.plan(view, &name(&task.1), self.now_ms, failed)
    }

    /// Plans for one object and carries the plan out; then again, which must change nothing.
    pub(super) fn turn(&mut self, task: &Task) {
        self.queue.remove(task);
        let plan = self.plan(task, &self.now);
        self.wait(task, &plan);
        for step in &plan.steps {
            let before = self.target(step);
            if let Err(failure) = self.carry_out(step) {
                return self.fail(task, failure);
            }
            self.note_birth(step);
            let told = match step {
                Step::Create { .. } => self.target(step),
                _ => before,
            };
            self.done.push(Done::Step(step.clone(), told));
        }
        let revision = self.now.revision;
        for step in &plan.steps {
            let _ = self.carry_out(step);
            assert_eq!(
                self.now.revision, revision,
                "not the same if done again: {step:?}"
            );
        }
        if self.failed.remove(task).is_some() {
            self.queue.insert(task.clone());
        }
    }

    /// A name that was drawn for a pod never comes again, even if the pod is gone.
    fn note_birth(&mut self, step: &Step) {
        if let Step::Create { kind, object } = step
            && *kind == &PODS
            && !object["metadata"]["generateName"].is_null()
            && object::controller(object).is_some_and(|owner| owner["kind"] != "StatefulSet")
        {
            let name = Name::of(kind, object);
            assert!(self.born.insert(place(&name)), "{} comes again", name.name);
        }
    }

    /// Time wakes whom it concerns.
    pub(super) fn wait(&mut self, task: &Task, plan: &Plan) {
        if let Some(ms) = plan.again_in_ms {
            assert!(ms > 0, "time has to pass before the next plan");
            self.timers.push((self.now_ms + ms, task.clone()));
        }
    }

    /// A plan could not be carried out to its end.
    pub(super) fn fail(&mut self, task: &Task, failure: Failure) {
        if let Reason::Conflict | Reason::AlreadyExists | Reason::NotFound = failure.reason {
            self.queue.insert(task.clone());
            return;
        }
        let before = self.failed.insert(task.clone(), failure.message.clone());
        if before.is_none() {
            self.queue.insert(task.clone());
        }
        self.timers.push((self.now_ms + 1_000, task.clone()));
        self.done.push(Done::Failed(failure.message));
    }

    /// The object that a step is about, as it is now.
    fn target(&self, step: &Step) -> Option<Arc<Value>> {
        let name = match step {
            Step::Delete { name, .. } => name.clone(),
            Step::Create { kind, object }
            | Step::Update { kind, object }
            | Step::UpdateStatus { kind, object } => Name::of(kind, object),
            Step::Finalize { namespace } => Name::of(&NAMESPACES, namespace),
            Step::Event(_) => return None,
        };
        self.now.objects.get(&place(&name)).cloned()
    }

    /// Lets the controllers work until all rest.
    pub(super) fn work(&mut self) {
        for _ in 0..PLANS_MAX {
            let Some(task) = self.queue.first().cloned() else {
                return;
            };
            self.turn(&task);
        }
        panic!("the controllers never rest");
    }

    /// A new leader begins: it knows of nothing, and plans for everything.
    pub(super) fn restart(&mut self) {
        self.queue.clear();
        self.timers.clear();
        self.failed.clear();
        let all: Vec<(Place, Arc<Value>)> = self.now.objects.clone().into_iter().collect();
        for (at, object) in all {
            let change = Change {
                kind: KINDS[at.0],
                old: None,
                new: Some(&object),
            };
            self.wake(&change);
        }
    }

    /// Time passes; whoever waited for it plans again.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        let now_ms = self.now_ms;
        let (due, later) = std::mem::take(&mut self.timers)
            .into_iter()
            .partition(|(at, _)| *at <= now_ms);
        self.timers = later;
        self.queue
            .extend(due.into_iter().map(|(_, task): (u64, Task)| task));
    }

    /// That no plan for any object has steps, though nobody was woken: nothing was missed.
    pub(super) fn assert_at_rest(&self) {
        assert!(self.queue.is_empty(), "there is work: {:?}", self.queue);
        for place in self.now.objects.keys() {
            for controller in Controller::ALL {
                let is_its = match controller {
                    Controller::ReplicaSet => {
                        matches!(KINDS[place.0].kind, "ReplicaSet" | "ReplicationController")
                    }
                    Controller::Deployment => KINDS[place.0].kind == "Deployment",
                    Controller::EndpointSlice => KINDS[place.0].kind == "Service",
                    Controller::LoadBalancer => {
                        matches!(KINDS[place.0].kind, "Service" | "Ingress")
                    }
                    Controller::ServiceAccount | Controller::Namespace => {
                        KINDS[place.0].kind == "Namespace"
                    }
                    Controller::Garbage => true,
                    Controller::StatefulSet => KINDS[place.0].kind == "StatefulSet",
                    Controller::DaemonSet => KINDS[place.0].kind == "DaemonSet",
                    Controller::Job => matches!(KINDS[place.0].kind, "Job" | "Pod"),
                    Controller::CronJob => KINDS[place.0].kind == "CronJob",
                    Controller::Autoscaler => KINDS[place.0].kind == "HorizontalPodAutoscaler",
                    Controller::Disruption => KINDS[place.0].kind == "PodDisruptionBudget",
                };
                let task = (controller, place.clone());
                if !is_its || self.failed.contains_key(&task) {
                    continue;
                }
                let plan = self.plan(&task, &self.now);
                assert!(plan.steps.is_empty(), "{task:?} was not woken: {plan:#?}");
            }
        }
    }
}
