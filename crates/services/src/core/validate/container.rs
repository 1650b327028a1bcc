//! Containers.

use std::collections::BTreeSet;

use super::{
    super::{names, status::FieldError},
    ARGUMENTS_MAX, PORTS_MAX,
    at::{At, Errors},
    env,
    pod::{self, Pod},
    probe, resources, volume,
};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// One of a pod's main containers.
pub(super) fn regular(container: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    common(container, pod, errors);
    hooks(container, pod, errors);
    let policy = container.child("restartPolicy");
    policy.one_of(errors, &["Always", "OnFailure", "Never"]);
}

/// One that runs before them, or beside them if it is always started again.
pub(super) fn init(container: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    common(container, pod, errors);
    let policy = container.child("restartPolicy");
    policy.one_of(errors, &["Always", "OnFailure", "Never"]);
    if policy.text() == "Always" {
        return hooks(container, pod, errors);
    }
    for field in ["lifecycle"].into_iter().chain(PROBES) {
        if container.child(field).is_present() {
            let why = "may not be set for init containers without restartPolicy=Always";
            container.child(field).forbidden(errors, why);
        }
    }
}

/// One that is added to look into a pod that runs.
pub(super) fn ephemeral(container: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    common(container, pod, errors);
    let why = "cannot be set for an Ephemeral Container";
    for field in ["ports", "resources", "lifecycle"]
        .into_iter()
        .chain(PROBES)
    {
        if container.child(field).count() > 0 {
            container.child(field).forbidden(errors, why);
        }
    }
    for mount in container.child("volumeMounts").items() {
        for field in ["subPath", "subPathExpr"] {
            if !mount.child(field).text().is_empty() {
                mount.child(field).forbidden(errors, why);
            }
        }
    }
}

fn common(container: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    let name = container.child("name");
    name.needed(errors);
    name.named_if_any(errors, names::dns1123_label);
    // An empty image is a program of the machine.
    let image = container.child("image");
    if pod.is_pod && image.text().trim() != image.text() {
        image.invalid(errors, "must not have leading or trailing whitespace");
    }
    let policy = container.child("terminationMessagePolicy");
    policy.one_of(errors, &["File", "FallbackToLogsOnError"]);
    let policy = container.child("imagePullPolicy");
    policy.one_of(errors, &["Always", "IfNotPresent", "Never"]);
    for list in ["command", "args"] {
        container.child(list).at_most(errors, ARGUMENTS_MAX);
    }
    ports(&container.child("ports"), errors);
    env::env(&container.child("env"), errors);
    env::env_from(&container.child("envFrom"), errors);
    volume::mounts(container, &pod.volumes, errors);
    resources::requirements(&container.child("resources"), errors);
    let security = container.child("securityContext");
    for field in ["runAsUser", "runAsGroup"] {
        pod::user(&security.child(field), errors);
    }
}

fn hooks(container: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    for hook in ["postStart", "preStop"] {
        let hook = container.under(&["lifecycle", hook]);
        if hook.is_present() {
            probe::handler(&hook, pod.grace_s, errors);
        }
    }
    for probe in PROBES {
        let at = container.child(probe);
        if at.is_present() {
            probe::probe(&at, probe, errors);
        }
    }
}

fn ports(ports: &At<'_>, errors: &mut Errors) {
    if !ports.at_most(errors, PORTS_MAX) {
        return;
    }
    let mut names_found = BTreeSet::new();
    for port in ports.items() {
        let name = port.child("name");
        if !name.text().is_empty() {
            let before = errors.len();
            name.named(errors, names::port_name);
            if errors.len() == before && !names_found.insert(name.text()) {
                name.duplicate(errors);
            }
        }
        let inside = port.child("containerPort");
        match inside.number() {
            None | Some(0) => inside.required(errors, ""),
            Some(number) => port_number(&inside, number, errors),
        }
        let outside = port.child("hostPort");
        if let Some(number) = outside.number().filter(|number| *number != 0) {
            port_number(&outside, number, errors);
        }
        port.child("protocol").one_of(errors, &PROTOCOLS);
        port.child("hostIP").named_if_any(errors, names::ip);
    }
}

/// The number of a port.
pub(super) fn port_number(at: &At<'_>, number: i64, errors: &mut Errors) {
    for why in names::port_number(number) {
        at.invalid(errors, why);
    }
}

/// Two containers can't have one port of the host.
pub(super) fn unique_host_ports(
    container: &At<'_>,
    found: &mut BTreeSet<String>,
    errors: &mut Errors,
) {
    for port in container.child("ports").items() {
        let outside = port.child("hostPort");
        let Some(number) = outside.number().filter(|number| *number != 0) else {
            continue;
        };
        let (protocol, ip) = (port.child("protocol").text(), port.child("hostIP").text());
        let all = format!("{protocol}/{ip}/{number}");
        if !found.insert(all.clone()) {
            let all = serde_json::json!(all);
            errors.push(FieldError::duplicate(outside.path(), &all));
        }
    }
}
