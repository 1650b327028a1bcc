//! What pods and nodes use: measured on the nodes, read by autoscalers, and told to clients as
//! `metrics.k8s.io/v1beta1`, as metrics-server does (`kubectl top`; Kubernetes documentation,
//! "Resource metrics pipeline").
//!
//! An object and what was measured go in, JSON comes out. What was not measured is not told: a
//! pod counts as measured once each of its containers that runs is.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Value, json};

use super::{
    object,
    quantity::{self, Format, Quantity},
    time::format_rfc3339,
};

const API_VERSION: &str = "metrics.k8s.io/v1beta1";

/// What a container, or a node, used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of CPUs, on average over the window, in billionths.
    pub cpu_nanocores: u64,
    /// Memory that can't be taken back, at the window's end.
    pub memory_bytes: u64,
    /// The end of the window, since the epoch.
    pub at_ms: u64,
    /// Over so long it was measured.
    pub window_ms: u64,
}

/// What a pod used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUsage {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Of its containers, by their names.
    pub containers: BTreeMap<String, Usage>,
}

impl PodUsage {
    /// Of which time it tells: that of the container that was measured first.
    pub fn earliest(&self) -> Option<Usage> {
        let all = self.containers.values().copied();
        all.min_by_key(|usage| usage.at_ms)
    }
}

/// A `PodMetrics`; none if nothing was measured, or another pod of that name.
pub fn pod_metrics(pod: &Value, usage: &PodUsage, now_ms: u64) -> Option<Value> {
    let of = usage.earliest()?;
    if object::uid(pod) != usage.uid {
        return None;
    }
    let containers: Vec<Value> = usage
        .containers
        .iter()
        .map(|(name, usage)| json!({"name": name, "usage": amounts(usage)}))
        .collect();
    let mut metrics = json!({
        "kind": "PodMetrics", "apiVersion": API_VERSION,
        "metadata": metadata(pod, now_ms),
        "timestamp": format_rfc3339(of.at_ms),
        "window": duration(of.window_ms),
        "containers": containers,
    });
    metrics["metadata"]["namespace"] = json!(object::namespace(pod));
    Some(metrics)
}

/// A `NodeMetrics`.
pub fn node_metrics(node: &Value, usage: &Usage, now_ms: u64) -> Value {
    json!({
        "kind": "NodeMetrics", "apiVersion": API_VERSION,
        "metadata": metadata(node, now_ms),
        "timestamp": format_rfc3339(usage.at_ms),
        "window": duration(usage.window_ms),
        "usage": amounts(usage),
    })
}

/// A `PodMetricsList`, by namespace and name.
pub fn pod_metrics_list(items: Vec<Value>) -> Value {
    list("PodMetricsList", items)
}

/// A `NodeMetricsList`, by name.
pub fn node_metrics_list(items: Vec<Value>) -> Value {
    list("NodeMetricsList", items)
}

fn list(kind: &str, mut items: Vec<Value>) -> Value {
    let name = |item: &Value| {
        (
            object::namespace(item).to_owned(),
            object::name(item).to_owned(),
        )
    };
    items.sort_by_cached_key(name);
    // A list says once of what kind its items are.
    for fields in items.iter_mut().filter_map(Value::as_object_mut) {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    json!({"kind": kind, "apiVersion": API_VERSION, "metadata": {}, "items": items})
}

/// Metrics are made when they are asked for.
fn metadata(object: &Value, now_ms: u64) -> Value {
    let mut metadata = json!({
        "name": object::name(object),
        "creationTimestamp": format_rfc3339(now_ms),
    });
    if let labels @ Value::Object(_) = &object["metadata"]["labels"] {
        metadata["labels"] = labels.clone();
    }
    metadata
}

fn amounts(usage: &Usage) -> Value {
    json!({
        "cpu": cpu(usage.cpu_nanocores).to_string(),
        "memory": memory(usage.memory_bytes).to_string(),
    })
}

/// CPUs as a quantity.
pub fn cpu(nanocores: u64) -> Quantity {
    quantity::parse(&format!("{nanocores}n")).expect("a number with a suffix is a quantity")
}

/// Bytes as a quantity.
pub fn memory(bytes: u64) -> Quantity {
    Quantity::whole(i64::try_from(bytes).unwrap_or(i64::MAX), Format::Binary)
}

/// As Go writes durations: `1m15.042s`.
fn duration(ms: u64) -> String {
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let (seconds, rest) = (ms / 1_000 % 60, ms % 1_000);
    let fraction = match rest {
        0 => Cow::Borrowed(""),
        rest => format!(".{rest:03}").into(),
    };
    let seconds = format!("{seconds}{}s", fraction.trim_end_matches('0'));
    match (hours, minutes) {
        (0, 0) if ms == 0 => "0s".to_owned(),
        (0, 0) if ms < 1_000 => format!("{ms}ms"),
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_767_225_630_000;

    fn usage(cpu_nanocores: u64, memory_bytes: u64, at_ms: u64) -> Usage {
        Usage {
            cpu_nanocores,
            memory_bytes,
            at_ms,
            window_ms: 15_042,
        }
    }

    fn pod(name: &str) -> (Value, PodUsage) {
        let pod = json!({"metadata": {
            "name": name, "namespace": "default", "uid": "u-1", "labels": {"app": "web"},
        }});
        let usage = PodUsage {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid: "u-1".to_owned(),
            containers: [
                (
                    "main".to_owned(),
                    usage(12_345_678, 3 << 20, NOW_MS - 5_000),
                ),
                ("side".to_owned(), usage(2_000_000, 1_000, NOW_MS - 10_000)),
            ]
            .into(),
        };
        (pod, usage)
    }

    #[test]
    fn a_pods_metrics_read_as_metrics_server_writes_them() {
        let (object, usage) = pod("web-1");
        let expected = json!({
            "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {
                "name": "web-1", "namespace": "default", "labels": {"app": "web"},
                "creationTimestamp": "2026-01-01T00:00:30Z",
            },
            "timestamp": "2026-01-01T00:00:20Z", "window": "15.042s",
            "containers": [
                {"name": "main", "usage": {"cpu": "12345678n", "memory": "3Mi"}},
                {"name": "side", "usage": {"cpu": "2m", "memory": "1k"}},
            ],
        });
        assert_eq!(pod_metrics(&object, &usage, NOW_MS), Some(expected));
        let mut again = object.clone();
        again["metadata"]["uid"] = json!("u-2");
        assert_eq!(pod_metrics(&again, &usage, NOW_MS), None, "another pod");
        let mut unmeasured = usage;
        unmeasured.containers.clear();
        assert_eq!(pod_metrics(&object, &unmeasured, NOW_MS), None);
    }

    #[test]
    fn lists_are_in_order_and_name_their_kind_once() {
        let metrics = |name| {
            let (object, usage) = pod(name);
            pod_metrics(&object, &usage, NOW_MS).unwrap()
        };
        let list = pod_metrics_list(vec![metrics("b"), metrics("a")]);
        assert_eq!(list["kind"], "PodMetricsList");
        let names: Vec<&str> = object::items(&list["items"]).map(object::name).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(list["items"][0].get("kind").is_none());
        assert_eq!(pod_metrics_list(Vec::new())["items"], json!([]));
    }

    #[test]
    fn a_nodes_metrics() {
        let node = json!({"metadata": {"name": "n1"}});
        let metrics = node_metrics(&node, &usage(1_500_000_000, 4 << 30, NOW_MS), NOW_MS);
        assert_eq!(metrics["usage"], json!({"cpu": "1500m", "memory": "4Gi"}));
        assert!(metrics["metadata"].get("namespace").is_none());
        let list = node_metrics_list(vec![metrics]);
        assert_eq!(list["kind"], "NodeMetricsList");
    }

    #[test]
    fn durations_read_as_in_go() {
        for (ms, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1_000, "1s"),
            (10_000, "10s"),
            (15_500, "15.5s"),
            (60_000, "1m0s"),
            (75_042, "1m15.042s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }
}
