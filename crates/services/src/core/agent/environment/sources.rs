//! Where values come from that a pod only refers to: its own fields, its resources, config maps
//! and secrets.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{ConfigError, Surroundings, WORD_BYTES_MAX, find};
use crate::core::{
    object::{annotation, label, name, namespace, uid},
    quantity::{self, Format, Quantity},
};

/// What a container's variables can refer to.
pub(super) struct Sources<'a> {
    pub(super) pod: &'a Value,
    pub(super) container: &'a Value,
    pub(super) around: &'a Surroundings<'a>,
}

impl Sources<'_> {
    /// A `valueFrom`; none if it is optional and not there.
    pub(super) fn one(&self, from: &Value) -> Result<Option<String>, ConfigError> {
        if let Some(field) = from.get("fieldRef") {
            return self
                .field(field["fieldPath"].as_str().unwrap_or_default())
                .map(Some);
        }
        if let Some(resource) = from.get("resourceFieldRef") {
            return self.resource(resource).map(Some);
        }
        if let Some(key) = from.get("configMapKeyRef") {
            return self.key("ConfigMap", key);
        }
        match from.get("secretKeyRef") {
            Some(key) => self.key("Secret", key),
            None => Ok(None),
        }
    }

    /// An `envFrom`: all keys of an object.
    pub(super) fn all_of(&self, from: &Value) -> Result<Vec<(String, String)>, ConfigError> {
        let (kind, reference) = match from.get("configMapRef") {
            Some(reference) => ("ConfigMap", reference),
            None => ("Secret", &from["secretRef"]),
        };
        let Some(object) = self.object(kind, reference)? else {
            return Ok(Vec::new());
        };
        let prefix = from["prefix"].as_str().unwrap_or_default();
        let none = Map::new();
        let data = object["data"].as_object().unwrap_or(&none);
        let keys = data
            .iter()
            .filter(|(key, _)| !key.is_empty() && !key.contains('='));
        let variables = keys.map(|(key, value)| {
            let value = decode(kind, &object, key, value)?;
            Ok((format!("{prefix}{key}"), value))
        });
        variables.collect()
    }

    fn object(&self, kind: &str, reference: &Value) -> Result<Option<Arc<Value>>, ConfigError> {
        let name = reference["name"].as_str().unwrap_or_default();
        match (self.around.lookup)(kind, name) {
            None if reference["optional"] != true => Err(ConfigError::NotFound {
                kind: kind.to_lowercase(),
                name: name.to_owned(),
            }),
            found => Ok(found),
        }
    }

    fn key(&self, kind: &str, reference: &Value) -> Result<Option<String>, ConfigError> {
        let Some(object) = self.object(kind, reference)? else {
            return Ok(None);
        };
        let key = reference["key"].as_str().unwrap_or_default();
        match &object["data"][key] {
            Value::Null if reference["optional"] == true => Ok(None),
            Value::Null => Err(ConfigError::NoKey {
                key: key.to_owned(),
                kind: kind.to_owned(),
                namespace: namespace(self.pod).to_owned(),
                name: name(&object).to_owned(),
            }),
            value => decode(kind, &object, key, value).map(Some),
        }
    }

    fn field(&self, path: &str) -> Result<String, ConfigError> {
        let (pod, node) = (self.pod, self.around.node);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let first = |ips: &[String]| ips.first().cloned().unwrap_or_default();
        Ok(match path {
            "metadata.name" => name(pod).to_owned(),
            "metadata.namespace" => namespace(pod).to_owned(),
            "metadata.uid" => uid(pod).to_owned(),
            "spec.nodeName" => text(&pod["spec"]["nodeName"]),
            "spec.serviceAccountName" => text(&pod["spec"]["serviceAccountName"]),
            "status.hostIP" => first(&node.ips),
            "status.hostIPs" => node.ips.join(","),
            "status.podIP" => first(self.around.ips),
            "status.podIPs" => self.around.ips.join(","),
            other => {
                let labelled = subscript(other, "metadata.labels").map(|key| label(pod, key));
                let annotated =
                    || subscript(other, "metadata.annotations").map(|key| annotation(pod, key));
                let found = labelled.or_else(annotated);
                let found = found.ok_or_else(|| ConfigError::NoField(other.to_owned()))?;
                found.unwrap_or_default().to_owned()
            }
        })
    }

    /// How often a divisor goes into a resource, rounded up; of a limit that is not set, what the
    /// node has.
    fn resource(&self, reference: &Value) -> Result<String, ConfigError> {
        let path = reference["resource"].as_str().unwrap_or_default();
        let unknown = || ConfigError::NoResource(path.to_owned());
        let (kind, resource) = path.split_once('.').ok_or_else(unknown)?;
        if !matches!(kind, "limits" | "requests") {
            return Err(unknown());
        }
        let container = match reference["containerName"].as_str() {
            Some(name) if !name.is_empty() => find(self.pod, name).ok_or_else(unknown)?,
            _ => self.container,
        };
        let own = quantity::of(&container["resources"][kind][resource]);
        let amount = own.or_else(|| match kind {
            "limits" => self.around.node.allocatable.get(resource).copied(),
            _ => None,
        });
        let divisor = match &reference["divisor"] {
            Value::Null => None,
            divisor => Some(quantity::of(divisor).ok_or_else(unknown)?),
        };
        let divisor = divisor.filter(|divisor| !divisor.is_zero());
        let divisor = divisor.unwrap_or_else(|| Quantity::whole(1, Format::Decimal));
        let in_units = |amount: Quantity| match resource {
            "cpu" => amount.milli(),
            _ => amount.value(),
        };
        let (amount, divisor) = (in_units(amount.unwrap_or_default()), in_units(divisor));
        if amount < 0 || divisor < 0 {
            return Err(unknown());
        }
        Ok(amount
            .unsigned_abs()
            .div_ceil(divisor.unsigned_abs())
            .to_string())
    }
}

/// The key of `metadata.labels['key']`.
fn subscript<'a>(path: &'a str, field: &str) -> Option<&'a str> {
    path.strip_prefix(field)?
        .strip_prefix("['")?
        .strip_suffix("']")
}

fn decode(kind: &str, object: &Value, key: &str, value: &Value) -> Result<String, ConfigError> {
    let text = value.as_str().unwrap_or_default();
    let decoded = match kind {
        "Secret" => {
            let bytes = STANDARD.decode(text).ok();
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            text.ok_or_else(|| ConfigError::NotText {
                key: key.to_owned(),
                name: name(object).to_owned(),
            })?
        }
        _ => text.to_owned(),
    };
    match decoded.len() > WORD_BYTES_MAX {
        true => Err(ConfigError::TooLong(format!(
            "key {key} in {kind} {}",
            name(object)
        ))),
        false => Ok(decoded),
    }
}
