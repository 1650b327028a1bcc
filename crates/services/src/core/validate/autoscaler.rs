//! What autoscalers go by, and how fast (Kubernetes: pkg/apis/autoscaling/validation).

use super::{
    super::{names, quantity},
    at::{At, Errors},
};

/// The longest time that a policy counts changes of, in seconds.
const PERIOD_S_MAX: i64 = 1_800;
/// The longest that recommendations are remembered, in seconds.
const WINDOW_S_MAX: i64 = 3_600;
/// Types of metrics, and where their sources stand.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

/// A HorizontalPodAutoscaler's spec.
pub(super) fn autoscaler(spec: &At<'_>, errors: &mut Errors) {
    let (least, most) = (spec.child("minReplicas"), spec.child("maxReplicas"));
    if least.number().is_some_and(|count| count < 1) {
        least.invalid(errors, "must be greater than or equal to 1");
    }
    if most.number().unwrap_or_default() < 1 {
        most.invalid(errors, "must be greater than 0");
    }
    if most.number() < least.number() {
        most.invalid(errors, "must be greater than or equal to `minReplicas`");
    }
    super::workload::replicas(&most, errors);
    reference(&spec.child("scaleTargetRef"), errors);
    for metric in spec.child("metrics").items() {
        self::metric(&metric, errors);
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = spec.child("behavior").child(direction);
        if rules.is_present() {
            self::rules(&rules, errors);
        }
    }
}

fn reference(at: &At<'_>, errors: &mut Errors) {
    for field in ["kind", "name"] {
        let at = at.child(field);
        at.needed(errors);
        at.named_if_any(errors, names::path_segment);
    }
}

fn metric(metric: &At<'_>, errors: &mut Errors) {
    let kind = metric.child("type");
    if kind.text().is_empty() {
        kind.required(errors, "must specify a metric source type");
    } else {
        kind.one_of(errors, &SOURCES.map(|(name, _)| name));
    }
    let is_there = |field: &str| metric.child(field).is_present();
    let expected = SOURCES.iter().find(|(name, _)| *name == kind.text());
    let expected = expected.map(|(_, field)| *field);
    if let Some(field) = expected.filter(|field| !is_there(field)) {
        let why = "must populate information for the given metric source";
        metric.child(field).required(errors, why);
    }
    for (_, field) in SOURCES.iter().filter(|(_, field)| is_there(field)) {
        if Some(*field) != expected {
            let why = "must populate the given metric source only";
            metric.child(field).forbidden(errors, why);
        } else {
            source(field, &metric.child(field), errors);
        }
    }
}

fn source(field: &str, source: &At<'_>, errors: &mut Errors) {
    match field {
        "resource" | "containerResource" => {
            if field == "containerResource" && source.child("container").text().is_empty() {
                let container = source.child("container");
                container.required(errors, "must specify a container name");
            }
            if source.child("name").text().is_empty() {
                let name = source.child("name");
                name.required(errors, "must specify a resource name");
            }
        }
        "object" => reference(&source.child("describedObject"), errors),
        _ => {}
    }
    if matches!(field, "object" | "pods" | "external") {
        let name = source.under(&["metric", "name"]);
        if name.text().is_empty() {
            name.required(errors, "must specify a metric name");
        }
        name.named_if_any(errors, names::path_segment);
    }
    let target = source.child("target");
    self::target(&target, errors);
    let [value, average, share] =
        ["value", "averageValue", "averageUtilization"].map(|field| target.child(field));
    let has = |at: &At<'_>| at.is_present();
    match field {
        "object" if !has(&value) && !has(&average) => {
            average.required(errors, "must set either a target value or averageValue");
        }
        "external" if !has(&value) && !has(&average) => {
            let why = "must set either a target value for metric or a per-pod target";
            average.required(errors, why);
        }
        "external" if has(&value) && has(&average) => {
            let why = "may not set both a target value for metric and a per-pod target";
            value.forbidden(errors, why);
        }
        "pods" if !is_positive(&average) => {
            average.required(errors, "must specify a positive target averageValue");
        }
        "resource" | "containerResource" if !has(&share) && !has(&average) => {
            let why = "must set either a target raw value or a target utilization";
            share.required(errors, why);
        }
        "resource" | "containerResource" if has(&share) && has(&average) => {
            let why = "may not set both a target raw value and a target utilization";
            average.forbidden(errors, why);
        }
        _ => {}
    }
}

fn target(target: &At<'_>, errors: &mut Errors) {
    let kind = target.child("type");
    match kind.text() {
        "" => kind.required(errors, "must specify a metric target type"),
        "Utilization" | "Value" | "AverageValue" => {}
        _ => kind.invalid(errors, "must be either Utilization, Value, or AverageValue"),
    }
    for field in ["value", "averageValue"] {
        let amount = target.child(field);
        if amount.is_present() && !is_positive(&amount) {
            amount.invalid(errors, "must be positive");
        }
    }
    let share = target.child("averageUtilization");
    if share.number().is_some_and(|share| share < 1) {
        share.invalid(errors, "must be greater than 0");
    }
}

fn is_positive(at: &At<'_>) -> bool {
    quantity::of(at.value()).is_some_and(|it| !it.is_negative() && !it.is_zero())
}

/// How fast the number changes in one direction.
fn rules(rules: &At<'_>, errors: &mut Errors) {
    let window = rules.child("stabilizationWindowSeconds");
    if window.number().is_some_and(|seconds| seconds < 0) {
        window.invalid(errors, "must be greater than or equal to zero");
    }
    at_most(&window, WINDOW_S_MAX, errors);
    let choice = rules.child("selectPolicy");
    choice.one_of(errors, &["Disabled", "Max", "Min"]);
    let policies = rules.child("policies");
    // Where nothing is said there are some of Kubernetes' own.
    if policies.is_present() && policies.count() == 0 {
        policies.required(errors, "must specify at least one Policy");
    }
    for policy in policies.items() {
        policy.child("type").one_of(errors, &["Percent", "Pods"]);
        for field in ["value", "periodSeconds"] {
            let number = policy.child(field);
            if number.number().unwrap_or_default() <= 0 {
                number.invalid(errors, "must be greater than zero");
            }
        }
        at_most(&policy.child("periodSeconds"), PERIOD_S_MAX, errors);
    }
    let tolerance = rules.child("tolerance");
    if quantity::of(tolerance.value()).is_some_and(quantity::Quantity::is_negative) {
        tolerance.invalid(errors, super::NEGATIVE);
    }
}

fn at_most(at: &At<'_>, max: i64, errors: &mut Errors) {
    if at.number().is_some_and(|number| number > max) {
        at.invalid(errors, format!("must be less than or equal to {max}"));
    }
}
