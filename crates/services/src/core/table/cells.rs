//! What printers share: reading fields that may not be there, and putting many things into one
//! cell.

use serde_json::Value;

pub(super) const NONE: &str = "<none>";
pub(super) const UNSET: &str = "<unset>";
pub(super) const UNKNOWN: &str = "<unknown>";

/// How many things a cell names before it counts the rest.
const NAMED_MAX: usize = 3;

/// A text; empty if it is not there.
pub(super) fn text(field: &Value) -> &str {
    field.as_str().unwrap_or_default()
}

/// A text, or another if it is empty or not there.
pub(super) fn text_or<'a>(field: &'a Value, other: &'a str) -> &'a str {
    match text(field) {
        "" => other,
        text => text,
    }
}

/// A number; 0 if it is not there.
pub(super) fn number(field: &Value) -> i64 {
    field.as_i64().unwrap_or_default()
}

/// The items of a list; none if it is not there.
pub(super) fn items(field: &Value) -> &[Value] {
    field.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// How many fields a map has.
pub(super) fn size(field: &Value) -> usize {
    field.as_object().map_or(0, serde_json::Map::len)
}

/// A number or text (a quantity, an int-or-string) as it is written.
pub(super) fn plain(field: &Value) -> String {
    match field {
        Value::String(text) => text.clone(),
        Value::Null => "0".to_owned(),
        other => other.to_string(),
    }
}

/// The condition of a type.
pub(super) fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    items(&object["status"]["conditions"])
        .iter()
        .find(|one| one["type"] == name)
}

/// Whether the condition of a type is true.
pub(super) fn is_condition(object: &Value, name: &str) -> bool {
    condition(object, name).is_some_and(|one| one["status"] == "True")
}

/// A list of texts with commas.
pub(super) fn joined<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().collect::<Vec<_>>().join(",")
}

/// The first few, and how many there are more.
pub(super) fn few(all: &[String]) -> String {
    let named = all[..all.len().min(NAMED_MAX)].join(",");
    match all.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} + {more} more..."),
    }
}

/// The names and the images of the containers of a pod's spec.
pub(super) fn containers(pod_spec: &Value) -> [Value; 2] {
    let containers = items(&pod_spec["containers"]);
    ["name", "image"].map(|field| joined(containers.iter().map(|one| text(&one[field]))).into())
}

/// A map of labels: `app=web,tier=front`.
pub(super) fn labels(map: &Value) -> String {
    let map = map.as_object().into_iter().flatten();
    let told: Vec<String> = map
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    match told.is_empty() {
        true => NONE.to_owned(),
        false => told.join(","),
    }
}

/// A label selector in the form that clients can give back: `app=web,tier in (a,b),!old`; empty
/// for one that says nothing.
pub(super) fn selector(selector: &Value) -> String {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut told: Vec<(&str, String)> = labels
        .map(|(key, value)| (key.as_str(), format!("{key}={}", text(value))))
        .collect();
    for one in items(&selector["matchExpressions"]) {
        let key = text(&one["key"]);
        let mut values: Vec<&str> = items(&one["values"]).iter().map(text).collect();
        values.sort_unstable();
        let values = values.join(",");
        let requirement = match text(&one["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return "<error>".to_owned(),
        };
        told.push((key, requirement));
    }
    told.sort_by(|one, other| one.0.cmp(other.0));
    joined(told.iter().map(|(_, requirement)| requirement.as_str()))
}

/// The same, `<none>` for one that says nothing.
pub(super) fn selector_or_none(of: &Value) -> String {
    match selector(of) {
        told if told.is_empty() => NONE.to_owned(),
        told => told,
    }
}
