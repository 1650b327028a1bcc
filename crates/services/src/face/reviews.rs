//! What somebody may do: `kubectl auth can-i`, `kubectl auth whoami`.

use atoll_control::api::ControlApi;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{
    identity::{self, User, Verb},
    render::Answer,
    route::{Resource, Review},
};
use crate::core::kinds::{self, Kind, Subresource};

/// Every verb.
const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

/// Answers a question about oneself.
pub(super) fn answer<C: ControlApi>(
    control: &C,
    user: &User,
    review: Review,
    sent: &Value,
) -> Answer {
    let (kind, api_version, spec, status) = match review {
        Review::Access => (
            "SelfSubjectAccessReview",
            "authorization.k8s.io/v1",
            sent["spec"].clone(),
            access(control, user, &sent["spec"]),
        ),
        Review::Rules => (
            "SelfSubjectRulesReview",
            "authorization.k8s.io/v1",
            json!({}),
            rules(
                control,
                user,
                sent["spec"]["namespace"].as_str().unwrap_or_default(),
            ),
        ),
        Review::Subject => (
            "SelfSubjectReview",
            "authentication.k8s.io/v1",
            Value::Null,
            json!({"userInfo": {"username": user.name, "groups": ["system:authenticated"]}}),
        ),
    };
    let mut answered = json!({
        "kind": kind, "apiVersion": api_version,
        "metadata": {"creationTimestamp": null}, "status": status,
    });
    if !spec.is_null() {
        answered["spec"] = spec;
    }
    Answer::json(&answered).with_status(StatusCode::CREATED)
}

fn access<C: ControlApi>(control: &C, user: &User, spec: &Value) -> Value {
    let wanted = &spec["resourceAttributes"];
    if wanted.is_null() {
        // Pages are everybody's who is known.
        let reads = spec["nonResourceAttributes"]["verb"] == "get";
        return json!({"allowed": reads});
    }
    let text = |field: &str| wanted[field].as_str().unwrap_or_default();
    let (group, plural, verb) = (text("group"), text("resource"), text("verb"));
    let kinds: Vec<&'static Kind> = kinds::KINDS
        .iter()
        .copied()
        .filter(|kind| group == "*" || kind.group == group)
        .filter(|kind| plural == "*" || kind.plural == plural)
        .collect();
    if kinds.is_empty() {
        return json!({"allowed": false, "reason": format!("there is no resource {plural:?} in the API group {group:?} here")});
    }
    let part = Subresource::named(text("subresource"));
    let verbs: Vec<&'static str> = VERBS
        .into_iter()
        .filter(|known| verb == "*" || *known == verb)
        .collect();
    let may = |kind: &'static Kind, verb: &'static str| {
        let namespace = text("namespace");
        let resource = Resource {
            kind,
            version: kind,
            namespace: (kind.is_namespaced && !namespace.is_empty()).then(|| namespace.to_owned()),
            name: Some(text("name").to_owned()).filter(|name| !name.is_empty()),
            subresource: part,
        };
        identity::permit(control, user, Verb(verb), &resource).is_ok()
    };
    let allowed = !verbs.is_empty()
        && kinds
            .into_iter()
            .all(|kind| verbs.iter().all(|verb| may(kind, verb)));
    json!({"allowed": allowed})
}

fn rules<C: ControlApi>(control: &C, user: &User, namespace: &str) -> Value {
    let mut rules = Vec::new();
    for kind in kinds::KINDS {
        let resource = Resource {
            kind,
            version: kind,
            namespace: kind.is_namespaced.then(|| namespace.to_owned()),
            name: None,
            subresource: None,
        };
        let may =
            |verb: &&'static str| identity::permit(control, user, Verb(verb), &resource).is_ok();
        let verbs: Vec<&str> = VERBS.into_iter().filter(may).collect();
        if !verbs.is_empty() {
            rules.push(
                json!({"verbs": verbs, "apiGroups": [kind.group], "resources": [kind.plural]}),
            );
        }
    }
    json!({
        "resourceRules": rules, "incomplete": false,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}],
    })
}
