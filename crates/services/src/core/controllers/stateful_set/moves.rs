//! Which pods are made and deleted now. In order of ordinal, each pod is tended: made if it is
//! missing, deleted if it has ended. Then those go that are too many, from the highest ordinal
//! down; then old ones for an update, likewise. Where pods come and go one after the other, the
//! first that is not available stops all that comes after it.
//!
//! A pod that does no work is replaced out of turn where waiting for it would be for ever: if it
//! is not of the revision that its ordinal is to have and was never ready; or if it waits for a
//! node that is gone.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    identity::{self, PLACE},
    numbers::Numbers,
    places::Places,
};
use crate::core::{
    controllers::{conditions, pods, world::BURST},
    object,
    time::parse_rfc3339,
};

/// What is done about one pod.
#[derive(Clone, Debug)]
pub(super) enum Move {
    /// The pod of this ordinal is made.
    Create(i64),
    /// It is deleted.
    Delete(Arc<Value>),
}

/// A set's pods, and what is wanted of them.
pub(super) struct Scene<'a> {
    pub(super) numbers: &'a Numbers,
    /// The pods by ordinal, also those that are too many.
    pub(super) members: &'a BTreeMap<i64, Arc<Value>>,
    pub(super) places: &'a Places,
    /// The revision that pods below the partition have.
    pub(super) current: &'a str,
    /// The revision of the present template.
    pub(super) update: &'a str,
    /// Whether something else has the name of an ordinal's pod.
    pub(super) is_taken: &'a dyn Fn(i64) -> bool,
    pub(super) now_ms: u64,
}

/// Whether a pod does its work.
pub(super) fn is_ready(pod: &Value) -> bool {
    pods::phase(pod) == "Running" && pods::is_ready(pod)
}

/// Whether it has done so for long enough.
pub(super) fn is_available(pod: &Value, min_ready_s: u64, now_ms: u64) -> bool {
    is_ready(pod) && pods::is_available(pod, min_ready_s, now_ms)
}

/// Whether it surely never did: nothing was told about that, or nothing else since it has begun.
fn was_never_ready(pod: &Value) -> bool {
    let Some(ready) = conditions::find(&pod["status"], "Ready") else {
        return true;
    };
    let time = |value: &Value| value.as_str().and_then(parse_rfc3339);
    let (since, begun) = (
        time(&ready["lastTransitionTime"]),
        time(&pod["status"]["startTime"]),
    );
    ready["status"] != "True"
        && since
            .zip(begun)
            .is_some_and(|(since, begun)| since <= begun)
}

impl Scene<'_> {
    /// The revision that an ordinal's pod is to have.
    pub(super) fn revision(&self, ordinal: i64) -> &str {
        match ordinal < self.numbers.update_from {
            true => self.current,
            false => self.update,
        }
    }

    fn is_outdated(&self, ordinal: i64, pod: &Value) -> bool {
        identity::revision(pod) != self.revision(ordinal)
    }

    fn counts(&self, pod: &Value) -> bool {
        pods::is_active(pod) && is_available(pod, self.numbers.min_ready_s, self.now_ms)
    }

    /// Whether a pod that does no work is better made anew.
    fn is_hopeless(&self, ordinal: i64, pod: &Value) -> bool {
        if is_ready(pod) {
            return false;
        }
        let is_unbound = pod["spec"]["nodeName"]
            .as_str()
            .unwrap_or_default()
            .is_empty();
        let place = self.places.get(&ordinal).map(String::as_str);
        if self.numbers.has_claims && is_unbound && object::annotation(pod, PLACE) != place {
            return true;
        }
        if self.numbers.is_on_delete || !self.is_outdated(ordinal, pod) {
            return false;
        }
        // Where there is no order, whoever has to be updated can be as well when it is down.
        let is_due = !self.numbers.is_ordered && ordinal >= self.numbers.update_from;
        is_due || was_never_ready(pod)
    }

    fn tend(&self, ordinal: i64) -> Option<Move> {
        let Some(pod) = self.members.get(&ordinal) else {
            return (!(self.is_taken)(ordinal)).then_some(Move::Create(ordinal));
        };
        let goes = !object::is_being_deleted(pod)
            && (pods::has_ended(pod) || self.is_hopeless(ordinal, pod));
        goes.then(|| Move::Delete(pod.clone()))
    }

    /// What is to be done, in this order.
    pub(super) fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        self.gather(&mut moves);
        moves.truncate(BURST);
        moves
    }

    fn gather(&self, moves: &mut Vec<Move>) {
        let mut unavailable = 0;
        for ordinal in self.numbers.ordinals.clone() {
            let pod = self.members.get(&ordinal);
            if pod.is_some_and(|pod| self.counts(pod)) {
                continue;
            }
            unavailable += 1;
            moves.extend(self.tend(ordinal));
            if self.numbers.is_ordered {
                return;
            }
        }
        let is_extra = |ordinal: &i64| !self.numbers.ordinals.contains(ordinal);
        let extra = self.members.iter().rev();
        for (_, pod) in extra.filter(|(ordinal, _)| is_extra(ordinal)) {
            if !object::is_being_deleted(pod) {
                moves.push(Move::Delete(pod.clone()));
            }
            if self.numbers.is_ordered {
                return;
            }
        }
        if !self.numbers.is_on_delete {
            let spare = self.numbers.max_unavailable.saturating_sub(unavailable);
            moves.extend(self.old().take(spare).map(Move::Delete));
        }
    }

    /// The pods that work and are to be updated.
    fn old(&self) -> impl Iterator<Item = Arc<Value>> {
        let from = self.numbers.update_from.min(self.numbers.ordinals.end);
        let due = self.members.range(from..self.numbers.ordinals.end).rev();
        let old = due.filter(|(ordinal, pod)| {
            pods::is_active(pod) && is_ready(pod) && self.is_outdated(**ordinal, pod)
        });
        old.map(|(_, pod)| pod.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EARLY: &str = "1970-01-01T00:00:10Z";
    const LATE: &str = "1970-01-01T00:00:20Z";

    fn pod(ordinal: i64, revision: &str, ready: (&str, &str)) -> (i64, Arc<Value>) {
        let pod = json!({
            "metadata": {
                "name": format!("web-{ordinal}"),
                "labels": {"controller-revision-hash": revision},
            },
            "spec": {"nodeName": "n"},
            "status": {
                "phase": "Running",
                "startTime": EARLY,
                "conditions": [
                    {"type": "Ready", "status": ready.0, "lastTransitionTime": ready.1},
                ],
            },
        });
        (ordinal, Arc::new(pod))
    }

    /// `+0` is made, `-0` deleted.
    fn moves(spec: Value, pods: impl IntoIterator<Item = (i64, Arc<Value>)>) -> String {
        let scene = Scene {
            numbers: &Numbers::of(&json!({"spec": spec})),
            members: &pods.into_iter().collect(),
            places: &Places::new(),
            current: "old",
            update: "new",
            is_taken: &|ordinal| ordinal == 9,
            now_ms: 100_000,
        };
        let all = scene.moves().into_iter().map(|one| match one {
            Move::Create(ordinal) => format!("+{ordinal}"),
            Move::Delete(pod) => object::name(&pod).replace("web", ""),
        });
        all.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_after_the_other_or_all_at_once() {
        let (ordered, parallel) = (json!("OrderedReady"), json!("Parallel"));
        let spec = |policy: &Value| json!({"podManagementPolicy": policy, "replicas": 3});
        assert_eq!(moves(spec(&ordered), []), "+0");
        assert_eq!(moves(spec(&parallel), []), "+0 +1 +2");
        let up = || pod(0, "new", ("True", EARLY));
        let extra = || {
            [
                pod(3, "old", ("True", EARLY)),
                pod(4, "old", ("False", EARLY)),
            ]
        };
        assert_eq!(
            moves(spec(&ordered), [up()].into_iter().chain(extra())),
            "+1"
        );
        assert_eq!(
            moves(spec(&parallel), [up()].into_iter().chain(extra())),
            "+1 +2 -4 -3"
        );
        let one = json!({"podManagementPolicy": ordered, "replicas": 1});
        assert_eq!(moves(one, [up()].into_iter().chain(extra())), "-4");
        // Something else has the name.
        let taken =
            json!({"podManagementPolicy": parallel, "ordinals": {"start": 8}, "replicas": 3});
        assert_eq!(moves(taken, []), "+8 +10");
    }

    #[test]
    fn a_pod_that_does_no_work_is_updated_if_it_never_did_or_where_there_is_no_order() {
        let spec = |policy: &str, strategy: Value| json!({"podManagementPolicy": policy, "replicas": 2, "updateStrategy": strategy});
        let rolling = json!({"rollingUpdate": {"maxUnavailable": 1}});
        let held = json!({"rollingUpdate": {"partition": 2}});
        let by_hand = json!({"type": "OnDelete"});
        for (policy, strategy, revision, ready, expected) in [
            ("OrderedReady", &rolling, "old", ("False", EARLY), "-0"),
            ("OrderedReady", &rolling, "old", ("False", LATE), ""),
            ("OrderedReady", &rolling, "new", ("False", EARLY), ""),
            ("OrderedReady", &rolling, "old", ("True", EARLY), "-1"),
            ("OrderedReady", &held, "old", ("False", EARLY), ""),
            ("OrderedReady", &held, "new", ("False", EARLY), "-0"),
            ("OrderedReady", &by_hand, "old", ("False", EARLY), ""),
            ("Parallel", &rolling, "old", ("False", LATE), "-0"),
            ("Parallel", &rolling, "old", ("True", EARLY), "-1"),
            ("Parallel", &rolling, "new", ("False", LATE), ""),
            ("Parallel", &held, "new", ("False", LATE), ""),
            ("Parallel", &by_hand, "old", ("False", LATE), ""),
        ] {
            let pods = [pod(0, revision, ready), pod(1, "old", ("True", EARLY))];
            let found = moves(spec(policy, strategy.clone()), pods);
            assert_eq!(found, expected, "{policy} {strategy} {revision} {ready:?}");
        }
    }
}
