//! A pod gets its node: the scheduler's choice, a binding of somebody's own, or a pod that is made
//! with a node, as those of offers are. Whichever way, the condition `PodScheduled` tells since
//! when.

use serde_json::{Map, Value, json};

use super::object;

/// Binds a pod to a node.
pub fn bind(pod: &mut Value, node: &str, now: &str) {
    object::child_mut(pod, "spec").insert("nodeName".to_owned(), json!(node));
    tell(pod, now);
}

/// Tells of a pod that has a node that it has; nothing of one that has none.
pub fn tell(pod: &mut Value, now: &str) {
    if pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
        return;
    }
    let status = object::child_mut(pod, "status");
    status.remove("nominatedNodeName");
    let scheduled = json!({
        "type": "PodScheduled", "status": "True",
        "lastProbeTime": null, "lastTransitionTime": now,
    });
    set_condition(status, scheduled);
}

/// Sets a condition in place of the one of its type.
pub fn set_condition(status: &mut Map<String, Value>, condition: Value) {
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.retain(|it| it["type"] != condition["type"]);
        conditions.push(condition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_a_node_is_told_to_have_one() {
        let waiting = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"});
        let mut pod = json!({"spec": {}, "status": {
            "nominatedNodeName": "m", "conditions": [waiting, {"type": "Other"}],
        }});
        let before = pod.clone();
        tell(&mut pod, "now");
        assert_eq!(pod, before);
        bind(&mut pod, "n", "now");
        let told = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": "now"});
        assert_eq!(pod["spec"]["nodeName"], "n");
        assert_eq!(
            pod["status"],
            json!({"conditions": [{"type": "Other"}, told]})
        );
    }
}
