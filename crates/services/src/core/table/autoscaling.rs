//! What says how many pods there may be: autoscalers, disruption budgets.

use serde_json::Value;

use super::{
    AGE, Column, NAME, Printer,
    age::age,
    cells::{NONE, UNKNOWN, UNSET, items, number, plain, text},
};
use crate::core::object::name;

/// How many metrics a cell names before it counts the rest.
const METRICS_MAX: usize = 2;

pub(super) static AUTOSCALERS: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Reference", "What it scales."),
        Column::text(
            "Targets",
            "The metrics it goes by: as they are, as they are to be.",
        ),
        Column::text("MinPods", "The fewest pods it leaves."),
        Column::text("MaxPods", "The most pods it makes."),
        Column::text("Replicas", "How many pods there are."),
        AGE,
    ],
    cells: |scaler, now_ms| {
        let (spec, status) = (&scaler["spec"], &scaler["status"]);
        let target = &spec["scaleTargetRef"];
        let min = spec["minReplicas"].as_i64();
        vec![
            name(scaler).into(),
            format!("{}/{}", text(&target["kind"]), text(&target["name"])).into(),
            metrics(scaler).into(),
            min.map_or_else(|| UNSET.to_owned(), |min| min.to_string())
                .into(),
            number(&spec["maxReplicas"]).into(),
            number(&status["currentReplicas"]).into(),
            age(scaler, now_ms),
        ]
    },
};

pub(super) static DISRUPTION_BUDGETS: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Min Available", "How many pods are to stay."),
        Column::text("Max Unavailable", "How many pods may be away."),
        Column::count(
            "Allowed Disruptions",
            "How many pods may be taken away now.",
        ),
        AGE,
    ],
    cells: |budget, now_ms| {
        let bound = |field: &str| match &budget["spec"][field] {
            Value::Null => "N/A".to_owned(),
            bound => plain(bound),
        };
        vec![
            name(budget).into(),
            bound("minAvailable").into(),
            bound("maxUnavailable").into(),
            number(&budget["status"]["disruptionsAllowed"]).into(),
            age(budget, now_ms),
        ]
    },
};

fn metrics(scaler: &Value) -> String {
    let specs = items(&scaler["spec"]["metrics"]);
    if specs.is_empty() {
        return NONE.to_owned();
    }
    let statuses = &scaler["status"]["currentMetrics"];
    let told: Vec<String> = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| metric(spec, &statuses[index]))
        .collect();
    let named = told[..told.len().min(METRICS_MAX)].join(", ");
    match told.len().saturating_sub(METRICS_MAX) {
        0 => named,
        more => format!("{named} + {more} more..."),
    }
}

/// One metric: `cpu: 40%/80%`, `12/50 (avg)`.
fn metric(spec: &Value, status: &Value) -> String {
    let field = match text(&spec["type"]) {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".to_owned(),
    };
    let (target, current) = (&spec[field]["target"], &status[field]["current"]);
    let known = |value: &Value| match value {
        Value::Null => UNKNOWN.to_owned(),
        value => plain(value),
    };
    let is_average = !target["averageValue"].is_null();
    let pair = match (field, is_average) {
        ("resource" | "containerResource", false) => {
            let percent = |value: &Value, other: &str| match value.as_i64() {
                Some(percent) => format!("{percent}%"),
                None => other.to_owned(),
            };
            let is = percent(&current["averageUtilization"], UNKNOWN);
            format!("{is}/{}", percent(&target["averageUtilization"], "<auto>"))
        }
        (_, true) => {
            format!(
                "{}/{}",
                known(&current["averageValue"]),
                plain(&target["averageValue"])
            )
        }
        (_, false) => format!("{}/{}", known(&current["value"]), plain(&target["value"])),
    };
    match (field, is_average) {
        ("resource" | "containerResource", _) => {
            format!("{}: {pair}", text(&spec[field]["name"]))
        }
        ("object" | "external", true) => format!("{pair} (avg)"),
        _ => pair,
    }
}
