//! Bodies of requests: read within bounds, as JSON, YAML or protobuf, and held against the schema.

use std::time::Duration;

use atoll_world::clock;
use axum::{
    body::Body,
    http::{HeaderMap, header::CONTENT_TYPE},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;

use super::options::{FieldValidation, Options};
use crate::core::{
    kinds::Kind,
    schema::{check, proto},
    status::{Failure, Reason},
    versions,
};

/// How large a body may be, in bytes, as in Kubernetes.
pub(crate) const BODY_BYTES_MAX: usize = 3 << 20;
/// How long a client may take to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Whoever writes more unknown fields hears of so many.
const WARNINGS_MAX: usize = 16;

/// Reads a body whole.
///
/// # Errors
/// It is too large, too slow, or broken off.
pub(crate) async fn read(body: Body) -> Result<Bytes, Failure> {
    let limited = Limited::new(body, BODY_BYTES_MAX).collect();
    match clock::timeout(BODY_TIMEOUT, limited).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::new(
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: limit is {BODY_BYTES_MAX}"),
        )),
        Ok(Err(error)) => Err(Failure::bad_request(format!(
            "the body can't be read: {error}"
        ))),
        Err(_) => Err(Failure::new(
            Reason::Timeout,
            format!("the body did not come within {} s", BODY_TIMEOUT.as_secs()),
        )),
    }
}

/// The media type of a request's body, without parameters; empty if there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let value = value.unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// A body as JSON, and the fields that are in it twice.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) object: Value,
    pub(crate) duplicates: Vec<String>,
}

/// Reads a body by its media type.
///
/// # Errors
/// It can't be read, or is of a type that nobody reads here.
pub(crate) fn parse(media_type: &str, bytes: &Bytes) -> Result<Parsed, Failure> {
    let wrong = |error: String| Failure::bad_request(error);
    let (object, duplicates) = match media_type {
        "" | "application/json" => check::parse_json(bytes).map_err(wrong)?,
        "application/yaml" | "application/apply-patch+yaml" => {
            (check::parse_yaml(bytes).map_err(wrong)?, Vec::new())
        }
        "application/vnd.kubernetes.protobuf" => {
            let decoded = proto::decode(bytes);
            (
                decoded.map_err(|error| wrong(error.to_string()))?,
                Vec::new(),
            )
        }
        other => {
            return Err(Failure::new(
                Reason::UnsupportedMediaType,
                format!(
                    "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf: {other}"
                ),
            ));
        }
    };
    Ok(Parsed { object, duplicates })
}

/// Holds an object against its kind's schema; what the client is to be warned of.
///
/// # Errors
/// Something has the wrong type, or is unknown where the client wants to know.
pub(crate) fn check(
    kind: &'static Kind,
    object: &Value,
    duplicates: &[String],
    options: &Options,
) -> Result<Vec<String>, Failure> {
    let checked = check::check(kind.type_name, object);
    if let Some(wrong) = checked.wrong.first() {
        let told = check::cannot_be_handled(&kind.api_version(), kind.kind, wrong);
        return Err(Failure::bad_request(told));
    }
    let mut doubts = checked.strict(duplicates);
    doubts.truncate(WARNINGS_MAX);
    match options.field_validation()? {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(doubts),
        FieldValidation::Strict if doubts.is_empty() => Ok(doubts),
        FieldValidation::Strict => {
            let why = check::strict_decoding_error(&doubts);
            let told = check::cannot_be_handled(&kind.api_version(), kind.kind, &why);
            Err(Failure::bad_request(told))
        }
    }
}

/// Makes what a client has sent in a version, and what was held against its schema, an object
/// that can be kept.
///
/// # Errors
/// It is of another version, or notes in annotations what can't be.
pub(crate) fn to_kept(version: &'static Kind, object: &mut Value) -> Result<(), Failure> {
    versions::to_kept(version, object)?;
    let kept = versions::kept(version);
    if kept != version
        && let Some(wrong) = check::check(kept.type_name, object).wrong.first()
    {
        let told = check::cannot_be_handled(&kept.api_version(), kept.kind, wrong);
        return Err(Failure::bad_request(told));
    }
    Ok(())
}
