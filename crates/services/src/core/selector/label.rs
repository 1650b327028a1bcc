//! Label selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k`, and their JSON.

mod parse;

use std::{collections::BTreeSet, fmt};

use serde_json::{Map, Value};

use super::{super::names, super::status::Failure, REQUIREMENTS_MAX, TEXT_BYTES_MAX};

/// What a requirement asks of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operator {
    Equals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl Operator {
    /// As `matchExpressions` name it, of pods (`In`) and nodes (`Gt`, too).
    pub fn of_expression(name: &str) -> Option<Operator> {
        Some(match name {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::GreaterThan,
            "Lt" => Operator::LessThan,
            _ => return None,
        })
    }
}

/// What is asked of one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
}

impl Requirement {
    /// A requirement.
    ///
    /// # Errors
    /// What of it can't be, in Kubernetes' words.
    pub fn new(
        key: &str,
        operator: Operator,
        values: impl IntoIterator<Item = String>,
    ) -> Result<Requirement, String> {
        let values: BTreeSet<String> = values.into_iter().collect();
        let mut wrong = Vec::new();
        let of_key = names::qualified_name(key);
        if !of_key.is_empty() {
            wrong.push(invalid("key", key, &of_key.join("; ")));
        }
        if let Some(why) = wrong_count(operator, values.len()) {
            let list: Vec<&String> = values.iter().collect();
            let list = serde_json::json!(list);
            wrong.push(format!("values: Invalid value: {list}: {why}"));
        }
        for (index, value) in values.iter().enumerate() {
            let is_compared = matches!(operator, Operator::GreaterThan | Operator::LessThan);
            if is_compared && value.parse::<i64>().is_err() {
                let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                wrong.push(invalid(&format!("values[{index}]"), value, why));
            }
            let of_value = names::label_value(value);
            if !of_value.is_empty() {
                let path = format!("values[{index}][{key}]");
                wrong.push(invalid(&path, value, &of_value.join("; ")));
            }
        }
        match &wrong[..] {
            [] => Ok(Requirement {
                key: key.to_owned(),
                operator,
                values,
            }),
            [one] => Err(one.clone()),
            all => Err(format!("[{}]", all.join(", "))),
        }
    }

    /// Whether labels fulfil it.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let found = labels.and_then(|labels| labels.get(&self.key));
        let found = found.and_then(Value::as_str);
        match self.operator {
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::Equals | Operator::In => {
                found.is_some_and(|value| self.values.contains(value))
            }
            Operator::NotEquals | Operator::NotIn => {
                !found.is_some_and(|value| self.values.contains(value))
            }
            Operator::GreaterThan => self.compares(found, |label, bound| label > bound),
            Operator::LessThan => self.compares(found, |label, bound| label < bound),
        }
    }

    fn compares(&self, found: Option<&str>, holds: fn(i64, i64) -> bool) -> bool {
        let label = found.and_then(|label| label.parse().ok());
        let bound = self.values.first().and_then(|bound| bound.parse().ok());
        matches!((label, bound), (Some(label), Some(bound)) if holds(label, bound))
    }
}

fn invalid(path: &str, value: &str, why: &str) -> String {
    format!("{path}: Invalid value: {value:?}: {why}")
}

fn wrong_count(operator: Operator, count: usize) -> Option<&'static str> {
    match operator {
        Operator::In | Operator::NotIn if count == 0 => {
            Some("for 'in', 'notin' operators, values set can't be empty")
        }
        Operator::Equals | Operator::NotEquals if count != 1 => {
            Some("exact-match compatibility requires one single value")
        }
        Operator::Exists | Operator::DoesNotExist if count != 0 => {
            Some("values set must be empty for exists and does not exist")
        }
        Operator::GreaterThan | Operator::LessThan if count != 1 => {
            Some("for 'Gt', 'Lt' operators, exactly one value is required")
        }
        _ => None,
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        let (key, values) = (&self.key, values.join(","));
        match self.operator {
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// Selects objects by their labels: all its requirements hold, or it selects none at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    is_nothing: bool,
}

impl LabelSelector {
    /// Selects every object.
    pub fn everything() -> LabelSelector {
        LabelSelector::of(Vec::new())
    }

    /// Selects no object.
    pub fn nothing() -> LabelSelector {
        LabelSelector {
            requirements: Vec::new(),
            is_nothing: true,
        }
    }

    fn of(mut requirements: Vec<Requirement>) -> LabelSelector {
        requirements.sort_by(|left, right| left.key.cmp(&right.key));
        LabelSelector {
            requirements,
            is_nothing: false,
        }
    }

    /// Reads a query's `labelSelector`.
    ///
    /// # Errors
    /// Where it can't be read, as a bad request.
    pub fn parse(text: &str) -> Result<LabelSelector, Failure> {
        let too_large = || {
            let bounds = format!("{TEXT_BYTES_MAX} bytes and {REQUIREMENTS_MAX} requirements");
            Failure::bad_request(format!("label selector is too large: at most {bounds}"))
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(too_large());
        }
        let requirements = parse::parse(text).map_err(Failure::bad_request)?;
        if requirements.len() > REQUIREMENTS_MAX {
            return Err(too_large());
        }
        Ok(LabelSelector::of(requirements))
    }

    /// Reads a LabelSelector. One that is not there selects nothing, an empty one everything.
    ///
    /// # Errors
    /// What of it can't be, in words.
    pub fn from_json(selector: &Value) -> Result<LabelSelector, String> {
        let Some(selector) = selector.as_object() else {
            return Ok(LabelSelector::nothing());
        };
        let mut requirements = Vec::new();
        let labels = selector.get("matchLabels").and_then(Value::as_object);
        for (key, value) in labels.into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement::new(key, Operator::Equals, [value])?);
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            requirements.push(of_expression(expression)?);
        }
        if requirements.len() > REQUIREMENTS_MAX {
            return Err(format!("must have at most {REQUIREMENTS_MAX} requirements"));
        }
        Ok(LabelSelector::of(requirements))
    }

    /// Of the plain map that Services and ReplicationControllers have.
    pub fn from_map(labels: &Map<String, Value>) -> LabelSelector {
        let requirement = |(key, value): (&String, &Value)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: [value.as_str().unwrap_or_default().to_owned()].into(),
        };
        LabelSelector::of(labels.iter().map(requirement).collect())
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        !self.is_nothing && self.requirements.iter().all(|one| one.matches(labels))
    }

    /// Whether it selects every object.
    pub fn is_everything(&self) -> bool {
        !self.is_nothing && self.requirements.is_empty()
    }
}

/// A requirement of `matchExpressions`.
fn of_expression(expression: &Value) -> Result<Requirement, String> {
    let name = expression["operator"].as_str().unwrap_or_default();
    let operator = match Operator::of_expression(name) {
        None | Some(Operator::GreaterThan | Operator::LessThan) => {
            return Err(format!("{name:?} is not a valid label selector operator"));
        }
        Some(operator) => operator,
    };
    let values = expression["values"].as_array().into_iter().flatten();
    let values = values.filter_map(Value::as_str).map(str::to_owned);
    Requirement::new(
        expression["key"].as_str().unwrap_or_default(),
        operator,
        values,
    )
}

impl fmt::Display for LabelSelector {
    /// As a query has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
