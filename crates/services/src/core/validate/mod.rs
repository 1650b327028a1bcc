//! What an object has to fulfil before it is kept: a defaulted object goes in, and what is wrong
//! with it comes out, field by field, in the order of its fields and in the words of Kubernetes
//! (`pkg/apis/*/validation` of release 1.37), which its clients show. An empty answer is a yes.
//!
//! The schema has checked types before; where a value has another type all the same it counts as
//! absent. A field that always has a default is not asked for. Where Kubernetes has no bound but
//! the size of a request, Atoll has one, named here.
//!
//! An image is no must: a container without one is a program of the machine.

mod at;
mod autoscaler;
mod container;
pub mod cron;
mod env;
mod equal;
pub mod indexes;
mod ingress;
mod job;
mod labels;
mod metadata;
mod others;
mod pod;
mod pod_update;
mod probe;
mod resources;
mod scheduling;
mod service;
mod volume;
mod workload;

use serde_json::Value;

use super::{kinds::Kind, status::FieldError};
use at::{At, Errors};

/// Containers of one sort in a pod.
pub const CONTAINERS_MAX: usize = 64;
/// Environment variables, and sources of them, in a container.
pub const ENV_MAX: usize = 1_000;
/// Words of a command, and arguments behind it.
pub const ARGUMENTS_MAX: usize = 10_000;
/// Ports of a container, a service or an endpoint slice.
pub const PORTS_MAX: usize = 1_000;
/// Volumes in a pod, and mounts in a container.
pub const VOLUMES_MAX: usize = 256;
/// Items of a volume.
pub const ITEMS_MAX: usize = 10_000;
/// Resources in a list.
pub const RESOURCES_MAX: usize = 256;
/// Terms of an affinity, tolerations, taints, spread constraints.
pub const TERMS_MAX: usize = 1_000;
/// Labels of an object.
pub const LABELS_MAX: usize = 1_000;
/// Owners of an object.
pub const OWNERS_MAX: usize = 256;
/// Finalizers of an object.
pub const FINALIZERS_MAX: usize = 256;
/// Pods that one object may ask for.
pub const REPLICAS_MAX: i64 = 10_000;
/// Completions that one job may ask for.
pub const COMPLETIONS_MAX: i64 = 1_000_000;
/// Endpoints in a slice, as in Kubernetes.
pub const ENDPOINTS_MAX: usize = 1_000;
/// Rules of an ingress, and paths of a rule.
pub const RULES_MAX: usize = 1_000;
/// Bytes that a ConfigMap or Secret may hold, as in Kubernetes.
pub const DATA_BYTES_MAX: usize = 1 << 20;

/// The annotation that says which of a set's pods goes first.
const ANNOTATED: &str = "controller.kubernetes.io/pod-deletion-cost";
const NEGATIVE: &str = "must be greater than or equal to 0";
const IMMUTABLE: &str = "field is immutable";

/// What is wrong with an object that is made.
pub fn create(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    metadata::create(kind, object, &mut errors);
    content(kind, object, &mut errors);
    let root = At::root(object);
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::create(object, &mut errors),
        ("batch", "Job") => job::job_create(&root, &mut errors),
        ("batch", "CronJob") => job::cron_job_create(&root, &mut errors),
        _ => {}
    }
    errors
}

/// What is wrong with an object that takes the place of another of the same name.
pub fn update(kind: &Kind, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    metadata::update(new, old, &mut errors);
    content(kind, new, &mut errors);
    let (now, was) = (At::root(new), At::root(old));
    let (spec, old_spec) = (now.child("spec"), was.child("spec"));
    let fixed = |field: &str, errors: &mut Errors| {
        spec.child(field).immutable(errors, &old_spec.child(field));
    };
    match (kind.group, kind.kind) {
        ("", "Pod") => pod_update::update(new, old, &mut errors),
        ("", "Service") => service::service_update(&spec, &old_spec, &mut errors),
        ("", "ConfigMap") => others::data_update(&now, &was, &mut errors),
        ("", "Secret") => {
            now.child("type").immutable(&mut errors, &was.child("type"));
            others::data_update(&now, &was, &mut errors);
        }
        ("", "Node") => others::node_update(&now, &was, &mut errors),
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => fixed("selector", &mut errors),
        ("apps", "ControllerRevision") => {
            let was = was.child("data");
            now.child("data").immutable(&mut errors, &was);
        }
        ("apps", "StatefulSet") => {
            workload::stateful_set_update(&spec, &old_spec, &mut errors);
        }
        ("batch", "Job") => job::job_update(&spec, &old_spec, &mut errors),
        ("discovery.k8s.io", "EndpointSlice") => {
            now.child("addressType")
                .immutable(&mut errors, &was.child("addressType"));
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            others::priority_class_update(&now, &was, &mut errors);
        }
        _ => {}
    }
    errors
}

/// What holds of an object whether it is new or not.
fn content(kind: &Kind, object: &Value, errors: &mut Errors) {
    let root = At::root(object);
    let spec = root.child("spec");
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::pod(object, errors),
        ("", "Service") => service::service(&spec, errors),
        ("", "Endpoints") => service::endpoints(&root, errors),
        ("", "ConfigMap") => others::config_map(&root, errors),
        ("", "Secret") => others::secret(&root, errors),
        ("", "Namespace") => others::namespace(&root, errors),
        ("", "Node") => others::node(&root, errors),
        ("", "Event") => others::event(&root, errors),
        ("", "ReplicationController") => workload::replication_controller(&spec, errors),
        ("apps", "Deployment") => workload::deployment(&spec, errors),
        ("apps", "ReplicaSet") => workload::replica_set(&spec, errors),
        ("apps", "StatefulSet") => workload::stateful_set(&spec, errors),
        ("apps", "DaemonSet") => workload::daemon_set(&spec, errors),
        ("apps", "ControllerRevision") => root.child("revision").not_negative(errors),
        ("batch", "Job") => job::job(&root, errors),
        ("batch", "CronJob") => job::cron_job(&root, errors),
        ("coordination.k8s.io", "Lease") => others::lease(&spec, errors),
        ("discovery.k8s.io", "EndpointSlice") => service::endpoint_slice(&root, errors),
        ("networking.k8s.io", "Ingress") => ingress::ingress(&spec, errors),
        ("policy", "PodDisruptionBudget") => others::disruption_budget(&spec, errors),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler::autoscaler(&spec, errors),
        ("scheduling.k8s.io", "PriorityClass") => others::priority_class(&root, errors),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
