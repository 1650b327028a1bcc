//! What the server offers, told to clients: its version, groups, resources and their verbs, in the
//! two forms that clients ask for: a document for each group version, or one for all ("aggregated
//! discovery", KEP-3352). Both follow from [`KINDS`](super::kinds::KINDS) and from [`VIRTUALS`], the resources whose
//! objects are answered and not kept. The order of the kinds is the order of preference: where two
//! resources have one name, clients take the first.

mod negotiate;
mod resources;

use serde_json::{Value, json};

pub use negotiate::{Encoding, Endpoint, Form, Wanted, negotiate};
pub use resources::{METRICS, VIRTUALS, Virtual, group_versions};
use resources::{Resource, Subentry, resources};

/// The release of Kubernetes whose API this is.
const RELEASE: &str = "v1.37.0";

/// The forms of aggregated discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Aggregated {
    V2,
    V2beta1,
}

impl Aggregated {
    /// Its version, as in `apidiscovery.k8s.io/v2`.
    pub fn name(self) -> &'static str {
        match self {
            Aggregated::V2 => "v2",
            Aggregated::V2beta1 => "v2beta1",
        }
    }
}

/// `/version`: which release of Kubernetes clients may take this for, and whose it is.
pub fn version() -> Value {
    let (major, minor) = release();
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("{RELEASE}+atoll-{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": platform(),
    })
}

fn release() -> (&'static str, &'static str) {
    let mut parts = RELEASE.trim_start_matches('v').split('.');
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

/// The platform by the names that Go has for it, which clients expect.
fn platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}/{arch}", std::env::consts::OS)
}

/// `/api`: the versions of the core group. `server_address` as `10.0.0.1:6443`.
pub fn api_versions(server_address: &str) -> Value {
    let core = group_versions()
        .into_iter()
        .filter(|(group, _)| group.is_empty());
    json!({
        "kind": "APIVersions",
        "versions": core.map(|(_, version)| version).collect::<Vec<_>>(),
        "serverAddressByClientCIDRs": [
            { "clientCIDR": "0.0.0.0/0", "serverAddress": server_address },
        ],
    })
}

/// `/apis`: the groups.
pub fn api_group_list() -> Value {
    let groups: Vec<Value> = groups().into_iter().map(group_document).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/<group>`, if there is such a group.
pub fn api_group(group: &str) -> Option<Value> {
    let group = groups().into_iter().find(|&known| known == group)?;
    let mut document = group_document(group);
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Some(document)
}

/// `/api/v1` (for the empty group) and `/apis/<group>/<version>`, if there is such a version.
pub fn api_resource_list(group: &str, version: &str) -> Option<Value> {
    let mut listed = Vec::new();
    for resource in resources(group, version) {
        listed.push(resource_entry(&resource));
        listed.extend(
            resource
                .subentries
                .iter()
                .map(|one| subresource_entry(&resource, one)),
        );
    }
    if listed.is_empty() {
        return None;
    }
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version(group, version),
        "resources": listed,
    }))
}

/// `/api` in the aggregated form: the core group with all its resources.
pub fn aggregated_core(form: Aggregated) -> Value {
    aggregated(form, &[""])
}

/// `/apis` in the aggregated form: every other group with all its resources.
pub fn aggregated_groups(form: Aggregated) -> Value {
    aggregated(form, &groups())
}

/// Every group but the core's, in order.
fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = Vec::new();
    for (group, _) in group_versions() {
        if !group.is_empty() && !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

fn versions_of(group: &str) -> impl Iterator<Item = &'static str> {
    let all = group_versions().into_iter();
    all.filter(move |&(one, _)| one == group)
        .map(|(_, version)| version)
}

fn group_version(group: &str, version: &str) -> String {
    match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    }
}

fn group_document(group: &str) -> Value {
    let versions: Vec<Value> = versions_of(group)
        .map(|version| json!({ "groupVersion": group_version(group, version), "version": version }))
        .collect();
    json!({ "name": group, "versions": versions, "preferredVersion": versions.first() })
}

fn resource_entry(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.is_namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    add_names(&mut entry, resource);
    entry
}

/// A subresource has its own group and version where they aren't its resource's.
fn subresource_entry(resource: &Resource, subentry: &Subentry) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", resource.plural, subentry.name),
        "singularName": "",
        "namespaced": resource.is_namespaced,
        "kind": subentry.kind,
        "verbs": subentry.verbs,
    });
    if (subentry.group, subentry.version) != (resource.group, resource.version) {
        entry["group"] = subentry.group.into();
        entry["version"] = subentry.version.into();
    }
    entry
}

fn add_names(entry: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if resource.is_in_all {
        entry["categories"] = json!(["all"]);
    }
}

fn aggregated(form: Aggregated, groups: &[&str]) -> Value {
    let version = |group: &str, version: &'static str| {
        let resources: Vec<Value> = resources(group, version)
            .iter()
            .map(aggregated_entry)
            .collect();
        json!({ "version": version, "resources": resources, "freshness": "Current" })
    };
    let group = |group: &&str| {
        let versions: Vec<Value> = versions_of(group).map(|one| version(group, one)).collect();
        json!({ "metadata": { "name": group, "creationTimestamp": null }, "versions": versions })
    };
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{}", form.name()),
        "metadata": {},
        "items": groups.iter().map(group).collect::<Vec<Value>>(),
    })
}

fn aggregated_entry(resource: &Resource) -> Value {
    let response = |group: &str, version: &str, kind: &str| json!({ "group": group, "version": version, "kind": kind });
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": response(resource.group, resource.version, resource.kind),
        "scope": if resource.is_namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    add_names(&mut entry, resource);
    let subentry = |one: &Subentry| {
        json!({
            "subresource": one.name,
            "responseKind": response(one.group, one.version, one.kind),
            "verbs": one.verbs,
        })
    };
    if !resource.subentries.is_empty() {
        entry["subresources"] = resource.subentries.iter().map(subentry).collect();
    }
    entry
}

#[cfg(test)]
mod tests;
