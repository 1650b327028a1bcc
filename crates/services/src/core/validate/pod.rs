//! Pods and templates of pods.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::names,
    ANNOTATED, CONTAINERS_MAX,
    at::{At, Errors},
    container, labels, metadata, resources, scheduling, volume,
};

/// What the containers of a pod are checked against.
pub(super) struct Pod<'a> {
    /// The names of its volumes.
    pub(super) volumes: BTreeSet<&'a str>,
    /// How long it may take to end.
    pub(super) grace_s: Option<i64>,
    /// Whether it is a pod, and no template.
    pub(super) is_pod: bool,
}

/// A pod that is made or changed.
pub(super) fn pod(object: &Value, errors: &mut Errors) {
    let spec = At::root(object).child("spec");
    let deletion_cost = At::root(object).under(&["metadata", "annotations", ANNOTATED]);
    if deletion_cost.is_present() && deletion_cost.text().parse::<i32>().is_err() {
        let at = deletion_cost.at(&format!("metadata.annotations[{ANNOTATED}]"));
        at.invalid(errors, "must be a 32bit integer");
    }
    pod_spec(&spec, true, None, errors);
}

/// What only holds of a pod that is new.
pub(super) fn create(object: &Value, errors: &mut Errors) {
    let spec = At::root(object).child("spec");
    if spec.child("ephemeralContainers").count() > 0 {
        spec.child("ephemeralContainers")
            .forbidden(errors, "cannot be set on create");
    }
    let node = spec.child("nodeName");
    if !node.text().is_empty() && spec.child("schedulingGates").count() > 0 {
        node.forbidden(
            errors,
            "cannot be set until all schedulingGates have been cleared",
        );
    }
}

/// The template of a workload, which may claim volumes for each of its pods.
pub(super) fn template(template: &At<'_>, claims: Option<&At<'_>>, errors: &mut Errors) {
    let meta = template.child("metadata");
    let told = |field: &str| meta.child(field).at(template.child(field).path());
    labels::labels(&told("labels"), errors);
    metadata::annotations(&told("annotations"), errors);
    let spec = template.child("spec");
    pod_spec(&spec, false, claims, errors);
    let ephemeral = spec.child("ephemeralContainers");
    if ephemeral.count() > 0 {
        ephemeral.forbidden(errors, "ephemeral containers not allowed in pod template");
    }
}

fn pod_spec(spec: &At<'_>, is_pod: bool, claims: Option<&At<'_>>, errors: &mut Errors) {
    let grace_s = spec.child("terminationGracePeriodSeconds").number();
    let mut volumes = volume::volumes(&spec.child("volumes"), errors);
    let claims = claims.into_iter().flat_map(At::items);
    volumes.extend(claims.map(|claim| claim.under(&["metadata", "name"]).text()));
    let pod = Pod {
        volumes,
        grace_s,
        is_pod,
    };
    containers(spec, &pod, errors);
    if spec.child("resources").is_present() {
        resources::requirements(&spec.child("resources"), errors);
    }
    host_network(spec, is_pod, errors);
    choices(spec, errors);
    names_of(spec, errors);
    numbers(spec, errors);
    security(spec, errors);
    labels::labels(&spec.child("nodeSelector"), errors);
    scheduling::affinity(&spec.child("affinity"), errors);
    scheduling::tolerations(&spec.child("tolerations"), errors);
    scheduling::spread(&spec.child("topologySpreadConstraints"), errors);
    dns(spec, errors);
    for gate in spec.child("readinessGates").items() {
        gate.child("conditionType")
            .named(errors, names::qualified_name);
    }
    scheduling::gates(&spec.child("schedulingGates"), errors);
    for alias in spec.child("hostAliases").items() {
        alias.child("ip").named(errors, names::ip);
        for name in alias.child("hostnames").items() {
            name.named(errors, names::dns1123_subdomain);
        }
    }
    if spec.child("overhead").is_present() {
        resources::quantities(&spec.child("overhead"), errors);
    }
}

fn containers(spec: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let lists = lists.map(|field| spec.child(field));
    if !lists
        .iter()
        .all(|list| list.at_most(errors, CONTAINERS_MAX))
    {
        return;
    }
    let [regular, init, ephemeral] = &lists;
    if regular.count() == 0 {
        regular.required(errors, "");
    }
    let mut names = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for one in regular.items() {
        container::regular(&one, pod, errors);
        unique_name(&one, &mut names, errors);
        container::unique_host_ports(&one, &mut ports, errors);
    }
    for one in init.items() {
        container::init(&one, pod, errors);
        unique_name(&one, &mut names, errors);
        container::unique_host_ports(&one, &mut BTreeSet::new(), errors);
    }
    for one in ephemeral.items() {
        let target = one.child("targetContainerName");
        if !target.text().is_empty() && !names.contains(target.text()) {
            target.not_found(errors);
        }
    }
    for one in ephemeral.items() {
        container::ephemeral(&one, pod, errors);
        unique_name(&one, &mut names, errors);
    }
}

fn unique_name<'a>(container: &At<'a>, names: &mut BTreeSet<&'a str>, errors: &mut Errors) {
    let name = container.child("name");
    if !name.text().is_empty() && !names.insert(name.text()) {
        name.duplicate(errors);
    }
}

/// In the host's network a container's port is the host's.
fn host_network(spec: &At<'_>, is_pod: bool, errors: &mut Errors) {
    if !spec.child("hostNetwork").is_true() {
        return;
    }
    let containers = spec.child("containers");
    for port in containers
        .items()
        .flat_map(|one| one.child("ports").items())
    {
        let inside = port.child("containerPort").number().unwrap_or_default();
        let outside = port.child("hostPort");
        let number = outside.number().unwrap_or_default();
        if (is_pod || number != 0) && number != inside {
            let why = "must match `containerPort` when `hostNetwork` is true";
            outside.invalid(errors, why);
        }
    }
}

fn choices(spec: &At<'_>, errors: &mut Errors) {
    let table: [(&str, &[&str]); 3] = [
        ("restartPolicy", &["Always", "OnFailure", "Never"]),
        (
            "dnsPolicy",
            &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        ),
        ("preemptionPolicy", &["PreemptLowerPriority", "Never"]),
    ];
    for (field, known) in table {
        spec.child(field).one_of(errors, known);
    }
    let os = spec.child("os");
    if os.is_present() && os.child("name").text().is_empty() {
        os.child("name").required(errors, "cannot be empty");
    } else if os.is_present() {
        os.child("name")
            .at(os.path())
            .one_of(errors, &["linux", "windows"]);
    }
}

fn names_of(spec: &At<'_>, errors: &mut Errors) {
    let table: [(&str, names::Rule); 6] = [
        ("serviceAccountName", names::dns1123_subdomain),
        ("nodeName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
        ("priorityClassName", names::dns1123_subdomain),
        ("runtimeClassName", names::dns1123_subdomain),
    ];
    for (field, rule) in table {
        spec.child(field).named_if_any(errors, rule);
    }
}

fn numbers(spec: &At<'_>, errors: &mut Errors) {
    let deadline = spec.child("activeDeadlineSeconds");
    if deadline
        .number()
        .is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds))
    {
        deadline.invalid(errors, names::range_message(1, i32::MAX.into()));
    }
    spec.child("terminationGracePeriodSeconds")
        .not_negative(errors);
}

fn security(spec: &At<'_>, errors: &mut Errors) {
    let security = spec.child("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        user(&security.child(field), errors);
    }
    for group in security.child("supplementalGroups").items() {
        user(&group, errors);
    }
    let policy = security.child("fsGroupChangePolicy");
    policy.one_of(errors, &["Always", "OnRootMismatch"]);
    let shared = spec.child("shareProcessNamespace");
    if shared.is_true() && spec.child("hostPID").is_true() {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        shared
            .at(security.child("shareProcessNamespace").path())
            .invalid(errors, why);
    }
}

/// The number of a user or group.
pub(super) fn user(at: &At<'_>, errors: &mut Errors) {
    if at
        .number()
        .is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id))
    {
        at.invalid(errors, names::range_message(0, i32::MAX.into()));
    }
}

fn dns(spec: &At<'_>, errors: &mut Errors) {
    const SERVERS_MAX: usize = 3;
    const SEARCHES_MAX: usize = 32;
    const SEARCH_CHARACTERS_MAX: usize = 2_048;
    let config = spec.child("dnsConfig");
    let (servers, searches) = (config.child("nameservers"), config.child("searches"));
    if spec.child("dnsPolicy").text() == "None" {
        if !config.is_present() {
            return config.required(errors, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if servers.count() == 0 {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return servers.required(errors, why);
        }
    }
    if servers.count() > SERVERS_MAX {
        servers.invalid(
            errors,
            format!("must not have more than {SERVERS_MAX} nameservers"),
        );
    }
    for server in servers.items() {
        server.named(errors, names::ip);
    }
    if searches.count() > SEARCHES_MAX {
        let why = format!("must not have more than {SEARCHES_MAX} search paths");
        return searches.invalid(errors, why);
    }
    let characters: usize = searches.items().map(|one| one.text().len() + 1).sum();
    if characters.saturating_sub(1) > SEARCH_CHARACTERS_MAX {
        searches.invalid(
            errors,
            format!("must not have more than {SEARCH_CHARACTERS_MAX} characters (including spaces) in the search list"),
        );
    }
    for search in searches.items().filter(|search| search.text() != ".") {
        // The resolver takes names with underscores, and a dot at the end.
        let name = search.text().trim_end_matches('.').replace('_', "a");
        for why in names::dns1123_subdomain(&name) {
            search.invalid(errors, why);
        }
    }
    for option in config.child("options").items() {
        if option.child("name").text().is_empty() {
            option.required(errors, "must not be empty");
        }
    }
}
