//! What a write does to an object beside what its client asked: identity when it is made, what no
//! client may change, generations, and the way of a deletion through grace periods and
//! finalizers (Kubernetes API conventions, "Metadata" and "Object lifecycle"; garbage collection
//! documentation).

use serde_json::{Map, Value, json};

use super::{
    binding,
    eviction::{self, Disruption},
    kinds::{self, Kind, Subresource},
    object,
    status::Failure,
    time::format_rfc3339,
};

/// Says why an object can't be deleted yet, in `metadata.finalizers`: dependents go first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The same: dependents are let go first.
pub const ORPHAN: &str = "orphan";
/// What keeps a namespace until it is empty, in `spec.finalizers`.
pub const NAMESPACE_FINALIZER: &str = "kubernetes";

/// Which Job a pod belongs to, in a label.
const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";

/// What the server decides when an object is made.
#[derive(Clone, Debug)]
pub struct Birth {
    /// Milliseconds since the epoch.
    pub now_ms: u64,
    /// Its uid.
    pub uid: String,
    /// What is put behind `generateName`.
    pub suffix: String,
}

/// Makes a client's object one that can be kept.
///
/// # Errors
/// It names another namespace or kind, or has what only a kept one has.
pub fn create(
    kind: &'static Kind,
    namespace: &str,
    object: &mut Value,
    birth: Birth,
) -> Result<(), Failure> {
    is_of_kind(kind, object)?;
    in_namespace(kind, namespace, object)?;
    if !object::meta(object, "resourceVersion").is_empty() {
        return Err(Failure::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let has_spec = object.get("spec").is_some();
    let meta = object::meta_mut(object);
    for field in [
        "selfLink",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        meta.remove(field);
    }
    let is_unnamed = meta.get("name").is_none_or(|name| name == "");
    if let Some(prefix) = meta.get("generateName").and_then(Value::as_str)
        && is_unnamed
        && !prefix.is_empty()
    {
        let name = generated(prefix, &birth.suffix);
        meta.insert("name".to_owned(), json!(name));
    }
    meta.insert("uid".to_owned(), json!(birth.uid));
    let now = format_rfc3339(birth.now_ms);
    meta.insert("creationTimestamp".to_owned(), json!(now));
    if has_spec {
        meta.insert("generation".to_owned(), json!(1));
    }
    if kind.has(Subresource::Status) && kind != &kinds::NODES {
        let status = initial_status(kind);
        let object = object.as_object_mut().expect("an object of the API");
        match status {
            Some(status) => object.insert("status".to_owned(), status),
            None => object.remove("status"),
        };
    }
    if kind == &kinds::PODS {
        binding::tell(object, &now);
    }
    if kind == &kinds::JOBS {
        select_own_pods(object);
    }
    if kind == &kinds::NAMESPACES {
        object::child_mut(object, "spec")
            .insert("finalizers".to_owned(), json!([NAMESPACE_FINALIZER]));
        let name = json!(object::name(object));
        object::child_mut(object, "metadata")
            .entry("labels")
            .or_insert_with(|| json!({}))["kubernetes.io/metadata.name"] = name;
    }
    Ok(())
}

/// A Job's pods are labelled with what it is, and it selects them by that; unless its client says
/// that it does this itself.
fn select_own_pods(job: &mut Value) {
    let (name, uid) = (json!(object::name(job)), json!(object::uid(job)));
    let spec = object::child_mut(job, "spec");
    if spec.get("manualSelector") == Some(&json!(true)) {
        return;
    }
    // Others select by those without a prefix, too.
    let own = [
        ("job-name", &name),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        (CONTROLLER_UID, &uid),
    ];
    // What is there already and differs is refused by validation.
    if let Some(labels) = path(spec, ["template", "metadata", "labels"]) {
        for (key, value) in own {
            labels.entry(key).or_insert_with(|| value.clone());
        }
    }
    if let Some(labels) = path(spec, ["selector", "matchLabels"]) {
        labels.entry(CONTROLLER_UID).or_insert(uid);
    }
}

/// An object deep inside, made if it is not there; none if something else is.
fn path<'a, const N: usize>(
    mut object: &'a mut Map<String, Value>,
    fields: [&str; N],
) -> Option<&'a mut Map<String, Value>> {
    for field in fields {
        let child = object.entry(field).or_insert(Value::Null);
        if child.is_null() {
            *child = json!({});
        }
        object = child.as_object_mut()?;
    }
    Some(object)
}

/// A name with something random behind it, as long as a name may be.
fn generated(prefix: &str, suffix: &str) -> String {
    /// As Kubernetes cuts them, so that the names of pods are labels.
    const NAME_BYTES_MAX: usize = 63;
    let mut end = prefix
        .len()
        .min(NAME_BYTES_MAX.saturating_sub(suffix.len()));
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &prefix[..end])
}

fn initial_status(kind: &'static Kind) -> Option<Value> {
    match kind.kind {
        "Pod" => Some(json!({"phase": "Pending"})),
        "Namespace" => Some(json!({"phase": "Active"})),
        "Service" => Some(json!({"loadBalancer": {}})),
        "Deployment" | "StatefulSet" | "Job" | "CronJob" => Some(json!({})),
        "ReplicaSet" | "ReplicationController" => Some(json!({"replicas": 0})),
        "DaemonSet" => Some(json!({
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0,
            "numberMisscheduled": 0, "numberReady": 0,
        })),
        _ => None,
    }
}

/// # Errors
/// The object says that it is of another kind.
pub fn is_of_kind(kind: &'static Kind, object: &mut Value) -> Result<(), Failure> {
    let wanted = [
        ("apiVersion", kind.api_version()),
        ("kind", kind.kind.to_owned()),
    ];
    let Some(fields) = object.as_object_mut() else {
        return Err(Failure::bad_request("the body is not an object"));
    };
    for (field, wanted) in wanted {
        match fields.get(field).and_then(Value::as_str) {
            Some(found) if found == wanted => {}
            None | Some("") => {
                fields.insert(field.to_owned(), json!(wanted));
            }
            Some(found) => {
                return Err(Failure::bad_request(format!(
                    "the {field} in the data ({found}) does not match the expected {field} ({wanted})"
                )));
            }
        }
    }
    Ok(())
}

fn in_namespace(kind: &'static Kind, namespace: &str, object: &mut Value) -> Result<(), Failure> {
    let meta = object::meta_mut(object);
    if !kind.is_namespaced {
        meta.remove("namespace");
        return Ok(());
    }
    match meta.get("namespace").and_then(Value::as_str) {
        None | Some("") => {
            meta.insert("namespace".to_owned(), json!(namespace));
            Ok(())
        }
        Some(found) if found == namespace => Ok(()),
        Some(_) => Err(Failure::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
    }
}

/// Carries over from the kept object what a client can't change: all but the status, or only the
/// status.
///
/// # Errors
/// It is meant for another object, or for another state of it.
pub fn update(
    kind: &'static Kind,
    old: &Value,
    new: &mut Value,
    subresource: Option<Subresource>,
) -> Result<(), Failure> {
    is_of_kind(kind, new)?;
    in_namespace(kind, object::namespace(old), new)?;
    let (old_name, new_name) = (object::name(old), object::name(new));
    if new_name != old_name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({new_name}) does not match the name on the URL ({old_name})"
        )));
    }
    let (old_uid, new_uid) = (object::uid(old), object::uid(new));
    if !new_uid.is_empty() && new_uid != old_uid {
        let why = format!(
            "Precondition failed: UID in precondition: {new_uid}, UID in object meta: {old_uid}"
        );
        return Err(Failure::conflict(kind.group, kind.plural, old_name, &why));
    }
    let is_status = subresource == Some(Subresource::Status);
    if is_status {
        // Nothing but the status; who owns what of it is told, too.
        let status = new.get_mut("status").map(Value::take);
        let managed = new["metadata"].get_mut("managedFields").map(Value::take);
        new.clone_from(old);
        set(new, "status", status);
        let meta = object::meta_mut(new);
        match managed {
            Some(managed) => meta.insert("managedFields".to_owned(), managed),
            None => meta.remove("managedFields"),
        };
        return Ok(());
    }
    // What a binding says of the status is the server's.
    if kind.has(Subresource::Status) && subresource != Some(Subresource::Binding) {
        set(new, "status", old.get("status").cloned());
    }
    let kept = [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
    ];
    let meta = object::meta_mut(new);
    meta.remove("selfLink");
    meta.remove("resourceVersion");
    for field in kept {
        match old["metadata"].get(field) {
            Some(value) => meta.insert(field.to_owned(), value.clone()),
            None => meta.remove(field),
        };
    }
    if kind == &kinds::NAMESPACES && subresource != Some(Subresource::Finalize) {
        set(new, "spec", old.get("spec").cloned());
    }
    let generation = old["metadata"]["generation"].as_i64();
    if let Some(generation) = generation
        && desired(old) != desired(new)
    {
        object::meta_mut(new).insert("generation".to_owned(), json!(generation + 1));
    }
    Ok(())
}

fn set(object: &mut Value, field: &str, value: Option<Value>) {
    let object = object.as_object_mut().expect("an object of the API");
    match value {
        Some(value) => object.insert(field.to_owned(), value),
        None => object.remove(field),
    };
}

/// What is wanted of it: all but metadata and status.
fn desired(object: &Value) -> Vec<(&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    let is_desired = |field: &&String| *field != "metadata" && *field != "status";
    fields.filter(|(field, _)| is_desired(field)).collect()
}

/// What becomes of dependents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They go after it.
    #[default]
    Background,
    /// They go before it.
    Foreground,
    /// They stay, without it.
    Orphan,
}

/// How a client wants something deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// How long it may take, in seconds; none: as long as the object says.
    pub grace_s: Option<u64>,
    /// What becomes of dependents; none: what the finalizers say.
    pub propagation: Option<Propagation>,
    /// Only if it is this object.
    pub uid: Option<String>,
    /// Only if it is in this state.
    pub resource_version: Option<String>,
    /// Why, if it is a pod that has done nothing wrong.
    pub disruption: Option<Disruption>,
}

/// What is done about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Deleted {
    /// The object goes.
    Gone,
    /// It is kept for now, in this state.
    Marked(Value),
    /// It is being deleted already, and nothing changes.
    Unchanged,
}

/// Whether somebody still waits for something before the object may go.
pub fn is_held(kind: &'static Kind, object: &Value) -> bool {
    let is_full = kind == &kinds::NAMESPACES
        && object["spec"]["finalizers"]
            .as_array()
            .is_some_and(|left| !left.is_empty());
    is_full || object::finalizers(object).next().is_some()
}

/// Whether an object that was marked may go now: nothing holds it, and no grace period runs.
pub fn is_over(kind: &'static Kind, object: &Value) -> bool {
    let grace = &object["metadata"]["deletionGracePeriodSeconds"];
    object::is_being_deleted(object)
        && !is_held(kind, object)
        && grace.as_u64().unwrap_or_default() == 0
}

/// Begins the end of an object, or hurries it.
///
/// # Errors
/// It is another one, or in another state, than the client meant.
pub fn delete(
    kind: &'static Kind,
    object: &Value,
    revision: i64,
    wanted: &Deletion,
    now_ms: u64,
) -> Result<Deleted, Failure> {
    let conflict = |what: &str, wanted: &str, found: &str| {
        let why = format!(
            "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
        );
        Failure::conflict(kind.group, kind.plural, object::name(object), &why)
    };
    if let Some(uid) = &wanted.uid
        && uid != object::uid(object)
    {
        return Err(conflict("UID", uid, object::uid(object)));
    }
    if let Some(version) = &wanted.resource_version
        && *version != revision.to_string()
    {
        return Err(conflict("ResourceVersion", version, &revision.to_string()));
    }
    let mut marked = object.clone();
    let was_marked = object::is_being_deleted(object);
    hold(&mut marked, wanted.propagation);
    let grace_s = grace_s(kind, object, wanted.grace_s);
    let had_s = object["metadata"]["deletionGracePeriodSeconds"].as_u64();
    if !was_marked || had_s.is_some_and(|had_s| grace_s < had_s) {
        let meta = object::meta_mut(&mut marked);
        let at = format_rfc3339(now_ms.saturating_add(grace_s.saturating_mul(1_000)));
        meta.insert("deletionTimestamp".to_owned(), json!(at));
        meta.insert("deletionGracePeriodSeconds".to_owned(), json!(grace_s));
        if let Some(generation) = object["metadata"]["generation"].as_i64() {
            let meta = object::meta_mut(&mut marked);
            meta.insert("generation".to_owned(), json!(generation + 1));
        }
    }
    if let Some(why) = wanted.disruption
        && kind == &kinds::PODS
        && !was_marked
        && !has_ended(object)
    {
        marked = eviction::with_target(&marked, why, now_ms);
    }
    if kind == &kinds::NAMESPACES {
        object::child_mut(&mut marked, "status").insert("phase".to_owned(), json!("Terminating"));
    }
    if is_over(kind, &marked) {
        return Ok(Deleted::Gone);
    }
    match marked == *object {
        true => Ok(Deleted::Unchanged),
        false => Ok(Deleted::Marked(marked)),
    }
}

/// Notes in the finalizers what becomes of dependents.
fn hold(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else {
        return;
    };
    let mut left: Vec<Value> = object::finalizers(object)
        .filter(|it| *it != FOREGROUND && *it != ORPHAN)
        .map(|it| json!(it))
        .collect();
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => left.push(json!(FOREGROUND)),
        Propagation::Orphan => left.push(json!(ORPHAN)),
    }
    let meta = object::meta_mut(object);
    match left.is_empty() {
        true => meta.remove("finalizers"),
        false => meta.insert("finalizers".to_owned(), Value::Array(left)),
    };
}

fn has_ended(pod: &Value) -> bool {
    matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    )
}

/// How long it may take: pods that run are given time to stop.
fn grace_s(kind: &'static Kind, object: &Value, wanted_s: Option<u64>) -> u64 {
    /// Longer than anybody waits, and no overflow.
    const GRACE_S_MAX: u64 = 365 * 24 * 3_600;
    if kind != &kinds::PODS {
        return 0;
    }
    let is_bound = object["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty());
    if has_ended(object) || !is_bound {
        return 0;
    }
    let own_s = object["spec"]["terminationGracePeriodSeconds"].as_u64();
    wanted_s.or(own_s).unwrap_or(30).min(GRACE_S_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn birth() -> Birth {
        Birth {
            now_ms: 1_700_000_000_000,
            uid: "u-1".to_owned(),
            suffix: "x7x7x".to_owned(),
        }
    }

    fn pod() -> Value {
        let mut pod = json!({"metadata": {"generateName": "web-"}, "spec": {"nodeName": "a"}});
        create(&kinds::PODS, "default", &mut pod, birth()).unwrap();
        pod
    }

    #[test]
    fn who_is_made_gets_an_identity() {
        let pod = pod();
        assert_eq!(object::name(&pod), "web-x7x7x");
        assert_eq!(object::namespace(&pod), "default");
        assert_eq!(pod["metadata"]["creationTimestamp"], "2023-11-14T22:13:20Z");
        assert_eq!(pod["status"]["phase"], "Pending");
        // It is made with a node.
        let scheduled = &pod["status"]["conditions"][0];
        assert_eq!(scheduled["type"], "PodScheduled");
        assert_eq!(scheduled["lastTransitionTime"], "2023-11-14T22:13:20Z");
        assert_eq!(pod["apiVersion"], "v1");
        let mut stray = json!({"metadata": {"namespace": "other"}});
        assert!(create(&kinds::PODS, "default", &mut stray, birth()).is_err());
        let mut stray = json!({"kind": "Node"});
        assert!(create(&kinds::PODS, "default", &mut stray, birth()).is_err());
    }

    #[test]
    fn a_job_selects_its_own_pods() {
        let mut job = json!({
            "metadata": {"name": "sum"},
            "spec": {"template": {"metadata": {"labels": {"app": "sum", "job-name": "other"}}}},
        });
        create(&kinds::JOBS, "default", &mut job, birth()).unwrap();
        let own = json!({"batch.kubernetes.io/controller-uid": "u-1"});
        assert_eq!(job["spec"]["selector"]["matchLabels"], own);
        let labels = json!({
            "app": "sum",
            "batch.kubernetes.io/controller-uid": "u-1",
            "batch.kubernetes.io/job-name": "sum",
            "controller-uid": "u-1",
            "job-name": "other",
        });
        assert_eq!(job["spec"]["template"]["metadata"]["labels"], labels);
        assert_eq!(job["status"], json!({}));
        let spec = json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}});
        let mut manual = json!({"metadata": {"name": "sum"}, "spec": spec});
        create(&kinds::JOBS, "default", &mut manual, birth()).unwrap();
        assert_eq!(manual["spec"], spec);
    }

    #[test]
    fn an_update_changes_what_is_its_own() {
        let old = pod();
        let mut new = old.clone();
        new["metadata"]["uid"] = json!("");
        new["metadata"]["creationTimestamp"] = json!("2000-01-01T00:00:00Z");
        new["status"]["phase"] = json!("Running");
        new["spec"]["nodeName"] = json!("b");
        let mut status = new.clone();
        update(&kinds::PODS, &old, &mut new, None).unwrap();
        assert_eq!(new["metadata"]["uid"], "u-1");
        assert_eq!(new["metadata"]["generation"], 2);
        assert_eq!(new["status"]["phase"], "Pending");
        assert_eq!(
            new["metadata"]["creationTimestamp"],
            old["metadata"]["creationTimestamp"]
        );
        update(&kinds::PODS, &old, &mut status, Some(Subresource::Status)).unwrap();
        assert_eq!(status["status"]["phase"], "Running");
        assert_eq!(status["spec"], old["spec"]);
        let mut stranger = old.clone();
        stranger["metadata"]["uid"] = json!("u-2");
        let refused = update(&kinds::PODS, &old, &mut stranger, None).unwrap_err();
        assert_eq!(refused.code(), 409);
    }

    #[test]
    fn a_running_pod_gets_time_and_can_be_hurried() {
        let pod = pod();
        let asked = Deletion::default();
        let Deleted::Marked(marked) = delete(&kinds::PODS, &pod, 7, &asked, 0).unwrap() else {
            panic!("it is to stop first");
        };
        assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
        assert_eq!(
            marked["metadata"]["deletionTimestamp"],
            "1970-01-01T00:00:30Z"
        );
        let again = delete(&kinds::PODS, &marked, 8, &asked, 5_000).unwrap();
        assert_eq!(again, Deleted::Unchanged);
        let now = Deletion {
            grace_s: Some(0),
            ..Deletion::default()
        };
        assert_eq!(
            delete(&kinds::PODS, &marked, 8, &now, 5_000).unwrap(),
            Deleted::Gone
        );
        let other = Deletion {
            uid: Some("u-2".to_owned()),
            ..Deletion::default()
        };
        assert_eq!(
            delete(&kinds::PODS, &pod, 7, &other, 0).unwrap_err().code(),
            409
        );
    }

    #[test]
    fn finalizers_hold_until_the_last_is_gone() {
        let mut set = json!({"metadata": {"name": "web"}});
        create(&kinds::REPLICA_SETS, "default", &mut set, birth()).unwrap();
        let asked = Deletion {
            propagation: Some(Propagation::Foreground),
            ..Deletion::default()
        };
        let Deleted::Marked(mut marked) = delete(&kinds::REPLICA_SETS, &set, 1, &asked, 0).unwrap()
        else {
            panic!("its dependents go first");
        };
        assert!(!is_over(&kinds::REPLICA_SETS, &marked));
        object::meta_mut(&mut marked).remove("finalizers");
        assert!(is_over(&kinds::REPLICA_SETS, &marked));
        assert_eq!(
            delete(&kinds::REPLICA_SETS, &set, 1, &Deletion::default(), 0).unwrap(),
            Deleted::Gone
        );
    }

    #[test]
    fn a_namespace_waits_until_it_is_empty() {
        let mut space = json!({"metadata": {"name": "shop"}});
        create(&kinds::NAMESPACES, "", &mut space, birth()).unwrap();
        let asked = Deletion::default();
        let Deleted::Marked(mut marked) = delete(&kinds::NAMESPACES, &space, 1, &asked, 0).unwrap()
        else {
            panic!("what is in it goes first");
        };
        assert_eq!(marked["status"]["phase"], "Terminating");
        marked["spec"]["finalizers"] = json!([]);
        assert!(is_over(&kinds::NAMESPACES, &marked));
    }

    #[test]
    fn generated_names_fit() {
        let long = "é".repeat(40);
        assert!(generated(&long, "abcde").len() <= 63);
        assert_eq!(generated("web-", "abcde"), "web-abcde");
    }

    #[test]
    fn a_pod_that_goes_for_no_fault_of_its_own_says_so_once() {
        let wanted = Deletion {
            disruption: Some(Disruption::Preemption),
            ..Deletion::default()
        };
        let marked = |pod: &Value| match delete(&kinds::PODS, pod, 1, &wanted, 1_000).unwrap() {
            Deleted::Marked(pod) => pod["status"]["conditions"][0].clone(),
            _ => Value::Null,
        };
        let pod = json!({"metadata": {"name": "a", "finalizers": ["x/y"]},
            "spec": {"nodeName": "n"}, "status": {"phase": "Running"}});
        let told = marked(&pod);
        assert_eq!(told["type"], "DisruptionTarget");
        assert_eq!(told["reason"], "PreemptionByScheduler");
        let mut failed = pod.clone();
        failed["status"]["phase"] = json!("Failed");
        assert_eq!(marked(&failed), Value::Null, "it has failed before");
        let mut going = pod;
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        going["metadata"]["deletionGracePeriodSeconds"] = json!(60);
        assert_eq!(marked(&going), Value::Null, "somebody else has deleted it");
    }
}
