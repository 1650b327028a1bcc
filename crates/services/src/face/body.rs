//! Bodies of requests: read within bounds, so many at a time, as JSON, YAML or protobuf, and held
//! against the schema.

use std::{sync::Arc, time::Duration};

use atoll_world::clock;
use axum::{
    body::Body,
    http::{HeaderMap, header::CONTENT_TYPE},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::options::{FieldValidation, Options};
use crate::core::{
    kinds::Kind,
    schema::{check, proto},
    status::{Failure, Reason},
    versions,
};

/// How large a body may be, in bytes, as in Kubernetes.
pub(crate) const BODY_BYTES_MAX: usize = 3 << 20;
/// Of what is larger so much more is read and thrown away, in bytes: who still writes when the
/// connection is closed may lose the answer that says why.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
/// How long a client may take to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A body is large that has more bytes.
const LARGE_BYTES_MIN: usize = 64 << 10;
/// So many large ones are read at a time.
const READING_MAX: usize = 16;
/// So many large ones are worked on at a time: what is made of one of 3 MiB may take a hundred in
/// memory.
const LARGE_MAX: usize = 2;
/// So many others are worked on at a time.
const SMALL_MAX: usize = 256;
/// Whose turn has not come by then is told to try again.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// Whoever writes more unknown fields hears of so many.
const WARNINGS_MAX: usize = 16;

/// How many bodies are worked on at a time, whoever sends them.
pub(crate) struct Intake {
    reading: Arc<Semaphore>,
    large: Arc<Semaphore>,
    small: Arc<Semaphore>,
}

impl Default for Intake {
    fn default() -> Self {
        Intake {
            reading: Arc::new(Semaphore::new(READING_MAX)),
            large: Arc::new(Semaphore::new(LARGE_MAX)),
            small: Arc::new(Semaphore::new(SMALL_MAX)),
        }
    }
}

/// A body, which has its turn until this is dropped.
pub(crate) struct Sent {
    pub(crate) bytes: Bytes,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Intake {
    /// Reads a body whole, and waits for its turn. Who sends slowly holds up no other
    /// one, as long as few do.
    ///
    /// # Errors
    /// It is too large, too slow, or broken off; too many others are worked on.
    pub(crate) async fn read(&self, mut body: Body) -> Result<Sent, Failure> {
        match clock::timeout(BODY_TIMEOUT, self.gather(&mut body)).await {
            Ok(Err(failure)) if failure.reason == Reason::RequestEntityTooLarge => {
                // Whether it came to its end or not, the answer is the same.
                let _ = clock::timeout(BODY_TIMEOUT, discard(body)).await;
                Err(failure)
            }
            Ok(read) => read,
            Err(_) => Err(Failure::new(
                Reason::Timeout,
                format!("the body did not come within {} s", BODY_TIMEOUT.as_secs()),
            )),
        }
    }

    async fn gather(&self, body: &mut Body) -> Result<Sent, Failure> {
        let (mut bytes, mut reading) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Failure::bad_request(format!("the body can't be read: {error}"))
            })?;
            let data = frame.into_data().unwrap_or_default();
            if bytes.len() + data.len() > BODY_BYTES_MAX {
                return Err(Failure::new(
                    Reason::RequestEntityTooLarge,
                    format!("Request entity too large: limit is {BODY_BYTES_MAX}"),
                ));
            }
            bytes.extend_from_slice(&data);
            if bytes.len() > LARGE_BYTES_MIN && reading.is_none() {
                reading = Some(its_turn(&self.reading).await?);
            }
        }
        let turn = match (bytes.is_empty(), reading) {
            (true, _) => None,
            (false, None) => Some(its_turn(&self.small).await?),
            (false, Some(_)) => Some(its_turn(&self.large).await?),
        };
        Ok(Sent {
            bytes: bytes.freeze(),
            _turn: turn,
        })
    }
}

async fn its_turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
    let turn = clock::timeout(TURN_TIMEOUT, Arc::clone(turns).acquire_owned()).await;
    turn.ok().and_then(Result::ok).ok_or_else(|| {
        let why = "too many requests with bodies are worked on, please try again later";
        Failure::new(Reason::TooManyRequests, why).retry_after(1)
    })
}

async fn discard(mut body: Body) {
    let mut left = DISCARDED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(intake: &Intake, bytes: usize) -> Result<Sent, Failure> {
        intake.read(Body::from(vec![b' '; bytes])).await
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_large_bodies_are_worked_on_at_a_time() {
        let intake = Intake::default();
        let mut held = Vec::new();
        for _ in 0..LARGE_MAX {
            held.push(read(&intake, BODY_BYTES_MAX).await.ok().unwrap());
        }
        let refused = read(&intake, LARGE_BYTES_MIN + 1).await.err().unwrap();
        assert_eq!(refused.code(), 429);
        // The others don't wait for them.
        let small = read(&intake, LARGE_BYTES_MIN).await.ok().unwrap();
        assert_eq!(small.bytes.len(), LARGE_BYTES_MIN);
        held.pop();
        assert!(read(&intake, LARGE_BYTES_MIN + 1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_bodies_are_worked_on_at_a_time() {
        let intake = Intake::default();
        let mut held = Vec::new();
        for _ in 0..SMALL_MAX {
            held.push(read(&intake, 1).await.ok().unwrap());
        }
        assert_eq!(read(&intake, 1).await.err().unwrap().code(), 429);
        // Who sends nothing needs no turn.
        assert!(read(&intake, 0).await.is_ok());
        held.pop();
        assert!(read(&intake, 1).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused() {
        let refused = read(&Intake::default(), BODY_BYTES_MAX + 1).await;
        assert_eq!(refused.err().unwrap().code(), 413);
    }
}
