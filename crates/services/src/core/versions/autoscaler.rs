//! HorizontalPodAutoscalers in `autoscaling/v1`, which has a field for a share of CPU alone. All
//! else stands in annotations, metrics there in the form of `v2beta1` (Kubernetes:
//! pkg/apis/autoscaling/v1/conversion.go, annotations.go).

use serde_json::{Map, Value, json};

/// What is measured beside a share of CPU.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
/// What was measured.
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
/// The conditions.
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
/// How fast the number changes.
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// A field's name in an annotation, and where it is in `v2`.
type Fields = &'static [(&'static str, &'static str)];

/// How a source of metrics reads: as it is wanted, and as it was measured.
struct Source {
    field: &'static str,
    wanted: Fields,
    measured: Fields,
}

static SOURCES: [Source; 5] = [
    Source {
        field: "resource",
        wanted: &[
            ("name", "/name"),
            ("targetAverageUtilization", "/target/averageUtilization"),
            ("targetAverageValue", "/target/averageValue"),
        ],
        measured: &[
            ("name", "/name"),
            ("currentAverageUtilization", "/current/averageUtilization"),
            ("currentAverageValue", "/current/averageValue"),
        ],
    },
    Source {
        field: "containerResource",
        wanted: &[
            ("name", "/name"),
            ("container", "/container"),
            ("targetAverageUtilization", "/target/averageUtilization"),
            ("targetAverageValue", "/target/averageValue"),
        ],
        measured: &[
            ("name", "/name"),
            ("container", "/container"),
            ("currentAverageUtilization", "/current/averageUtilization"),
            ("currentAverageValue", "/current/averageValue"),
        ],
    },
    Source {
        field: "pods",
        wanted: &[
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("targetAverageValue", "/target/averageValue"),
        ],
        measured: &[
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("currentAverageValue", "/current/averageValue"),
        ],
    },
    Source {
        field: "object",
        wanted: &[
            ("target", "/describedObject"),
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("targetValue", "/target/value"),
            ("averageValue", "/target/averageValue"),
        ],
        measured: &[
            ("target", "/describedObject"),
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("currentValue", "/current/value"),
            ("averageValue", "/current/averageValue"),
        ],
    },
    Source {
        field: "external",
        wanted: &[
            ("metricName", "/metric/name"),
            ("metricSelector", "/metric/selector"),
            ("targetValue", "/target/value"),
            ("targetAverageValue", "/target/averageValue"),
        ],
        measured: &[
            ("metricName", "/metric/name"),
            ("metricSelector", "/metric/selector"),
            ("currentValue", "/current/value"),
            ("currentAverageValue", "/current/averageValue"),
        ],
    },
];

/// Whether metrics are what is wanted, or what was measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Wanted,
    Measured,
}

impl Side {
    fn fields(self, source: &Source) -> Fields {
        match self {
            Side::Wanted => source.wanted,
            Side::Measured => source.measured,
        }
    }
}

/// Makes one of `v2` one of `v1`.
pub(super) fn to_v1(object: &mut Value) {
    let mut noted: Vec<(&str, Value)> = Vec::new();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let (shares, others): (Vec<Value>, Vec<Value>) = taken(spec, "metrics")
            .into_iter()
            .partition(|metric| share_of_cpu(metric, "/resource/target").is_some());
        let share = shares
            .first()
            .and_then(|it| share_of_cpu(it, "/resource/target"));
        if let Some(share) = share.cloned() {
            spec.insert("targetCPUUtilizationPercentage".to_owned(), share);
        }
        noted.push((METRICS, metrics_to_v1(&others, Side::Wanted)));
        noted.push((BEHAVIOR, spec.remove("behavior").unwrap_or_default()));
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let measured = taken(status, "currentMetrics");
        let mut shares = measured.iter();
        let share = shares.find_map(|metric| share_of_cpu(metric, "/resource/current"));
        if let Some(share) = share {
            status.insert("currentCPUUtilizationPercentage".to_owned(), share.clone());
        }
        noted.push((CURRENT, metrics_to_v1(&measured, Side::Measured)));
        noted.push((CONDITIONS, taken(status, "conditions").into()));
        for field in ["currentReplicas", "desiredReplicas"] {
            status.entry(field).or_insert(json!(0));
        }
    }
    noted.retain(|(_, value)| !value.is_null() && *value != json!([]));
    if noted.is_empty() {
        return;
    }
    if let Some(annotations) = annotations(object) {
        for (name, value) in noted {
            annotations.insert(name.to_owned(), json!(value.to_string()));
        }
    }
}

/// Makes one of `v1` one of `v2`. An annotation that can't be read says nothing, as in
/// Kubernetes.
pub(super) fn to_v2(object: &mut Value) {
    let mut noted = |name| {
        let annotations = object.pointer_mut("/metadata/annotations")?;
        let text = annotations.as_object_mut()?.remove(name)?;
        serde_json::from_str::<Value>(text.as_str()?).ok()
    };
    let wanted = noted(METRICS);
    let (behavior, measured, conditions) = (noted(BEHAVIOR), noted(CURRENT), noted(CONDITIONS));
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let mut metrics = wanted.map_or_else(Vec::new, |it| metrics_to_v2(&it, Side::Wanted));
        let share = spec.remove("targetCPUUtilizationPercentage");
        if let Some(share) = share.filter(|share| !share.is_null()) {
            let target = json!({"type": "Utilization", "averageUtilization": share});
            metrics
                .push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
        }
        if !metrics.is_empty() {
            spec.insert("metrics".to_owned(), metrics.into());
        }
        if let Some(behavior) = behavior.filter(Value::is_object) {
            spec.insert("behavior".to_owned(), behavior);
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let share = status.remove("currentCPUUtilizationPercentage");
        // What is noted tells more than the share alone.
        let measured = match (measured, share) {
            (Some(noted), _) => metrics_to_v2(&noted, Side::Measured),
            (None, Some(share)) if !share.is_null() => vec![json!({
                "type": "Resource",
                "resource": {"name": "cpu", "current": {"averageUtilization": share}},
            })],
            _ => Vec::new(),
        };
        if !measured.is_empty() {
            status.insert("currentMetrics".to_owned(), measured.into());
        }
        if let Some(conditions) = conditions.filter(Value::is_array) {
            status.insert("conditions".to_owned(), conditions);
        }
    }
}

/// The share of CPU that a metric is about.
fn share_of_cpu<'a>(metric: &'a Value, place: &str) -> Option<&'a Value> {
    let is_cpu = metric["type"] == "Resource" && metric["resource"]["name"] == "cpu";
    let share = metric.pointer(place)?.get("averageUtilization")?;
    (is_cpu && !share.is_null()).then_some(share)
}

fn metrics_to_v1(metrics: &[Value], side: Side) -> Value {
    metrics.iter().map(|it| metric_to_v1(it, side)).collect()
}

fn metric_to_v1(metric: &Value, side: Side) -> Value {
    let mut written = json!({"type": metric["type"]});
    for source in &SOURCES {
        let Some(told) = metric.get(source.field).filter(|it| it.is_object()) else {
            continue;
        };
        let fields = side.fields(source).iter();
        let fields = fields.filter_map(|(name, place)| {
            let value = told.pointer(place).filter(|it| !it.is_null())?;
            Some(((*name).to_owned(), value.clone()))
        });
        written[source.field] = fields.collect();
    }
    written
}

fn metrics_to_v2(noted: &Value, side: Side) -> Vec<Value> {
    let noted = noted.as_array().into_iter().flatten();
    let noted = noted.filter(|metric| metric.is_object());
    noted.map(|metric| metric_to_v2(metric, side)).collect()
}

fn metric_to_v2(metric: &Value, side: Side) -> Value {
    let mut written = json!({"type": metric["type"]});
    for source in &SOURCES {
        let Some(told) = metric.get(source.field).filter(|it| it.is_object()) else {
            continue;
        };
        let mut made = json!({});
        for (name, place) in side.fields(source) {
            if let Some(value) = told.get(*name).filter(|it| !it.is_null()) {
                put(&mut made, place, value.clone());
            }
        }
        if side == Side::Wanted {
            let name = target_type(&made);
            put(&mut made, "/target/type", json!(name));
        }
        written[source.field] = made;
    }
    written
}

/// In what a target is told.
fn target_type(source: &Value) -> &'static str {
    let target = &source["target"];
    let types = [
        ("averageUtilization", "Utilization"),
        ("averageValue", "AverageValue"),
    ];
    let mut types = types.into_iter();
    let found = types.find(|(field, _)| target.get(field).is_some());
    found.map_or("Value", |(_, name)| name)
}

/// Writes a value at a place of one or two fields.
fn put(object: &mut Value, place: &str, value: Value) {
    let place = place.trim_start_matches('/');
    match place.split_once('/') {
        Some((outer, inner)) => object[outer][inner] = value,
        None => object[place] = value,
    }
}

/// The items of a list, which is not there any more.
fn taken(object: &mut Map<String, Value>, list: &str) -> Vec<Value> {
    match object.remove(list) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn annotations(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let meta = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = meta.entry("annotations").or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = json!({});
    }
    annotations.as_object_mut()
}
