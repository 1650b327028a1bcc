//! Runs the scheduler on the node that leads: what changes in the mirror goes in, decisions are
//! written, many bindings in one entry of the log.
//!
//! A binding compares the pod with what was decided from. Where one pod of many has changed, each
//! is written by itself. What pods leave is offered to frameworks, between turns.

use std::time::Duration;

use atoll_control::api::ControlApi;
use atoll_world::clock;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{
    execute::Executor,
    mirror::{Mirror, Standing},
    offers::counter::Hatch,
    store::{self, Change, To},
};
use crate::core::{
    binding,
    controllers::world::{Event, View as _},
    eviction::Disruption,
    kinds::{self, Subresource},
    lifecycle::Deletion,
    object::{self, Name},
    scheduler::{Decision, Scheduler, Settings, Target},
    status::{Failure, Reason},
    time::format_rfc3339,
};

/// So many pods have their turn before what changed meanwhile is looked at.
const TURNS_MAX: usize = 512;
/// So many bindings go into one entry.
const BINDINGS_MAX: usize = 64;
/// So many entries are written at a time.
const ENTRIES_MAX: usize = 4;
/// So many pods are told at a time why they have no node.
const TOLD_MAX: usize = 16;
/// How long it takes until it is asked again what became of bindings.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a look takes at most if nothing changes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until leadership ends, which drops this future.
pub(super) async fn run<C: ControlApi>(
    mirror: Mirror,
    executor: Executor<C>,
    settings: Settings,
    hatch: &Hatch,
) {
    let mut scheduler = Scheduler::new(settings);
    let mut counter = hatch.open();
    let mut has_changed = true;
    let begun = clock::now();
    let now_ms = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut news = mirror.news();
    let follower = mirror.follower();
    follower.has_looked(resync(&mut scheduler, &mirror));
    loop {
        let decisions = scheduler.schedule(TURNS_MAX, now_ms());
        let is_busy = !decisions.is_empty();
        carry_out(&mut scheduler, &mirror, &executor, decisions, now_ms()).await;
        has_changed |= is_busy;
        counter.turn(&mut scheduler, &mirror, &executor, has_changed, now_ms());
        if !is_busy {
            let next = [scheduler.next_ms(), counter.next_ms()];
            let wait = next
                .into_iter()
                .flatten()
                .min()
                .map_or(LOOK_INTERVAL, |at_ms| {
                    Duration::from_millis(at_ms.saturating_sub(now_ms())).min(LOOK_INTERVAL)
                });
            tokio::select! {
                biased;
                changed = news.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = counter.arrival() => {}
                () = clock::sleep(wait) => {}
            }
        }
        let changes = follower.changes();
        has_changed = changes.as_ref().is_none_or(|changes| !changes.is_empty());
        match changes {
            Some(changes) => {
                for changed in &changes {
                    scheduler.changed(&changed.name, changed.new.as_ref());
                }
            }
            None => follower.has_looked(resync(&mut scheduler, &mirror)),
        }
    }
}

/// Looks at everything anew; where the mirror stood then.
fn resync(scheduler: &mut Scheduler, mirror: &Mirror) -> Standing {
    let look = mirror.look();
    scheduler.resync(&look);
    look.standing()
}

async fn carry_out<C: ControlApi>(
    scheduler: &mut Scheduler,
    mirror: &Mirror,
    executor: &Executor<C>,
    decisions: Vec<Decision>,
    now_ms: u64,
) {
    let mut bindings = Vec::new();
    let mut others = Vec::new();
    for decision in decisions {
        match decision {
            Decision::Bind { pod, node } => bindings.push((pod, node)),
            other => others.push(other),
        }
    }
    let entries: Vec<_> = bindings.chunks(BINDINGS_MAX).map(<[_]>::to_vec).collect();
    let written = stream::iter(entries)
        .map(|bindings| bind(mirror, executor, bindings))
        .buffered(ENTRIES_MAX);
    let mut written = std::pin::pin!(written);
    while let Some(outcome) = written.next().await {
        let mut is_settled = false;
        for (pod, written) in outcome {
            let is_written = match written {
                Written::Yes => true,
                Written::No => false,
                Written::Unknown => {
                    // Its room stays taken meanwhile.
                    if !is_settled {
                        settle(mirror, executor).await;
                        is_settled = true;
                    }
                    is_bound(mirror, &pod)
                }
            };
            scheduler.bound(&pod, is_written, now_ms);
        }
    }
    stream::iter(others)
        .for_each_concurrent(TOLD_MAX, |decision| tell_of(executor, decision))
        .await;
}

/// Tells why a pod has no node, and makes room for it if that is decided.
async fn tell_of<C: ControlApi>(executor: &Executor<C>, decision: Decision) {
    match decision {
        Decision::Unschedulable {
            pod,
            message,
            nominated,
        } => {
            tell(executor, &pod, &message, nominated).await;
        }
        Decision::Preempt {
            pod,
            node,
            message,
            victims,
        } => {
            tell(executor, &pod, &message, Some(node)).await;
            for victim in victims {
                preempt(executor, &pod, victim).await;
            }
        }
        Decision::Bind { .. } => {}
    }
}

/// What became of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Yes,
    No,
    /// It may come about still.
    Unknown,
}

impl Written {
    fn of(committed: &Result<Option<i64>, Failure>) -> Written {
        match committed {
            Ok(Some(_)) => Written::Yes,
            Ok(None) => Written::No,
            // What the cluster has refused will not come about.
            Err(failure) if failure.code() < 500 => Written::No,
            Err(_) => Written::Unknown,
        }
    }
}

/// Waits until the mirror has all that was written before.
async fn settle<C: ControlApi>(mirror: &Mirror, executor: &Executor<C>) {
    let revision = loop {
        match executor.objects.store.revision().await {
            Ok(revision) => break revision,
            // Nothing can be bound anyway as long as nothing can be read.
            Err(_) => clock::sleep(ASK_INTERVAL).await,
        }
    };
    while clock::timeout(ASK_INTERVAL, mirror.reaches(revision))
        .await
        .is_err()
    {
        // It asks how far it is each time.
    }
}

/// Whether a pod has a node.
fn is_bound(mirror: &Mirror, pod: &Target) -> bool {
    let found = mirror
        .look()
        .get(&kinds::PODS, &pod.name.namespace, &pod.name.name);
    found.is_some_and(|found| {
        object::uid(&found) == pod.uid && found["spec"]["nodeName"].is_string()
    })
}

/// Writes bindings; what became of them.
async fn bind<C: ControlApi>(
    mirror: &Mirror,
    executor: &Executor<C>,
    bindings: Vec<(Target, String)>,
) -> Vec<(Target, Written)> {
    let now = format_rfc3339(clock::wall_ms());
    let mut outcome = Vec::new();
    let mut changes = Vec::new();
    for (pod, node) in &bindings {
        let found = mirror
            .look()
            .get(&kinds::PODS, &pod.name.namespace, &pod.name.name);
        let change = found.and_then(|found| assignment(&found, pod, node, &now));
        match change {
            Some(change) => changes.push((pod, node, change)),
            None => outcome.push((pod.clone(), Written::No)),
        }
    }
    let store = &executor.objects.store;
    let all: Vec<Change> = changes.iter().map(|(.., change)| change.clone()).collect();
    let together = match all.is_empty() {
        true => return outcome,
        false => store.commit(&all).await,
    };
    for (pod, node, change) in changes {
        let written = match &together {
            Ok(None) if all.len() > 1 => Written::of(&store.commit(&[change]).await),
            together => Written::of(together),
        };
        if written == Written::Yes {
            executor.events.tell(assigned(pod, node));
        }
        outcome.push((pod.clone(), written));
    }
    outcome
}

/// The write that gives a pod its node; none if the pod is not the one that was decided about.
fn assignment(found: &Value, pod: &Target, node: &str, now: &str) -> Option<Change> {
    let is_same = object::uid(found) == pod.uid
        && object::meta(found, "resourceVersion") == pod.resource_version;
    let expected = pod.resource_version.parse().ok().filter(|_| is_same)?;
    let mut bound = found.clone();
    binding::bind(&mut bound, node, now);
    Some(Change {
        key: store::key(&pod.name),
        expected: Some(expected),
        to: To::Value(store::encode(&bound).ok()?),
    })
}

/// Tells why a pod has no node.
async fn tell<C: ControlApi>(
    executor: &Executor<C>,
    pod: &Target,
    message: &str,
    nominated: Option<String>,
) {
    let change = |old: &Value| {
        if object::uid(old) != pod.uid {
            return Err(Failure::new(Reason::NotFound, "the pod is another one"));
        }
        let mut new = old.clone();
        let conditions = old["status"]["conditions"].as_array();
        let had = conditions.and_then(|all| all.iter().find(|it| it["type"] == "PodScheduled"));
        let since = had.filter(|had| had["status"] == "False").map_or_else(
            || json!(format_rfc3339(clock::wall_ms())),
            |had| had["lastTransitionTime"].clone(),
        );
        let status = object::child_mut(&mut new, "status");
        binding::set_condition(
            status,
            json!({
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": message, "lastProbeTime": null, "lastTransitionTime": since,
            }),
        );
        match &nominated {
            Some(node) => status.insert("nominatedNodeName".to_owned(), json!(node)),
            None => status.remove("nominatedNodeName"),
        };
        Ok(new)
    };
    let part = Some(Subresource::Status);
    let written = executor
        .objects
        .update(&pod.name, part, &executor.writer, change);
    if let Err(failure) = written.await {
        tracing::debug!(%failure, "why a pod has no node is not told");
    }
    let told = event(pod, true, "FailedScheduling", message.to_owned());
    executor.events.tell(told);
}

async fn preempt<C: ControlApi>(executor: &Executor<C>, pod: &Target, victim: Target) {
    let deletion = Deletion {
        uid: Some(victim.uid.clone()),
        disruption: Some(Disruption::Preemption),
        ..Deletion::default()
    };
    let (objects, writer) = (&executor.objects, &executor.writer);
    match objects.delete(&victim.name, &deletion, writer).await {
        Ok(_) => {
            let message = format!("Preempted by pod {}", pod.uid);
            executor
                .events
                .tell(event(&victim, false, "Preempted", message));
        }
        Err(failure) => tracing::debug!(%failure, "a pod is not preempted yet"),
    }
}

/// Tells that a pod has a node.
pub(super) fn assigned(pod: &Target, node: &str) -> Event {
    let Name {
        namespace, name, ..
    } = &pod.name;
    let message = format!("Successfully assigned {namespace}/{name} to {node}");
    event(pod, false, "Scheduled", message)
}

fn event(pod: &Target, is_warning: bool, reason: &'static str, message: String) -> Event {
    let about = json!({
        "apiVersion": "v1", "kind": "Pod", "namespace": pod.name.namespace,
        "name": pod.name.name, "uid": pod.uid,
    });
    Event {
        about,
        component: "default-scheduler",
        is_warning,
        reason: reason.into(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_binding_without_an_answer_is_not_taken_for_one_that_is_not_written() {
        let failed = |reason| Written::of(&Err(Failure::new(reason, "")));
        assert_eq!(failed(Reason::Timeout), Written::Unknown);
        assert_eq!(failed(Reason::ServiceUnavailable), Written::Unknown);
        assert_eq!(failed(Reason::RequestEntityTooLarge), Written::No);
        assert_eq!(Written::of(&Ok(None)), Written::No);
        assert_eq!(Written::of(&Ok(Some(7))), Written::Yes);
    }

    #[test]
    fn a_binding_is_of_the_pod_that_was_decided_about() {
        let found = Arc::new(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "u", "resourceVersion": "7"},
            "status": {"conditions": [{"type": "PodScheduled", "status": "False"}]},
        }));
        let pod = Target {
            name: Name {
                kind: &kinds::PODS,
                namespace: "default".to_owned(),
                name: "web".to_owned(),
            },
            uid: "u".to_owned(),
            resource_version: "7".to_owned(),
        };
        let change = assignment(&found, &pod, "a", "now").unwrap();
        assert_eq!(change.expected, Some(7));
        let To::Value(value) = change.to else {
            panic!("a pod that is bound stays");
        };
        let bound: Value = serde_json::from_slice(&value).unwrap();
        assert_eq!(bound["spec"]["nodeName"], "a");
        assert_eq!(bound["status"]["conditions"].as_array().unwrap().len(), 1);
        assert_eq!(bound["status"]["conditions"][0]["status"], "True");
        let later = Target {
            resource_version: "8".to_owned(),
            ..pod
        };
        assert!(assignment(&found, &later, "a", "now").is_none());
    }
}
