//! How the API says no: `Status` objects, and errors about single fields, in Kubernetes' words,
//! which its clients match on (API conventions, "Response Status Kind"; `field.Error`).

use std::fmt;

use serde_json::{Map, Value, json};

/// Why a request failed, as `reason` of a Status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    AlreadyExists,
    Conflict,
    /// `resourceVersion` or `continue` is older than what is kept.
    Expired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
    Timeout,
}

impl Reason {
    /// Its HTTP status, and its name in a Status.
    pub fn code_and_name(self) -> (u16, &'static str) {
        match self {
            Reason::BadRequest => (400, "BadRequest"),
            Reason::Unauthorized => (401, "Unauthorized"),
            Reason::Forbidden => (403, "Forbidden"),
            Reason::NotFound => (404, "NotFound"),
            Reason::MethodNotAllowed => (405, "MethodNotAllowed"),
            Reason::NotAcceptable => (406, "NotAcceptable"),
            Reason::AlreadyExists => (409, "AlreadyExists"),
            Reason::Conflict => (409, "Conflict"),
            Reason::Expired => (410, "Expired"),
            Reason::RequestEntityTooLarge => (413, "RequestEntityTooLarge"),
            Reason::UnsupportedMediaType => (415, "UnsupportedMediaType"),
            Reason::Invalid => (422, "Invalid"),
            Reason::TooManyRequests => (429, "TooManyRequests"),
            Reason::InternalError => (500, "InternalError"),
            Reason::ServiceUnavailable => (503, "ServiceUnavailable"),
            Reason::Timeout => (504, "Timeout"),
        }
    }
}

/// One of several things that are wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// As `FieldValueInvalid`, `FieldManagerConflict`.
    pub reason: &'static str,
    /// In words.
    pub message: String,
    /// The path of the field.
    pub field: String,
}

/// What the failure is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The object's name.
    pub name: String,
    /// The API group; empty for the core's.
    pub group: String,
    /// The resource, or the kind where fields are wrong.
    pub kind: String,
    /// The object's uid.
    pub uid: String,
    /// What is wrong, one by one.
    pub causes: Vec<Cause>,
    /// After so many seconds it is worth a new try; 0 says nothing.
    pub retry_after_s: u32,
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
    /// About what.
    pub details: Box<Details>,
}

impl Failure {
    /// A failure that is about no object.
    pub fn new(reason: Reason, message: impl Into<String>) -> Failure {
        Failure {
            reason,
            message: message.into(),
            details: Box::default(),
        }
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Failure {
        Failure::new(Reason::BadRequest, message)
    }

    /// Our own fault.
    pub fn internal(message: impl Into<String>) -> Failure {
        Failure::new(Reason::InternalError, message)
    }

    fn about(reason: Reason, group: &str, resource: &str, name: &str, message: String) -> Failure {
        Failure {
            reason,
            message,
            details: Box::new(Details {
                name: name.to_owned(),
                group: group.to_owned(),
                kind: resource.to_owned(),
                ..Details::default()
            }),
        }
    }

    /// There is no such object.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Failure {
        let message = format!("{} {name:?} not found", qualified(group, resource));
        Failure::about(Reason::NotFound, group, resource, name, message)
    }

    /// There is one of that name already.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Failure {
        let message = format!("{} {name:?} already exists", qualified(group, resource));
        Failure::about(Reason::AlreadyExists, group, resource, name, message)
    }

    /// It is not as the client believes.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Failure {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            qualified(group, resource)
        );
        Failure::about(Reason::Conflict, group, resource, name, message)
    }

    /// Who asks may not.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Failure {
        let qualified = qualified(group, resource);
        let message = match name {
            "" => format!("{qualified} is forbidden: {why}"),
            name => format!("{qualified} {name:?} is forbidden: {why}"),
        };
        Failure::about(Reason::Forbidden, group, resource, name, message)
    }

    /// Fields are wrong. `kind` as `Pod`.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Failure {
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let told = match &told[..] {
            [one] => one.clone(),
            all => format!("[{}]", all.join(", ")),
        };
        let message = format!("{} {name:?} is invalid: {told}", qualified(group, kind));
        let mut failure = Failure::about(Reason::Invalid, group, kind, name, message);
        failure.details.causes = errors
            .iter()
            .map(|error| Cause {
                reason: error.kind.reason(),
                message: error.told(),
                field: error.field.clone(),
            })
            .collect();
        failure
    }

    /// The same, worth a new try after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Failure {
        self.details.retry_after_s = seconds;
        self
    }

    /// Its HTTP status.
    pub fn code(&self) -> u16 {
        self.reason.code_and_name().0
    }

    /// As a Status object.
    pub fn to_json(&self) -> Value {
        let (code, name) = self.reason.code_and_name();
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": self.message, "reason": name, "code": code,
        });
        let it = &*self.details;
        let mut details = Map::new();
        let texts = [
            ("name", &it.name),
            ("group", &it.group),
            ("kind", &it.kind),
            ("uid", &it.uid),
        ];
        for (field, text) in texts {
            if !text.is_empty() {
                details.insert(field.to_owned(), json!(text));
            }
        }
        if !it.causes.is_empty() {
            let causes = it.causes.iter().map(|cause| {
                json!({"reason": cause.reason, "message": cause.message, "field": cause.field})
            });
            details.insert("causes".to_owned(), causes.collect());
        }
        if it.retry_after_s > 0 {
            details.insert("retryAfterSeconds".to_owned(), json!(it.retry_after_s));
        }
        if !details.is_empty() {
            status["details"] = Value::Object(details);
        }
        status
    }
}

/// `deployments.apps`; `pods`.
fn qualified(group: &str, resource: &str) -> String {
    match group {
        "" => resource.to_owned(),
        group => format!("{resource}.{group}"),
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// It has to be there.
    Required,
    /// Its value, as JSON, can't be.
    Invalid(String),
    /// Its value, as JSON, is of another type.
    TypeInvalid(String),
    /// Its value is none of those that are known: as JSON; and those.
    NotSupported(String, Vec<String>),
    /// It may not be set, or not be changed.
    Forbidden,
    /// Its value, as JSON, is there twice.
    Duplicate(String),
    /// Its value, as JSON, names nothing.
    NotFound(String),
    /// More bytes than so many.
    TooLong(usize),
    /// So many items where there may be so many.
    TooMany(usize, usize),
}

impl FieldErrorKind {
    fn reason(&self) -> &'static str {
        match self {
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Invalid(_) => "FieldValueInvalid",
            FieldErrorKind::TypeInvalid(_) => "FieldValueTypeInvalid",
            FieldErrorKind::NotSupported(..) => "FieldValueNotSupported",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
            FieldErrorKind::Duplicate(_) => "FieldValueDuplicate",
            FieldErrorKind::NotFound(_) => "FieldValueNotFound",
            FieldErrorKind::TooLong(_) => "FieldValueTooLong",
            FieldErrorKind::TooMany(..) => "FieldValueTooMany",
        }
    }
}

/// What is wrong, and where: `spec.replicas: Invalid value: -1: must be greater than or equal to 0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path, as `spec.containers[0].name`.
    pub field: String,
    /// What.
    pub kind: FieldErrorKind,
    /// More about it; may be empty.
    pub detail: String,
}

impl FieldError {
    /// It has to be there.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError::new(field, FieldErrorKind::Required, detail)
    }

    /// Its value can't be.
    pub fn invalid(
        field: impl Into<String>,
        value: &Value,
        detail: impl Into<String>,
    ) -> FieldError {
        FieldError::new(field, FieldErrorKind::Invalid(value.to_string()), detail)
    }

    /// Its value is none of those that are known.
    pub fn not_supported(field: impl Into<String>, value: &Value, known: &[&str]) -> FieldError {
        let known = known.iter().map(|one| (*one).to_owned()).collect();
        let kind = FieldErrorKind::NotSupported(value.to_string(), known);
        FieldError::new(field, kind, "")
    }

    /// It may not be set, or not be changed.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError::new(field, FieldErrorKind::Forbidden, detail)
    }

    /// Its value is there twice.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> FieldError {
        FieldError::new(field, FieldErrorKind::Duplicate(value.to_string()), "")
    }

    /// Its value names nothing.
    pub fn not_found(field: impl Into<String>, value: &Value) -> FieldError {
        FieldError::new(field, FieldErrorKind::NotFound(value.to_string()), "")
    }

    /// Any.
    pub fn new(
        field: impl Into<String>,
        kind: FieldErrorKind,
        detail: impl Into<String>,
    ) -> FieldError {
        FieldError {
            field: field.into(),
            kind,
            detail: detail.into(),
        }
    }

    /// In words, without the field.
    fn told(&self) -> String {
        let told = match &self.kind {
            FieldErrorKind::Required => "Required value".to_owned(),
            FieldErrorKind::Invalid(value) | FieldErrorKind::TypeInvalid(value) => {
                format!("Invalid value: {value}")
            }
            FieldErrorKind::NotSupported(value, known) => {
                let known: Vec<String> = known.iter().map(|one| format!("{one:?}")).collect();
                let known = known.join(", ");
                return format!("Unsupported value: {value}: supported values: {known}");
            }
            FieldErrorKind::Forbidden => "Forbidden".to_owned(),
            FieldErrorKind::Duplicate(value) => format!("Duplicate value: {value}"),
            FieldErrorKind::NotFound(value) => format!("Not found: {value}"),
            FieldErrorKind::TooLong(bytes) => {
                return format!("Too long: may not be more than {bytes} bytes");
            }
            FieldErrorKind::TooMany(count, max) => {
                return format!("Too many: {count}: must have at most {max} items");
            }
        };
        match self.detail.as_str() {
            "" => told,
            detail => format!("{told}: {detail}"),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.told())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_read_as_kubernetes_writes_them() {
        let gone = Failure::not_found("apps", "deployments", "web");
        assert_eq!(gone.to_string(), "deployments.apps \"web\" not found");
        assert_eq!(gone.to_json()["details"]["kind"], "deployments");
        let errors = [
            FieldError::invalid(
                "spec.replicas",
                &json!(-1),
                "must be greater than or equal to 0",
            ),
            FieldError::required("spec.selector", ""),
        ];
        let wrong = Failure::invalid("apps", "Deployment", "web", &errors);
        assert_eq!(
            wrong.to_string(),
            "Deployment.apps \"web\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.selector: Required value]"
        );
        assert_eq!(
            wrong.to_json()["details"]["causes"][1]["reason"],
            "FieldValueRequired"
        );
        let choice = FieldError::not_supported("spec.type", &json!("x"), &["A", "B"]);
        assert_eq!(
            choice.to_string(),
            "spec.type: Unsupported value: \"x\": supported values: \"A\", \"B\""
        );
    }
}
