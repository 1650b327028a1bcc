//! What makes a pod the one of its ordinal: its name, its labels, its volumes, and its node if
//! that has the volumes.

use serde_json::{Value, json};

use crate::core::{
    controllers::{owners, revisions::REVISION_LABEL},
    kinds::{PODS, STATEFUL_SETS},
    object,
};

const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";
/// Says on a pod to which node it is bound by its volumes.
pub(super) const PLACE: &str = "atoll.dev/place";

/// The name of a set's pod.
pub(super) fn pod_name(set: &Value, ordinal: i64) -> String {
    format!("{}-{ordinal}", object::name(set))
}

/// What is before the last dash of a pod's name, and the ordinal behind it.
pub(super) fn parts(name: &str) -> Option<(&str, i64)> {
    let (set, text) = name.rsplit_once('-')?;
    let ordinal = text.parse::<i32>().ok().filter(|ordinal| *ordinal >= 0)?;
    // There is one way to write it.
    (ordinal.to_string() == text).then_some((set, i64::from(ordinal)))
}

/// Which of a set's pods this one is, by its name.
pub(super) fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    let (name, ordinal) = parts(object::name(pod))?;
    (name == object::name(set)).then_some(ordinal)
}

/// The name of the revision whose template it has.
pub(super) fn revision(pod: &Value) -> &str {
    object::label(pod, REVISION_LABEL).unwrap_or_default()
}

/// The labels by which services and clients find one pod.
fn labels(set: &Value, ordinal: i64) -> [(&'static str, String); 2] {
    [
        (NAME_LABEL, pod_name(set, ordinal)),
        (INDEX_LABEL, ordinal.to_string()),
    ]
}

/// The pod with the labels of its ordinal; none if it has them.
pub(super) fn relabelled(set: &Value, ordinal: i64, pod: &Value) -> Option<Value> {
    let labels = labels(set, ordinal);
    let has = |(key, value): &(&str, String)| object::label(pod, key) == Some(value);
    if labels.iter().all(has) {
        return None;
    }
    let mut pod = pod.clone();
    put_labels(&mut pod, labels);
    Some(pod)
}

fn put_labels(pod: &mut Value, labels: impl IntoIterator<Item = (&'static str, String)>) {
    let all = object::child_mut(&mut pod["metadata"], "labels");
    for (key, value) in labels {
        all.insert(key.to_owned(), json!(value));
    }
}

/// The pod of an ordinal. `template` is that of the revision of this name; `node`: where its
/// volumes are.
pub(super) fn new_pod(
    set: &Value,
    ordinal: i64,
    (revision, template): (&str, &Value),
    node: Option<&str>,
) -> Value {
    let name = pod_name(set, ordinal);
    let mut pod = json!({
        "apiVersion": PODS.api_version(),
        "kind": PODS.kind,
        "metadata": {
            "name": name,
            "generateName": format!("{}-", object::name(set)),
            "namespace": object::namespace(set),
            "ownerReferences": [owners::controller_reference(&STATEFUL_SETS, set)],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(field) {
            pod["metadata"][field] = value.clone();
        }
    }
    let of_revision = (REVISION_LABEL, revision.to_owned());
    put_labels(
        &mut pod,
        labels(set, ordinal).into_iter().chain([of_revision]),
    );
    let spec = object::child_mut(&mut pod, "spec");
    spec.insert("hostname".to_owned(), json!(name));
    let service = &set["spec"]["serviceName"];
    if service.as_str().is_some_and(|service| !service.is_empty()) {
        spec.insert("subdomain".to_owned(), service.clone());
    }
    put_volumes(set, ordinal, &mut pod);
    if let Some(node) = node {
        let annotations = object::child_mut(&mut pod["metadata"], "annotations");
        annotations.insert(PLACE.to_owned(), json!(node));
        bind(&mut pod, node);
    }
    pod
}

/// A volume for each claim of the set; it stands before one of the template that has its name.
fn put_volumes(set: &Value, ordinal: i64, pod: &mut Value) {
    let claims = object::items(&set["spec"]["volumeClaimTemplates"]);
    let mut volumes: Vec<Value> = claims
        .map(|claim| {
            let (name, set) = (object::name(claim), object::name(set));
            let claim = format!("{name}-{set}-{ordinal}");
            json!({"name": name, "persistentVolumeClaim": {"claimName": claim}})
        })
        .collect();
    if volumes.is_empty() {
        return;
    }
    let count = volumes.len();
    for volume in object::items(&pod["spec"]["volumes"]) {
        let is_claimed = volumes[..count]
            .iter()
            .any(|claimed| claimed["name"] == volume["name"]);
        if !is_claimed {
            volumes.push(volume.clone());
        }
    }
    pod["spec"]["volumes"] = Value::Array(volumes);
}

/// Lets only this node have the pod, and only if the pod would have it.
fn bind(pod: &mut Value, node: &str) {
    let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
    let affinity = object::child_mut(&mut pod["spec"], "affinity");
    let affinity = affinity.entry("nodeAffinity").or_insert(Value::Null);
    if !affinity.is_object() {
        *affinity = json!({});
    }
    let required = object::child_mut(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
    let terms = required.entry("nodeSelectorTerms").or_insert(Value::Null);
    match terms.as_array_mut().filter(|terms| !terms.is_empty()) {
        None => *terms = json!([{"matchFields": [field]}]),
        Some(terms) => terms.iter_mut().for_each(|term| require(term, &field)),
    }
}

/// One more requirement for a node; what is for no node, as it has none, stays so.
fn require(term: &mut Value, field: &Value) {
    let count = |list: &str| object::items(&term[list]).count();
    if count("matchExpressions") + count("matchFields") == 0 {
        return;
    }
    match term["matchFields"].as_array_mut() {
        Some(fields) => fields.push(field.clone()),
        None => term["matchFields"] = json!([field]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "u"},
            "spec": {
                "serviceName": "peers",
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            },
        })
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, expected) in [
            ("web-0", Some(("web", 0))),
            ("web-1-12", Some(("web-1", 12))),
            ("web-01", None),
            ("web-+1", None),
            ("web-", None),
            ("web-99999999999", None),
            ("web", None),
        ] {
            assert_eq!(parts(name), expected, "{name}");
        }
        assert_eq!(
            ordinal(&set(), &json!({"metadata": {"name": "web-1-2"}})),
            None
        );
    }

    #[test]
    fn a_pod_has_its_name_labels_and_volumes() {
        let template = json!({
            "metadata": {"labels": {"app": "web", "controller-revision-hash": "old"}},
            "spec": {"volumes": [
                {"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}},
            ]},
        });
        let pod = new_pod(&set(), 3, ("web-a", &template), None);
        assert_eq!(
            pod["metadata"]["labels"],
            json!({
                "app": "web",
                "controller-revision-hash": "web-a",
                "statefulset.kubernetes.io/pod-name": "web-3",
                "apps.kubernetes.io/pod-index": "3",
            })
        );
        assert_eq!(
            pod["spec"],
            json!({
                "hostname": "web-3",
                "subdomain": "peers",
                "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-3"}},
                    {"name": "tmp", "emptyDir": {}},
                ],
            })
        );
        assert_eq!(relabelled(&set(), 3, &pod), None);
        let mended = relabelled(&set(), 4, &pod).unwrap();
        assert_eq!(object::label(&mended, NAME_LABEL), Some("web-4"));
    }

    #[test]
    fn a_place_is_one_more_requirement_of_each_term() {
        let terms = |terms: Value| {
            let affinity = json!({"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
            }});
            let template = json!({"spec": {"affinity": affinity}});
            let pod = new_pod(&set(), 0, ("r", &template), Some("n1"));
            assert_eq!(object::annotation(&pod, PLACE), Some("n1"));
            let affinity = &pod["spec"]["affinity"]["nodeAffinity"];
            affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].clone()
        };
        let here = json!({"key": "metadata.name", "operator": "In", "values": ["n1"]});
        let disk = json!([{"key": "disk", "operator": "Exists"}]);
        let named = json!({"key": "metadata.name", "operator": "NotIn", "values": ["n2"]});
        assert_eq!(terms(json!(null)), json!([{"matchFields": [here]}]));
        assert_eq!(
            terms(json!([{"matchExpressions": disk}, {"matchFields": [named]}, {}])),
            json!([
                {"matchExpressions": disk, "matchFields": [here]},
                {"matchFields": [named, here]},
                {},
            ])
        );
    }
}
