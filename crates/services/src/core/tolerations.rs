//! Taints of nodes, and pods that put up with them (Kubernetes documentation, "Taints and
//! Tolerations").

use serde_json::Value;

use super::nodes::added_ms;

/// Whether a toleration is about a taint.
fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    let (effect, key) = (text(toleration, "effect"), text(toleration, "key"));
    if !effect.is_empty() && effect != text(taint, "effect") {
        return false;
    }
    if !key.is_empty() && key != text(taint, "key") {
        return false;
    }
    match text(toleration, "operator").as_str() {
        "Exists" => true,
        // No key at all is for `Exists` alone.
        _ => !key.is_empty() && text(toleration, "value") == text(taint, "value"),
    }
}

fn list<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    object[field].as_array().into_iter().flatten()
}

/// The first taint that keeps a pod from coming to a node.
pub fn untolerated<'a>(pod: &Value, taints: &'a Value) -> Option<&'a Value> {
    let all = taints.as_array()?;
    let keeps = |taint: &&Value| taint["effect"] == "NoSchedule" || taint["effect"] == "NoExecute";
    let is_free =
        |taint: &&Value| !list(&pod["spec"], "tolerations").any(|it| tolerates(it, taint));
    all.iter().filter(keeps).find(is_free)
}

/// How many taints would rather not have the pod.
pub fn unpreferred(pod: &Value, taints: &Value) -> usize {
    let soft = |taint: &&Value| taint["effect"] == "PreferNoSchedule";
    let is_free =
        |taint: &&Value| !list(&pod["spec"], "tolerations").any(|it| tolerates(it, taint));
    let all = taints.as_array().into_iter().flatten();
    all.filter(soft).filter(is_free).count()
}

/// Whether there are taints that drive pods away which do not put up with them.
pub fn drives_away(taints: &Value) -> bool {
    let all = taints.as_array();
    all.is_some_and(|all| all.iter().any(|taint| taint["effect"] == "NoExecute"))
}

/// When the taints of its node drive a pod away, milliseconds since the epoch (0: at once); none
/// if they do not.
pub fn evicted_at_ms(pod: &Value, taints: &Value) -> Option<u64> {
    let all = taints.as_array().into_iter().flatten();
    let drives = all.filter(|taint| taint["effect"] == "NoExecute");
    drives.filter_map(|taint| driven_at_ms(pod, taint)).min()
}

fn driven_at_ms(pod: &Value, taint: &Value) -> Option<u64> {
    let mut shortest_s = None;
    let mut is_tolerated = false;
    for toleration in list(&pod["spec"], "tolerations").filter(|it| tolerates(it, taint)) {
        is_tolerated = true;
        if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            shortest_s = Some(shortest_s.map_or(seconds, |it: u64| it.min(seconds)));
        }
    }
    match (is_tolerated, shortest_s) {
        (false, _) => Some(0),
        (true, None) => None,
        (true, Some(seconds)) => {
            let since_ms = added_ms(taint).unwrap_or(0);
            Some(since_ms.saturating_add(seconds.saturating_mul(1_000)))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tolerations_match_as_documented() {
        let taint = json!({"key": "k", "value": "v", "effect": "NoSchedule"});
        let cases = [
            (json!({"key": "k", "operator": "Equal", "value": "v"}), true),
            (
                json!({"key": "k", "value": "v", "effect": "NoSchedule"}),
                true,
            ),
            (json!({"key": "k", "value": "w"}), false),
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"operator": "Exists"}), true),
            (
                json!({"key": "k", "operator": "Exists", "effect": "NoExecute"}),
                false,
            ),
            (json!({"key": "other", "operator": "Exists"}), false),
            (json!({"value": "v"}), false),
        ];
        for (toleration, expected) in cases {
            assert_eq!(tolerates(&toleration, &taint), expected, "{toleration}");
            let pod = json!({"spec": {"tolerations": [toleration]}});
            let taints = json!([taint]);
            assert_eq!(untolerated(&pod, &taints).is_none(), expected);
        }
    }

    #[test]
    fn the_shortest_toleration_counts() {
        let taints =
            json!([{"key": "k", "effect": "NoExecute", "timeAdded": "1970-01-01T00:01:00Z"}]);
        let pod = |tolerations: Value| json!({"spec": {"tolerations": tolerations}});
        assert_eq!(evicted_at_ms(&pod(json!([])), &taints), Some(0));
        assert_eq!(
            evicted_at_ms(&pod(json!([{"operator": "Exists"}])), &taints),
            None
        );
        let two = json!([{"operator": "Exists", "tolerationSeconds": 90},
            {"key": "k", "operator": "Exists", "tolerationSeconds": 30}]);
        assert_eq!(evicted_at_ms(&pod(two), &taints), Some(90_000));
        assert_eq!(evicted_at_ms(&pod(json!([])), &json!([])), None);
    }
}
