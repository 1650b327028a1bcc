//! The defaults of pods and of templates of pods.

use serde_json::{Value, json};

use super::{Object, absent, child, is_absent, items, number, present, quantities, text};

/// Where the containers of a pod are.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
/// `rw-r--r--`
const FILE_MODE: i64 = 0o644;

/// A pod: what its template would get, and what only a pod does.
pub(super) fn pod(object: &mut Object) {
    let Some(spec) = child(object, "spec") else {
        return;
    };
    pod_spec(spec);
    for container in items(spec, "containers") {
        requests_from_limits(container);
    }
    for container in items(spec, "initContainers") {
        requests_from_limits(container);
    }
    absent(spec, "enableServiceLinks", json!(true));
    if spec.get("hostNetwork") == Some(&json!(true)) {
        host_ports(spec);
    }
    text(spec, "serviceAccountName", "default");
    service_account(spec);
    // A class, which is an object of its own, decides both.
    if is_absent(spec, "priorityClassName") {
        absent(spec, "priority", json!(0));
        text(spec, "preemptionPolicy", "PreemptLowerPriority");
    }
}

/// A template of pods.
pub(super) fn template(template: &mut Object) {
    if let Some(spec) = child(template, "spec") {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Object) {
    text(spec, "dnsPolicy", "ClusterFirst");
    text(spec, "restartPolicy", "Always");
    absent(spec, "securityContext", json!({}));
    absent(spec, "terminationGracePeriodSeconds", json!(30));
    text(spec, "schedulerName", "default-scheduler");
    service_account(spec);
    quantities(spec, "overhead");
    for list in CONTAINERS {
        for one in items(spec, list) {
            container(one);
        }
    }
    for one in items(spec, "volumes") {
        volume(one);
    }
}

/// The old name of a field and the new one always say the same; the new one rules.
fn service_account(spec: &mut Object) {
    let account = ["serviceAccountName", "serviceAccount"].into_iter();
    let mut account = account.filter(|field| !is_absent(spec, field));
    if let Some(account) = account.next().and_then(|field| spec.get(field).cloned()) {
        spec.insert("serviceAccount".to_owned(), account.clone());
        spec.insert("serviceAccountName".to_owned(), account);
    }
}

fn container(container: &mut Object) {
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let policy = pull_policy(image);
    text(container, "imagePullPolicy", policy);
    text(container, "terminationMessagePath", "/dev/termination-log");
    text(container, "terminationMessagePolicy", "File");
    if let Some(resources) = child(container, "resources") {
        quantities(resources, "limits");
        quantities(resources, "requests");
    }
    for port in items(container, "ports") {
        text(port, "protocol", "TCP");
    }
    for probe_of in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = present(container, probe_of) {
            probe(found);
        }
    }
    if let Some(lifecycle) = present(container, "lifecycle") {
        for handler in ["postStart", "preStop"] {
            if let Some(handler) = present(lifecycle, handler) {
                http_get(handler);
            }
        }
    }
    for variable in items(container, "env") {
        let source = present(variable, "valueFrom");
        if let Some(field) = source.and_then(|source| present(source, "fieldRef")) {
            text(field, "apiVersion", "v1");
        }
    }
}

/// A program of the machine has no image to be pulled; of an image without a tag, the newest is.
fn pull_policy(image: &str) -> &'static str {
    if matches!(image, "" | "host") {
        return "IfNotPresent";
    }
    let (name, digest) = image.split_once('@').unwrap_or((image, ""));
    // A colon before the last slash belongs to a port.
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, "latest")) => "Always",
        None if digest.is_empty() => "Always",
        _ => "IfNotPresent",
    }
}

fn probe(probe: &mut Object) {
    number(probe, "timeoutSeconds", 1);
    number(probe, "periodSeconds", 10);
    number(probe, "successThreshold", 1);
    number(probe, "failureThreshold", 3);
    http_get(probe);
    if let Some(grpc) = present(probe, "grpc") {
        absent(grpc, "service", json!(""));
    }
}

fn http_get(handler: &mut Object) {
    if let Some(get) = present(handler, "httpGet") {
        text(get, "path", "/");
        text(get, "scheme", "HTTP");
    }
}

/// Who limits a resource and asks for none of it asks for all that it may have.
fn requests_from_limits(container: &mut Object) {
    let Some(resources) = present(container, "resources") else {
        return;
    };
    let Some(limits) = present(resources, "limits").cloned() else {
        return;
    };
    let Some(requests) = child(resources, "requests") else {
        return;
    };
    for (resource, limit) in limits {
        requests.entry(resource).or_insert(limit);
    }
}

/// In the host's network, a port of the container is one of the host.
fn host_ports(spec: &mut Object) {
    for list in ["containers", "initContainers"] {
        let ports = items(spec, list).flat_map(|container| items(container, "ports"));
        for port in ports {
            if let Some(inside) = port.get("containerPort").and_then(Value::as_i64) {
                number(port, "hostPort", inside);
            }
        }
    }
}

fn volume(volume: &mut Object) {
    let has_source = volume
        .iter()
        .any(|(field, source)| field != "name" && !source.is_null());
    if !has_source {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if let Some(source) = present(volume, source) {
            absent(source, "defaultMode", json!(FILE_MODE));
        }
    }
    if let Some(source) = present(volume, "hostPath") {
        absent(source, "type", json!(""));
    }
    if let Some(source) = present(volume, "downwardAPI") {
        downward(source);
    }
    let projected = present(volume, "projected").into_iter();
    for source in projected.flat_map(|projected| items(projected, "sources")) {
        if let Some(token) = present(source, "serviceAccountToken") {
            absent(token, "expirationSeconds", json!(3_600));
        }
        if let Some(source) = present(source, "downwardAPI") {
            downward(source);
        }
    }
}

fn downward(source: &mut Object) {
    for item in items(source, "items") {
        if let Some(field) = present(item, "fieldRef") {
            text(field, "apiVersion", "v1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_pulled_by_their_tag() {
        let table = [
            ("", "IfNotPresent"),
            ("host", "IfNotPresent"),
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.25", "IfNotPresent"),
            ("registry:5000/nginx", "Always"),
            ("registry:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:ab", "IfNotPresent"),
            ("nginx:latest@sha256:ab", "Always"),
        ];
        for (image, policy) in table {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
