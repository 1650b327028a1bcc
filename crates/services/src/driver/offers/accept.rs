//! Pods in the room of an offer: it is claimed first, then they are made, each by itself. What
//! can't be made is told, and its claim given back.

use std::sync::Arc;

use atoll_control::api::ControlApi;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::wire::{Accepted, Answer, Made, Refusal, Why};
use crate::{
    core::{
        defaults, kinds,
        object::{self, Name},
        scheduler::{FRAMEWORK, Scheduler, Target},
    },
    driver::{execute::Executor, objects::Writer, scheduling},
};

/// So many pods of one offer are made at a time.
const MAKING_MAX: usize = 16;

/// Claims an offer's room for pods; the node, and the pods as they are to be made.
pub(super) fn claim(
    scheduler: &mut Scheduler,
    framework: &str,
    offer: u64,
    pods: Vec<Value>,
    decline_ms: u64,
    now_ms: u64,
) -> Result<(String, Vec<Value>), Refusal> {
    let pods = pods.into_iter().map(|pod| task(pod, framework));
    let pods: Vec<Value> = pods.collect::<Result<_, _>>()?;
    // What is left open counts as it will be filled in.
    let tasks = pods.iter().map(|pod| {
        let mut task = pod.clone();
        defaults::default(&kinds::PODS, &mut task);
        Arc::new(task)
    });
    let tasks: Vec<Arc<Value>> = tasks.collect();
    let node = scheduler.accept(framework, offer, &tasks, decline_ms, now_ms)?;
    let mut pods = pods;
    for pod in &mut pods {
        object::child_mut(pod, "spec").insert("nodeName".to_owned(), json!(node));
    }
    Ok((node, pods))
}

/// A pod as a framework's.
fn task(mut pod: Value, framework: &str) -> Result<Value, Refusal> {
    let wrong = |message: &str| Err(Refusal::new(Why::Wrong, message));
    if !pod.is_object() || object::name(&pod).is_empty() || object::namespace(&pod).is_empty() {
        return wrong("a pod has a namespace and a name");
    }
    if !object::child_mut(&mut pod, "spec")
        .get("nodeName")
        .is_none_or(Value::is_null)
    {
        return wrong("the node of a pod is that of the offer");
    }
    let labels = object::meta_mut(&mut pod)
        .entry("labels")
        .or_insert(Value::Null);
    match labels {
        Value::Object(labels) => drop(labels.insert(FRAMEWORK.to_owned(), json!(framework))),
        labels => *labels = json!({ FRAMEWORK: framework }),
    }
    Ok(pod)
}

/// Makes pods; the answer, and the namespaces and names of those that are sure not to be there.
pub(super) async fn make<C: ControlApi>(
    executor: Executor<C>,
    framework: String,
    node: String,
    pods: Vec<Value>,
) -> (Answer, Vec<(String, String)>) {
    let writer = Writer::own(&framework);
    let making = pods
        .into_iter()
        .map(|pod| make_one(&executor, &writer, &node, pod));
    let made: Vec<(Accepted, bool)> = stream::iter(making).buffered(MAKING_MAX).collect().await;
    let not_made = made.iter().filter(|(_, is_gone)| *is_gone);
    let not_made = not_made.map(|(pod, _)| (pod.namespace.clone(), pod.name.clone()));
    let not_made = not_made.collect();
    let pods = made.into_iter().map(|(pod, _)| pod).collect();
    (Answer::Accepted { node, pods }, not_made)
}

/// Makes a pod; also whether it is sure that there is none.
async fn make_one<C: ControlApi>(
    executor: &Executor<C>,
    writer: &Writer,
    node: &str,
    pod: Value,
) -> (Accepted, bool) {
    let name = Name::of(&kinds::PODS, &pod);
    let kind = &kinds::PODS;
    let created = executor.objects.create(kind, &name.namespace, pod, writer);
    let (made, is_gone) = match created.await {
        Ok(stored) => {
            let target = Target {
                name: name.clone(),
                uid: object::uid(&stored.object).to_owned(),
                resource_version: stored.revision.to_string(),
            };
            executor.events.tell(scheduling::assigned(&target, node));
            let made = Made {
                uid: target.uid,
                resource_version: target.resource_version,
            };
            (Ok(made), false)
        }
        // What the cluster did not do may still come about; what it refused will not.
        Err(failure) => (Err((&failure).into()), failure.code() < 500),
    };
    let accepted = Accepted {
        namespace: name.namespace,
        name: name.name,
        made,
    };
    (accepted, is_gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Value {
        json!({
            "metadata": {"name": "n"},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
        })
    }

    fn scheduler() -> Scheduler {
        let mut scheduler = Scheduler::default();
        let node = Arc::new(node());
        scheduler.changed(&Name::of(&kinds::NODES, &node), Some(&node));
        scheduler.framework_joins("batch", 1).unwrap();
        scheduler
    }

    fn pod(name: &str) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "jobs", "labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "3"}}}]},
        })
    }

    #[test]
    fn what_is_accepted_is_made_on_the_node_of_the_offer_under_the_name_of_its_framework() {
        let mut scheduler = scheduler();
        let offer = scheduler.offer(0).made.remove(0).id;
        let (node, pods) = claim(&mut scheduler, "batch", offer, vec![pod("a")], 0, 0).unwrap();
        assert_eq!((node.as_str(), pods.len()), ("n", 1));
        assert_eq!(pods[0]["spec"]["nodeName"], "n");
        let labels = json!({"app": "a", "atoll.dev/framework": "batch"});
        assert_eq!(pods[0]["metadata"]["labels"], labels);
        // Who says nothing of requests asks for the limits.
        let used = |scheduler: &Scheduler| scheduler.snapshot().room("n").unwrap().1.milli_cpu;
        assert_eq!(used(&scheduler), 3_000);
        let offer = scheduler.offer(0).made.remove(0).id;
        let refusal = claim(&mut scheduler, "batch", offer, vec![pod("b")], 0, 0).unwrap_err();
        assert_eq!(refusal.why, Why::Wrong);
        // One that can't be made is counted no more.
        scheduler.unclaim("jobs", "a");
        assert_eq!(used(&scheduler), 0);
        scheduler.unclaim("jobs", "a");
        assert_eq!(used(&scheduler), 0);
    }

    #[test]
    fn pods_have_names_and_no_node_of_their_own() {
        let mut elsewhere = pod("a");
        elsewhere["spec"]["nodeName"] = json!("m");
        let mut nowhere = pod("a");
        nowhere["metadata"]["namespace"] = Value::Null;
        for wrong in [json!([]), json!({}), pod(""), elsewhere, nowhere] {
            let mut scheduler = scheduler();
            let offer = scheduler.offer(0).made.remove(0).id;
            let pods = vec![pod("b"), wrong.clone()];
            let refused = claim(&mut scheduler, "batch", offer, pods, 0, 0);
            assert_eq!(refused.unwrap_err().why, Why::Wrong, "{wrong}");
            // Nothing has begun.
            assert!(claim(&mut scheduler, "batch", offer, vec![pod("b")], 0, 0).is_ok());
        }
    }
}
