//! Which pods are hurt last when a node runs short (Kubernetes' "Pod Quality of Service Classes").

use serde_json::Value;

use crate::core::object;
use crate::core::quantity;

/// A pod's class, which never changes: what its status says, else what its requests and limits
/// make it.
pub(super) fn class(pod: &Value) -> Value {
    if let known @ Value::String(_) = &pod["status"]["qosClass"] {
        return known.clone();
    }
    let all = || object::containers(pod);
    let amount = |one: &Value, kind: &str, name: &str| {
        let amount = quantity::of(&one["resources"][kind][name]);
        amount.filter(|amount| !amount.is_zero())
    };
    let is_pledged = |one: &Value, name: &&str| {
        let limit = amount(one, "limits", name);
        let request = amount(one, "requests", name);
        limit.is_some() && (request.is_none() || request == limit)
    };
    let has_any = |one: &Value, name: &&str| {
        amount(one, "limits", name)
            .or_else(|| amount(one, "requests", name))
            .is_some()
    };
    let names = ["cpu", "memory"];
    let class = if all().all(|one| names.iter().all(|name| is_pledged(one, name))) {
        "Guaranteed"
    } else if all().any(|one| names.iter().any(|name| has_any(one, name))) {
        "Burstable"
    } else {
        "BestEffort"
    };
    Value::from(class)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn classes_follow_from_requests_and_limits() {
        let of =
            |resources: Value| class(&json!({"spec": {"containers": [{"resources": resources}]}}));
        assert_eq!(of(json!({})), "BestEffort");
        assert_eq!(of(json!({"requests": {"cpu": "1"}})), "Burstable");
        let both = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}});
        assert_eq!(of(both), "Guaranteed");
        let less = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}});
        assert_eq!(of(less), "Burstable");
        assert_eq!(
            class(&json!({"status": {"qosClass": "Guaranteed"}})),
            "Guaranteed"
        );
    }
}
