//! Pods that still wait to be counted by a Job that is gone, or that has let them go: nobody
//! counts them any more, so they may go, too. What names the work is the pod itself.

use serde_json::Value;

use super::super::world::{self, Change, Plan, View};
use crate::core::{
    kinds::{JOBS, PODS},
    object::{self, Name},
};

/// Whether a pod waits for nobody.
pub(super) fn is_one(view: &dyn View, pod: &Value) -> bool {
    super::is_tracked(pod) && super::owner(view, pod).is_none()
}

/// Lets one go.
pub(super) fn plan(view: &dyn View, key: &Name) -> Plan {
    let pod = view.get(&PODS, &key.namespace, &key.name);
    match pod.filter(|pod| is_one(view, pod)) {
        Some(pod) => Plan::of(vec![super::untracked(&pod)]),
        None => Plan::default(),
    }
}

/// The pods that a Job leaves behind when it goes.
pub(super) fn left(view: &dyn View, change: &Change<'_>, keys: &mut Vec<Name>) {
    let uid_of = |job: Option<&Value>| job.map(|job| object::uid(job).to_owned());
    let Some(gone) = uid_of(change.old).filter(|uid| uid_of(change.new).as_ref() != Some(uid))
    else {
        return;
    };
    debug_assert!(change.kind == &JOBS, "others leave none");
    for pod in view.by_owner(&PODS, &gone) {
        if is_one(view, &pod) {
            world::push_once(keys, Name::of(&PODS, &pod));
        }
    }
}
