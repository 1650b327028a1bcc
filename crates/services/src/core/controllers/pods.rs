//! What the state of a pod means for those who count pods.

use serde_json::Value;

use crate::core::{object, time::parse_rfc3339};

/// `status.phase`.
pub(super) fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or_default()
}

/// Whether it will never run again.
pub(super) fn has_ended(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it counts as a replica.
pub(super) fn is_active(pod: &Value) -> bool {
    !has_ended(pod) && !object::is_being_deleted(pod)
}

/// Whether it is being stopped.
pub(super) fn is_terminating(pod: &Value) -> bool {
    !has_ended(pod) && object::is_being_deleted(pod)
}

/// Whether it answers.
pub(super) fn is_ready(pod: &Value) -> bool {
    super::conditions::find(&pod["status"], "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// Since when it has answered, in milliseconds; none if it does not.
pub(super) fn ready_since_ms(pod: &Value) -> Option<u64> {
    let ready = super::conditions::find(&pod["status"], "Ready")?;
    let since = parse_rfc3339(ready["lastTransitionTime"].as_str()?)?;
    (ready["status"] == "True").then_some(since)
}

/// In how many milliseconds it has been ready for so long that it counts as available: 0 if it
/// has; none if it is not ready.
pub(super) fn available_in_ms(pod: &Value, min_ready_s: u64, now_ms: u64) -> Option<u64> {
    if min_ready_s == 0 {
        return is_ready(pod).then_some(0);
    }
    let at = ready_since_ms(pod)?.saturating_add(min_ready_s.saturating_mul(1_000));
    Some(at.saturating_sub(now_ms))
}

/// Whether it counts as available.
pub(super) fn is_available(pod: &Value, min_ready_s: u64, now_ms: u64) -> bool {
    available_in_ms(pod, min_ready_s, now_ms) == Some(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_available_once_it_was_ready_for_long_enough() {
        let ready = |status: &str| {
            json!({"status": {"conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": "1970-01-01T00:00:10Z"},
            ]}})
        };
        assert_eq!(available_in_ms(&ready("True"), 5, 12_000), Some(3_000));
        assert_eq!(available_in_ms(&ready("True"), 5, 15_000), Some(0));
        assert_eq!(available_in_ms(&ready("True"), 0, 0), Some(0));
        assert_eq!(available_in_ms(&ready("False"), 0, 15_000), None);
        assert_eq!(available_in_ms(&json!({}), 5, 15_000), None);
    }
}
