//! The resources as both forms of discovery tell them, taken from the table of kinds.

use crate::core::{
    kinds::{Kind, Subresource},
    versions,
};

/// What can be done to objects of a kind.
const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// A resource whose objects are answered and not kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Virtual {
    /// Its API group.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its kind, as `SelfSubjectReview`.
    pub kind: &'static str,
    /// As `selfsubjectreviews`.
    pub plural: &'static str,
    /// As `selfsubjectreview`.
    pub singular: &'static str,
    /// Its type in the schema.
    pub type_name: &'static str,
}

/// Every such resource. They can only be created, and have no namespace.
pub static VIRTUALS: &[Virtual] = &[
    Virtual {
        group: "authentication.k8s.io",
        version: "v1",
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        type_name: "authentication.v1.SelfSubjectReview",
    },
    Virtual {
        group: "authorization.k8s.io",
        version: "v1",
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        type_name: "authorization.v1.SelfSubjectAccessReview",
    },
    Virtual {
        group: "authorization.k8s.io",
        version: "v1",
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        type_name: "authorization.v1.SelfSubjectRulesReview",
    },
];

/// What is measured, as resources that can only be read: their kinds, plurals, and whether they
/// are in namespaces.
const MEASURED: [(&str, &str, bool); 2] = [
    ("NodeMetrics", "nodes", false),
    ("PodMetrics", "pods", true),
];

/// The group and version of what is measured.
pub const METRICS: (&str, &str) = ("metrics.k8s.io", "v1beta1");

/// Every group and version that is served, each once, in order of preference.
pub fn group_versions() -> Vec<(&'static str, &'static str)> {
    let kinds = versions::served().map(|kind| (kind.group, kind.version));
    let virtuals = VIRTUALS.iter().map(|one| (one.group, one.version));
    let mut all = Vec::new();
    for one in kinds.chain(virtuals).chain([METRICS]) {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

/// A resource.
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    pub(super) plural: &'static str,
    pub(super) singular: &'static str,
    pub(super) is_namespaced: bool,
    pub(super) is_in_all: bool,
    pub(super) short_names: &'static [&'static str],
    pub(super) verbs: &'static [&'static str],
    pub(super) subentries: Vec<Subentry>,
}

/// A subresource: its name, the kind that it takes or gives, its verbs.
pub(super) struct Subentry {
    pub(super) name: &'static str,
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    pub(super) verbs: &'static [&'static str],
}

/// The resources of a group version.
pub(super) fn resources(group: &str, version: &str) -> Vec<Resource> {
    let is_of = |one: (&str, &str)| one == (group, version);
    let kinds = versions::served().filter(|kind| is_of((kind.group, kind.version)));
    let virtuals = VIRTUALS
        .iter()
        .filter(|one| is_of((one.group, one.version)));
    let measured = MEASURED.into_iter().filter(|_| is_of(METRICS));
    kinds
        .map(of_kind)
        .chain(virtuals.map(of_virtual))
        .chain(measured.map(of_measured))
        .collect()
}

fn of_kind(kind: &'static Kind) -> Resource {
    Resource {
        group: kind.group,
        version: kind.version,
        kind: kind.kind,
        plural: kind.plural,
        singular: kind.singular,
        is_namespaced: kind.is_namespaced,
        is_in_all: kind.is_in_all,
        short_names: kind.short_names,
        verbs: VERBS,
        subentries: kind
            .subresources
            .iter()
            .map(|&one| subentry(kind, one))
            .collect(),
    }
}

fn of_virtual(one: &'static Virtual) -> Resource {
    Resource {
        group: one.group,
        version: one.version,
        kind: one.kind,
        plural: one.plural,
        singular: one.singular,
        is_namespaced: false,
        is_in_all: false,
        short_names: &[],
        verbs: &["create"],
        subentries: Vec::new(),
    }
}

fn of_measured((kind, plural, is_namespaced): (&'static str, &'static str, bool)) -> Resource {
    Resource {
        group: METRICS.0,
        version: METRICS.1,
        kind,
        plural,
        singular: "",
        is_namespaced,
        is_in_all: false,
        short_names: &[],
        verbs: &["get", "list"],
        subentries: Vec::new(),
    }
}

fn subentry(kind: &'static Kind, subresource: Subresource) -> Subentry {
    let own = (kind.group, kind.version, kind.kind);
    let ((group, version, kind), verbs): (_, &[&str]) = match subresource {
        Subresource::Status => (own, &["get", "patch", "update"]),
        Subresource::Scale => (("autoscaling", "v1", "Scale"), &["get", "patch", "update"]),
        Subresource::Log => (own, &["get"]),
        Subresource::Exec => (("", "v1", "PodExecOptions"), &["create", "get"]),
        Subresource::Attach => (("", "v1", "PodAttachOptions"), &["create", "get"]),
        Subresource::PortForward => (("", "v1", "PodPortForwardOptions"), &["create", "get"]),
        Subresource::Binding => (("", "v1", "Binding"), &["create"]),
        Subresource::Eviction => (("policy", "v1", "Eviction"), &["create"]),
        Subresource::Finalize => (own, &["update"]),
    };
    Subentry {
        name: subresource.name(),
        group,
        version,
        kind,
        verbs,
    }
}
