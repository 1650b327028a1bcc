//! Field selectors: `metadata.name=x,status.phase!=Running`. Only a few fields of each kind can be
//! selected by; each is a text, and one that is not there is empty.

use std::borrow::Cow;

use serde_json::Value;

use super::{super::kinds::Kind, super::status::Failure, REQUIREMENTS_MAX, TEXT_BYTES_MAX};

/// What an object has in a field that can be selected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    /// `false` if it is not there.
    Bool,
    /// `0` if it is not there.
    Number,
}

/// A name of a field, where it is in the object, and what it holds.
type Selectable = (&'static str, &'static str, Form);

const OF_ALL: &[Selectable] = &[
    ("metadata.name", "/metadata/name", Form::Text),
    ("metadata.namespace", "/metadata/namespace", Form::Text),
];
const OF_PODS: &[Selectable] = &[
    ("spec.nodeName", "/spec/nodeName", Form::Text),
    ("spec.restartPolicy", "/spec/restartPolicy", Form::Text),
    ("spec.schedulerName", "/spec/schedulerName", Form::Text),
    (
        "spec.serviceAccountName",
        "/spec/serviceAccountName",
        Form::Text,
    ),
    ("spec.hostNetwork", "/spec/hostNetwork", Form::Bool),
    ("status.phase", "/status/phase", Form::Text),
    ("status.podIP", "/status/podIP", Form::Text),
    (
        "status.nominatedNodeName",
        "/status/nominatedNodeName",
        Form::Text,
    ),
];
const OF_EVENTS: &[Selectable] = &[
    ("involvedObject.kind", "/involvedObject/kind", Form::Text),
    (
        "involvedObject.namespace",
        "/involvedObject/namespace",
        Form::Text,
    ),
    ("involvedObject.name", "/involvedObject/name", Form::Text),
    ("involvedObject.uid", "/involvedObject/uid", Form::Text),
    (
        "involvedObject.apiVersion",
        "/involvedObject/apiVersion",
        Form::Text,
    ),
    (
        "involvedObject.resourceVersion",
        "/involvedObject/resourceVersion",
        Form::Text,
    ),
    (
        "involvedObject.fieldPath",
        "/involvedObject/fieldPath",
        Form::Text,
    ),
    ("reason", "/reason", Form::Text),
    ("reportingComponent", "/reportingComponent", Form::Text),
    ("source", "/source/component", Form::Text),
    ("type", "/type", Form::Text),
];
const OF_NAMESPACES: &[Selectable] = &[("status.phase", "/status/phase", Form::Text)];
const OF_NODES: &[Selectable] = &[("spec.unschedulable", "/spec/unschedulable", Form::Bool)];
const OF_SECRETS: &[Selectable] = &[("type", "/type", Form::Text)];
const OF_REPLICA_SETS: &[Selectable] = &[("status.replicas", "/status/replicas", Form::Number)];
const OF_JOBS: &[Selectable] = &[("status.successful", "/status/succeeded", Form::Number)];

/// What a kind has beside what all have.
fn selectable(kind: &Kind) -> &'static [Selectable] {
    match (kind.group, kind.kind) {
        ("", "Pod") => OF_PODS,
        ("" | "events.k8s.io", "Event") => OF_EVENTS,
        ("", "Namespace") => OF_NAMESPACES,
        ("", "Node") => OF_NODES,
        ("", "Secret") => OF_SECRETS,
        ("apps", "ReplicaSet") | ("", "ReplicationController") => OF_REPLICA_SETS,
        ("batch", "Job") => OF_JOBS,
        _ => &[],
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: &'static str,
    pointer: &'static str,
    form: Form,
    is_equal: bool,
    value: String,
}

/// Selects objects of one kind by some of their fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

impl FieldSelector {
    /// Reads a query's `fieldSelector`.
    ///
    /// # Errors
    /// It can't be read, or the kind can't be selected by a field, as a bad request.
    pub fn parse(kind: &Kind, text: &str) -> Result<FieldSelector, Failure> {
        if text.len() > TEXT_BYTES_MAX {
            let why = format!("field selector is too large: at most {TEXT_BYTES_MAX} bytes");
            return Err(Failure::bad_request(why));
        }
        let mut terms = Vec::new();
        for part in split(text).filter(|part| !part.is_empty()) {
            terms.push(term(kind, text, part).map_err(Failure::bad_request)?);
            if terms.len() > REQUIREMENTS_MAX {
                let why = format!("field selector is too large: at most {REQUIREMENTS_MAX} terms");
                return Err(Failure::bad_request(why));
            }
        }
        Ok(FieldSelector { terms })
    }

    /// Whether an object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        let holds = |term: &Term| (text_of(object, term) == term.value) == term.is_equal;
        self.terms.iter().all(holds)
    }

    /// Whether it selects every object.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// What the field has to be exactly, if that is asked.
    pub fn exactly(&self, field: &str) -> Option<&str> {
        let asked = |term: &&Term| term.is_equal && term.field == field;
        self.terms
            .iter()
            .find(asked)
            .map(|term| term.value.as_str())
    }
}

fn text_of<'a>(object: &'a Value, term: &Term) -> Cow<'a, str> {
    let found = object.pointer(term.pointer).unwrap_or(&Value::Null);
    match (term.form, found) {
        // The newer events name their reporter elsewhere.
        (Form::Text, Value::Null) if term.field == "source" => object["reportingComponent"]
            .as_str()
            .unwrap_or_default()
            .into(),
        (Form::Text, found) => found.as_str().unwrap_or_default().into(),
        (Form::Bool, found) => found.as_bool().unwrap_or_default().to_string().into(),
        (Form::Number, found) => found.as_i64().unwrap_or_default().to_string().into(),
    }
}

fn term(kind: &Kind, selector: &str, part: &str) -> Result<Term, String> {
    let Some(at) = part.find("!=").into_iter().chain(part.find('=')).min() else {
        return Err(format!(
            "invalid selector: '{selector}'; can't understand '{part}'"
        ));
    };
    let (name, rest) = part.split_at(at);
    let (is_equal, value) = match rest.strip_prefix("!=") {
        Some(value) => (false, value),
        None => {
            let value = rest.trim_start_matches('=');
            // At most two of them are the operator.
            let operator_bytes = (rest.len() - value.len()).min(2);
            (true, &rest[operator_bytes..])
        }
    };
    let value = unescaped(value)?;
    // As it was called before the first release.
    let name = if name == "spec.host" {
        "spec.nodeName"
    } else {
        name
    };
    let own = selectable(kind);
    let known = OF_ALL.iter().chain(own).find(|(known, ..)| *known == name);
    let Some(&(field, pointer, form)) = known else {
        return Err(match own {
            [] => format!(
                "{name:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            ),
            _ => format!("field label not supported: {name}"),
        });
    };
    Ok(Term {
        field,
        pointer,
        form,
        is_equal,
        value,
    })
}

/// The parts between commas that no backslash stands before.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut is_escaped = false;
    text.split(move |character| {
        let is_end = character == ',' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        is_end
    })
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut value = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => value.push(escaped),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!(
                        "invalid field selector: invalid escape sequence: \\{other}"
                    ));
                }
            },
            ',' | '=' => {
                let code = u32::from(character);
                return Err(format!(
                    "invalid field selector: unescaped character in value: {code}"
                ));
            }
            other => value.push(other),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::super::kinds, *};

    #[test]
    fn selectors_of_pods() {
        let pod = json!({
            "metadata": {"name": "a,b", "namespace": "n"},
            "spec": {"nodeName": "one", "hostNetwork": true},
            "status": {"phase": "Running"},
        });
        let table = [
            ("", true),
            ("metadata.name=a\\,b", true),
            ("metadata.name==a\\,b", true),
            ("metadata.name=a", false),
            ("metadata.namespace!=n", false),
            ("spec.nodeName=", false),
            ("spec.nodeName!=", true),
            ("spec.host=one", true),
            ("status.podIP=", true),
            ("status.phase!=Pending,status.phase!=Failed", true),
            ("status.phase=Running,status.phase=Failed,", false),
            ("spec.hostNetwork=true", true),
        ];
        for (text, expected) in table {
            let selector = FieldSelector::parse(&kinds::PODS, text).expect(text);
            assert_eq!(selector.matches(&pod), expected, "{text}");
        }
        let selector = FieldSelector::parse(&kinds::PODS, "spec.nodeName=one,status.phase!=Failed");
        let selector = selector.expect("a selector");
        assert_eq!(selector.exactly("spec.nodeName"), Some("one"));
        assert_eq!(selector.exactly("status.phase"), None);
        assert!(!selector.is_everything());
    }

    #[test]
    fn fields_that_are_not_there_have_their_zero() {
        let table = [
            (&kinds::NODES, "spec.unschedulable=false", json!({})),
            (&kinds::REPLICA_SETS, "status.replicas=0", json!({})),
            (
                &kinds::REPLICA_SETS,
                "status.replicas=3",
                json!({"status": {"replicas": 3}}),
            ),
            (
                &kinds::EVENTS,
                "source=kubelet",
                json!({"source": {"component": "kubelet"}}),
            ),
            (
                &kinds::EVENTS,
                "source=x",
                json!({"reportingComponent": "x"}),
            ),
            (
                &kinds::EVENTS,
                "involvedObject.kind=Pod",
                json!({"involvedObject": {"kind": "Pod"}}),
            ),
            (
                &kinds::NAMESPACES,
                "status.phase=",
                json!({"status": {"phase": 7}}),
            ),
            (&kinds::SERVICES, "metadata.name=", json!(null)),
        ];
        for (kind, text, object) in table {
            let selector = FieldSelector::parse(kind, text).expect(text);
            assert!(selector.matches(&object), "{text} of {object}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_a_bad_request() {
        let table = [
            (
                &kinds::PODS,
                "spec.image=x",
                "field label not supported: spec.image",
            ),
            (
                &kinds::SERVICES,
                "spec.type=x",
                "\"spec.type\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            ),
            (
                &kinds::PODS,
                "a,b",
                "invalid selector: 'a,b'; can't understand 'a'",
            ),
            (
                &kinds::PODS,
                "metadata.name=\\a",
                "invalid field selector: invalid escape sequence: \\a",
            ),
            (
                &kinds::PODS,
                "metadata.name=\\",
                "invalid field selector: invalid escape sequence: \\",
            ),
            (
                &kinds::PODS,
                "metadata.name===a",
                "invalid field selector: unescaped character in value: 61",
            ),
        ];
        for (kind, text, why) in table {
            let failure = FieldSelector::parse(kind, text).expect_err(text);
            assert_eq!(
                (failure.code(), failure.to_string().as_str()),
                (400, why),
                "{text}"
            );
        }
        let many = vec!["metadata.name=a"; REQUIREMENTS_MAX + 1].join(",");
        for text in ["a".repeat(TEXT_BYTES_MAX + 1), many] {
            let failure = FieldSelector::parse(&kinds::PODS, &text).expect_err("too large");
            assert!(failure.to_string().contains("too large"), "{failure}");
        }
    }
}
