//! What the failure of a pod means, and which successes are enough, as the rules of a Job say
//! (Kubernetes documentation, "Pod failure policy", "Success policy").

use serde_json::Value;

use super::{super::conditions, spec::Spec};
use crate::core::{object, validate::indexes::Indexes};

/// What a failed pod means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It is one failure more.
    Count,
    /// It is none.
    Ignore,
    /// Its index fails.
    FailIndex,
    /// The Job fails; why.
    FailJob(String),
}

/// What the first rule that fits says.
pub(super) fn of_failure(spec: &Spec<'_>, pod: &Value) -> Action {
    for (number, rule) in spec.failure_rules.iter().enumerate() {
        let Some(why) = fits(rule, pod) else {
            continue;
        };
        let action = rule["action"].as_str().unwrap_or_default();
        return match action {
            "Ignore" => Action::Ignore,
            "FailIndex" if spec.backoff_limit_per_index.is_some() => Action::FailIndex,
            "FailJob" => Action::FailJob(format!("{why} matching {action} rule at index {number}")),
            _ => Action::Count,
        };
    }
    Action::Count
}

/// How a failed pod fits a rule, in words.
fn fits(rule: &Value, pod: &Value) -> Option<String> {
    let of_pod = format!("{}/{}", object::namespace(pod), object::name(pod));
    let codes = &rule["onExitCodes"];
    if codes.is_object() {
        let (container, code) = exit_of(codes, pod)?;
        return Some(format!(
            "Container {container} for pod {of_pod} failed with exit code {code}"
        ));
    }
    let condition = object::items(&rule["onPodConditions"]).find_map(|pattern| {
        let name = pattern["type"].as_str()?;
        let found = conditions::find(&pod["status"], name)?;
        (found["status"] == pattern["status"]).then_some(name)
    })?;
    Some(format!("Pod {of_pod} has condition {condition}"))
}

/// The container that ended so, and its code.
fn exit_of<'a>(codes: &Value, pod: &'a Value) -> Option<(&'a str, i64)> {
    let status = &pod["status"];
    let lists = [
        &status["containerStatuses"],
        &status["initContainerStatuses"],
    ];
    let mut containers = lists.into_iter().flat_map(object::items);
    containers.find_map(|container| {
        let name = container["name"].as_str().unwrap_or_default();
        let is_meant = codes["containerName"].as_str().is_none_or(|it| it == name);
        let code = container["state"]["terminated"]["exitCode"].as_i64()?;
        let is_listed = object::items(&codes["values"]).any(|value| *value == code);
        let fits = match codes["operator"].as_str() {
            Some("In") => is_listed,
            Some("NotIn") => !is_listed,
            _ => false,
        };
        (is_meant && code != 0 && fits).then_some((name, code))
    })
}

/// The first rule of the success policy that is fulfilled.
pub(super) fn of_success(spec: &Spec<'_>, succeeded: &Indexes) -> Option<String> {
    if succeeded.is_empty() {
        return None;
    }
    let is_fulfilled = |rule: &Value| {
        let count = rule["succeededCount"].as_u64();
        let Some(text) = rule["succeededIndexes"].as_str() else {
            return count.is_some_and(|count| succeeded.count() >= count);
        };
        let wanted = Indexes::of_status(text, spec.indexes());
        let found = wanted.count_in(succeeded);
        !wanted.is_empty() && found >= count.unwrap_or(wanted.count())
    };
    let number = spec.success_rules.iter().position(is_fulfilled)?;
    Some(format!("Matched rules at index {number}"))
}
