//! Older versions of kinds, for clients that ask for these: their objects are kept in the version
//! of [`KINDS`] and turned into what is asked for at the API's edge, on the way in and out. So
//! whatever is behind the edge knows one version of each kind.
//!
//! Invariants: what an older version has no field for goes through it unharmed, in annotations as
//! in Kubernetes (API changes, "Backward compatibility gotchas"); a kind and its older versions
//! have one group, one plural and one key. Who owns which field is noted in the version that is
//! kept.

mod autoscaler;

use serde_json::{Value, json};

use super::{
    kinds::{AUTOSCALERS, CRON_JOBS, KINDS, Kind},
    lifecycle,
    status::Failure,
};

/// `autoscaling/v1` HorizontalPodAutoscaler.
static AUTOSCALERS_V1: Kind = Kind {
    version: "v1",
    type_name: "autoscaling.v1.HorizontalPodAutoscaler",
    ..AUTOSCALERS
};
/// `batch/v1beta1` CronJob, which has the same fields.
static CRON_JOBS_V1BETA1: Kind = Kind {
    version: "v1beta1",
    type_name: "batch.v1beta1.CronJob",
    ..CRON_JOBS
};

/// An older version of a kind.
struct Older {
    shown: &'static Kind,
    kept: &'static Kind,
    /// Makes an object of this version one of the version that is kept, but for its `apiVersion`.
    to_kept: fn(&mut Value),
    /// And the other way.
    to_shown: fn(&mut Value),
}

static OLDER: [Older; 2] = [
    Older {
        shown: &AUTOSCALERS_V1,
        kept: &AUTOSCALERS,
        to_kept: autoscaler::to_v2,
        to_shown: autoscaler::to_v1,
    },
    Older {
        shown: &CRON_JOBS_V1BETA1,
        kept: &CRON_JOBS,
        to_kept: |_| {},
        to_shown: |_| {},
    },
];

/// Every version of every kind that is served: behind each kind, its older versions.
pub fn served() -> impl Iterator<Item = &'static Kind> {
    let older = |kind| OLDER.iter().filter(move |one| one.kept == kind);
    let shown = move |kind| older(kind).map(|one| one.shown);
    KINDS
        .iter()
        .flat_map(move |kind| [*kind].into_iter().chain(shown(*kind)))
}

/// The version of a kind that a resource names.
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    served().find(|kind| (kind.group, kind.version, kind.plural) == (group, version, plural))
}

/// The version of a kind that an `apiVersion` and a `kind` name.
pub fn by_name(api_version: &str, name: &str) -> Option<&'static Kind> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    served().find(|kind| (kind.group, kind.version, kind.kind) == (group, version, name))
}

/// The kind that an `apiVersion` and a `kind` name, as its objects are kept.
pub fn kept_by_name(api_version: &str, name: &str) -> Option<&'static Kind> {
    by_name(api_version, name).map(kept)
}

/// A version of a kind as its objects are kept.
pub fn kept(version: &'static Kind) -> &'static Kind {
    older(version).map_or(version, |older| older.kept)
}

fn older(version: &Kind) -> Option<&'static Older> {
    OLDER.iter().find(|older| older.shown == version)
}

/// Makes an object of a version one that can be kept.
///
/// # Errors
/// It says that it is of another kind or version.
pub fn to_kept(version: &'static Kind, object: &mut Value) -> Result<(), Failure> {
    if let Some(older) = older(version) {
        lifecycle::is_of_kind(version, object)?;
        (older.to_kept)(object);
        object["apiVersion"] = json!(older.kept.api_version());
    }
    Ok(())
}

/// Makes a kept object one of a version.
pub fn to_shown(version: &Kind, object: &mut Value) {
    if let Some(older) = older(version)
        && object.is_object()
    {
        (older.to_shown)(object);
        object["apiVersion"] = json!(version.api_version());
    }
}

#[cfg(test)]
mod tests;
