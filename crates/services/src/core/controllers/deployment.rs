//! Deployments: a ReplicaSet for each template that the Deployment has had; the present one gets
//! the pods, the others lose them, within bounds on how many pods there are and how many of them
//! are available (Kubernetes documentation, "Deployments").
//!
//! A plan changes ReplicaSets, and then either the Deployment's status or, if that is as it should
//! be, its annotation: each changes its resourceVersion, so that the other has to wait for the
//! next plan.

mod numbers;
mod revision;
mod rolling;
mod scaling;
mod sets;
mod status;
mod template;

use serde_json::{Value, json};

use self::{
    numbers::Numbers,
    revision::Collision,
    sets::{REVISION, Set},
};
use super::{
    conditions, owners,
    world::{self, Change, Plan, Step, View},
};
use crate::core::{
    kinds::{DEPLOYMENTS, PODS, REPLICA_SETS},
    object::{self, Name},
    selector::LabelSelector,
};

const COMPONENT: &str = "deployment-controller";

/// A Deployment with its ReplicaSets while a plan is made.
struct Rollout<'a> {
    view: &'a dyn View,
    deployment: &'a Value,
    numbers: Numbers,
    /// The one with the present template.
    new: Option<Set>,
    /// Whether this plan makes it.
    is_new_made: bool,
    /// The others, oldest first.
    old: Vec<Set>,
    removals: Vec<Step>,
    now_ms: u64,
}

impl Rollout<'_> {
    fn sets(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(&self.new)
    }

    fn is_ending(&self) -> bool {
        object::is_being_deleted(self.deployment)
    }

    /// Whether the status says so already.
    fn is_complete(&self) -> bool {
        status::is_complete(self, &self.deployment["status"])
    }

    /// Changes the ReplicaSets, and says whether a rollout goes on.
    fn advance(&mut self) -> Result<bool, Collision> {
        if self.is_ending() {
            return Ok(false);
        }
        revision::sync(self);
        if self.numbers.is_paused || scaling::is_due(self) {
            if rolling::is_settled(self) {
                scaling::scale(self);
            }
            if self.numbers.is_paused {
                scaling::remove_old(self);
            }
            return Ok(false);
        }
        match self.numbers.is_recreate {
            true => rolling::recreate(self)?,
            false => rolling::roll(self)?,
        }
        Ok(true)
    }

    /// Writes the Deployment's own status or annotation.
    fn own_step(&self, status: Value) -> Option<Step> {
        let kind = &DEPLOYMENTS;
        let mut object = self.deployment.clone();
        if object["status"] != status {
            object["status"] = status;
            return Some(Step::UpdateStatus { kind, object });
        }
        let revision = self.new.as_ref()?.revision().to_string();
        if self.is_ending() || object::annotation(&object, REVISION) == Some(&revision) {
            return None;
        }
        let annotations = object::meta_mut(&mut object).entry("annotations");
        annotations.or_insert_with(|| json!({}))[REVISION] = json!(revision);
        Some(Step::Update { kind, object })
    }
}

/// What to do about one Deployment. `failed`: why the last plan for it could not be carried out.
pub(super) fn plan(view: &dyn View, key: &Name, now_ms: u64, failed: Option<&str>) -> Plan {
    let Some(deployment) = view.get(key.kind, &key.namespace, &key.name) else {
        return Plan::default();
    };
    let about = world::reference(key.kind, &deployment);
    let Some(selector) = owners::selector(&deployment) else {
        return Plan::default();
    };
    let claims = owners::claim(view, key.kind, &deployment, &REPLICA_SETS, &selector);
    if !claims.steps.is_empty() {
        return Plan::of(claims.steps);
    }
    let numbers = Numbers::of(&deployment);
    let found = |set| Set::found(view, set, numbers.min_ready_s, now_ms);
    let sets = claims.owned.into_iter().map(found).collect();
    let (new, old) = revision::split(&deployment, sets);
    let mut rollout = Rollout {
        view,
        deployment: &deployment,
        numbers,
        new,
        is_new_made: false,
        old,
        removals: Vec::new(),
        now_ms,
    };
    match rollout.advance() {
        Ok(judges) => complete(&rollout, &about, judges, failed),
        Err(Collision) => Plan::of(vec![count_collision(&deployment)]),
    }
}

fn complete(rollout: &Rollout<'_>, about: &Value, judges: bool, failed: Option<&str>) -> Plan {
    let status = status::status(rollout, judges, failed);
    let mut plan = Plan::default();
    plan.again_in(status::deadline_in_ms(rollout, &status));
    let own = rollout.own_step(status);
    let of_sets = rollout.sets().flat_map(|set| set.steps(about));
    let of_sets = of_sets.chain(rollout.removals.iter().cloned());
    match failed {
        // What fails again must not keep the status from being written.
        Some(_) => plan.steps.extend(own.into_iter().chain(of_sets)),
        None => plan.steps.extend(of_sets.chain(own)),
    }
    plan
}

/// So that the next plan takes another name for the new ReplicaSet.
fn count_collision(deployment: &Value) -> Step {
    let mut object = deployment.clone();
    let mut status = conditions::status_of(deployment);
    let collisions = status["collisionCount"].as_i64().unwrap_or_default();
    status["collisionCount"] = json!(collisions.saturating_add(1));
    object["status"] = status;
    Step::UpdateStatus {
        kind: &DEPLOYMENTS,
        object,
    }
}

/// Which Deployments a change is about.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    let mut keys = Vec::new();
    if change.kind == &DEPLOYMENTS {
        keys.extend(change.name());
    } else if change.kind == &REPLICA_SETS {
        for set in change.sides() {
            deployments_of(view, set, &mut keys);
        }
    } else if let (true, Some(pod), None) = (change.kind == &PODS, change.old, change.new) {
        // A rollout may wait until the last old pod is gone.
        let owner = object::controller(pod).and_then(|owner| owner["name"].as_str());
        let set = owner.and_then(|name| view.get(&REPLICA_SETS, object::namespace(pod), name));
        if let Some(set) = set {
            deployments_of(view, &set, &mut keys);
        }
    }
    keys
}

/// Whose a ReplicaSet is, or whose it could become.
fn deployments_of(view: &dyn View, set: &Value, keys: &mut Vec<Name>) {
    let namespace = object::namespace(set);
    if let Some(owner) = object::controller(set) {
        let name = owner["name"].as_str().unwrap_or_default();
        let deployment = view.get(&DEPLOYMENTS, namespace, name);
        let deployment = deployment.filter(|it| owner["uid"] == object::uid(it));
        if let Some(deployment) = deployment {
            world::push_once(keys, Name::of(&DEPLOYMENTS, &deployment));
        }
        return;
    }
    for deployment in view.list(&DEPLOYMENTS, Some(namespace)) {
        let selector = LabelSelector::from_json(&deployment["spec"]["selector"]);
        if selector.is_ok_and(|selector| owners::selects(&selector, set)) {
            world::push_once(keys, Name::of(&DEPLOYMENTS, &deployment));
        }
    }
}
