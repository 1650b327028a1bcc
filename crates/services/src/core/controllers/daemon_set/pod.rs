//! The pods that a DaemonSet makes, and how often they failed before.
//!
//! Where a pod fails at once, again and again, the next one comes later and later. How often that
//! has been is kept in an annotation of the next pod: there is no other memory.

use serde_json::{Value, json};

use super::{Daemons, placement, sites::Site};
use crate::core::{
    controllers::{
        owners::{self, hash_text},
        revisions::REVISION_LABEL,
    },
    kinds::{Kind, PODS},
    object,
    time::parse_rfc3339,
};

/// How many pods failed on the node before, one after the other.
const FAILURES: &str = "atoll.dev/daemon-failures";
/// How long a pod that is not the first to fail is left before another one comes, at first.
const REST_MS: u64 = 1_000;
/// And at most.
const REST_MS_MAX: u64 = 900_000;
/// What ran for so long has not failed at once.
const FORGIVEN_MS: u64 = 2 * REST_MS_MAX;
/// How long the part of a name is that tells apart what one DaemonSet made.
const SUFFIX_LENGTH: usize = 5;

/// What is known of the pods that a new one follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    /// How many of them failed.
    pub(super) count: u32,
    /// In how many milliseconds the new one may come.
    pub(super) rest_ms: u64,
}

impl Daemons<'_> {
    /// What a new pod follows on a node. Another template begins anew.
    pub(super) fn failures(&self, site: &Site) -> Failures {
        let last = site.ended().into_iter().find(|pod| self.is_updated(pod));
        last.map_or_else(Failures::default, |pod| failures(pod, self.now_ms))
    }

    /// A name that follows from the DaemonSet at one revision, its template and the node, unless it
    /// is taken, as in [`owners::free_names`].
    pub(super) fn free_name(&self, node: &str, is_taken: impl Fn(&str) -> bool) -> String {
        let base = owners::base_name(self.set);
        let (uid, revision) = (object::uid(self.set), owners::revision(self.set));
        let name = |ordinal: u64| {
            let seed = format!("{uid}/{revision}/{node}/{}/{ordinal}", self.hash);
            format!("{base}{}", hash_text(seed.as_bytes(), SUFFIX_LENGTH))
        };
        let mut free = (0..).map(name).filter(|name| !is_taken(name));
        free.next().expect("there are more names than objects")
    }

    /// A pod for a node.
    pub(super) fn pod(
        &self,
        kind: &'static Kind,
        site: &Site,
        name: &str,
        failures: Failures,
    ) -> Value {
        let template = &self.set["spec"]["template"];
        let mut pod = json!({
            "apiVersion": PODS.api_version(),
            "kind": PODS.kind,
            "metadata": {
                "name": name,
                "generateName": owners::base_name(self.set),
                "namespace": object::namespace(self.set),
                "ownerReferences": [owners::controller_reference(kind, self.set)],
            },
            "spec": template["spec"],
        });
        for field in ["labels", "annotations", "finalizers"] {
            if let Some(value) = template["metadata"].get(field) {
                pod["metadata"][field] = value.clone();
            }
        }
        pod["metadata"]["labels"][REVISION_LABEL] = json!(self.hash);
        if failures.count > 0 {
            pod["metadata"]["annotations"][FAILURES] = json!(failures.count.to_string());
        }
        placement::pin(&mut pod["spec"], &site.node);
        placement::tolerate(&mut pod["spec"]);
        pod
    }
}

fn failures(ended: &Value, now_ms: u64) -> Failures {
    let before = object::annotation(ended, FAILURES).and_then(|count| count.parse().ok());
    let before: u32 = before.unwrap_or_default();
    let created_ms = parse_rfc3339(object::meta(ended, "creationTimestamp")).unwrap_or_default();
    let lived_ms = now_ms.saturating_sub(created_ms);
    if before == 0 || lived_ms >= FORGIVEN_MS {
        return Failures {
            count: 1,
            rest_ms: 0,
        };
    }
    let doubled = 1_u64.checked_shl(before - 1).unwrap_or(u64::MAX);
    let rest_ms = REST_MS.saturating_mul(doubled).min(REST_MS_MAX);
    Failures {
        count: before.saturating_add(1),
        rest_ms: rest_ms.saturating_sub(lived_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_fail_again_and_again_come_later_and_later() {
        let after = |count: &str, lived_s: u64| {
            let pod = json!({"metadata": {
                "creationTimestamp": "1970-01-01T00:00:00Z",
                "annotations": {FAILURES: count},
            }});
            let failures = failures(&pod, lived_s * 1_000);
            (failures.count, failures.rest_ms)
        };
        assert_eq!(after("", 0), (1, 0));
        assert_eq!(after("1", 0), (2, 1_000));
        assert_eq!(after("2", 0), (3, 2_000));
        assert_eq!(after("2", 1), (3, 1_000));
        assert_eq!(after("2", 5), (3, 0));
        assert_eq!(after("20", 0), (21, REST_MS_MAX));
        assert_eq!(after("4294967295", 0), (u32::MAX, REST_MS_MAX));
        assert_eq!(after("20", 1_800), (1, 0));
    }
}
