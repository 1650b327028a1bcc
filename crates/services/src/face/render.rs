//! Answers, in the form that the client asked for: objects whole, as tables, as their metadata
//! alone, or as protobuf.

use atoll_world::clock;
use axum::{
    body::Body,
    http::{
        HeaderValue, Response, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, RETRY_AFTER, WARNING},
    },
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::options::Options;
use crate::core::{
    discovery::{Encoding, Form, Wanted},
    kinds::Kind,
    object,
    schema::proto,
    status::Failure,
    table::{self, Include},
};

const JSON: &str = "application/json";

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Body,
    warnings: Vec<String>,
    retry_after_s: u32,
    etag: Option<HeaderValue>,
}

impl Answer {
    /// A document.
    pub(super) fn json(value: &Value) -> Answer {
        Answer::bytes(JSON, value.to_string().into())
    }

    /// Bytes of a type.
    pub(super) fn bytes(content_type: &'static str, bytes: Bytes) -> Answer {
        Answer::stream(content_type, Body::from(bytes))
    }

    /// Bytes that come one after the other.
    pub(super) fn stream(content_type: &'static str, body: Body) -> Answer {
        Answer {
            status: StatusCode::OK,
            content_type,
            body,
            warnings: Vec::new(),
            retry_after_s: 0,
            etag: None,
        }
    }

    /// Plain text.
    pub(super) fn text(status: StatusCode, text: &'static str) -> Answer {
        Answer::bytes(
            "text/plain; charset=utf-8",
            Bytes::from_static(text.as_bytes()),
        )
        .with_status(status)
    }

    /// A request that failed.
    pub(super) fn failure(failure: &Failure) -> Answer {
        let status = StatusCode::from_u16(failure.code());
        let mut answer = Answer::json(&failure.to_json())
            .with_status(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
        answer.retry_after_s = failure.details.retry_after_s;
        answer
    }

    #[must_use]
    pub(super) fn with_status(mut self, status: StatusCode) -> Answer {
        self.status = status;
        self
    }

    /// With what the client should know although it went well.
    #[must_use]
    pub(super) fn with_warnings(mut self, warnings: Vec<String>) -> Answer {
        self.warnings = warnings;
        self
    }

    /// With what tells this document from others.
    #[must_use]
    pub(super) fn with_etag(mut self, etag: &str) -> Answer {
        self.etag = HeaderValue::from_str(&format!("\"{etag}\"")).ok();
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        if self.retry_after_s > 0 {
            headers.insert(RETRY_AFTER, self.retry_after_s.into());
        }
        if let Some(etag) = self.etag {
            headers.insert(ETAG, etag);
        }
        for warning in self.warnings {
            // RFC 7234, 5.5: 299 is lasting; what can't stand in a header is left out.
            let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
                headers.append(WARNING, value);
            }
        }
        response
    }
}

/// The form of objects that a client asked for.
#[derive(Clone, Debug)]
pub(super) struct Rendered {
    wanted: Wanted,
    include: Include,
    /// In a watch, the columns of tables are told once.
    has_told_columns: bool,
}

impl Rendered {
    /// # Errors
    /// The options name a part of objects that there is not.
    pub(super) fn new(wanted: Wanted, options: &Options) -> Result<Rendered, Failure> {
        let text = options.text("includeObject").unwrap_or_default();
        let include = Include::parse(text).ok_or_else(|| {
            Failure::bad_request(format!(
                "includeObject: Invalid value: {text:?}: must be 'Metadata', 'Object', 'None', or empty"
            ))
        })?;
        Ok(Rendered {
            wanted,
            include,
            has_told_columns: false,
        })
    }

    /// One object.
    pub(super) fn one(&self, kind: &'static Kind, object: &Value) -> Answer {
        match self.wanted.form {
            Form::Table => self.text(&self.table(kind, &[object], &version(object))),
            Form::Partial => self.text(&table::partial(object)),
            _ if self.wanted.encoding == Encoding::Protobuf => {
                let api_version = kind.api_version();
                let encoded = proto::encode(&api_version, kind.kind, kind.type_name, object);
                Answer::bytes(self.wanted.content_type(), encoded.into())
            }
            _ => self.text(object),
        }
    }

    /// A list of objects.
    pub(super) fn list(&self, kind: &'static Kind, objects: Vec<Value>, meta: Value) -> Answer {
        match self.wanted.form {
            Form::Table => {
                let objects: Vec<&Value> = objects.iter().collect();
                return self.text(&self.table(kind, &objects, &meta));
            }
            Form::Partial => {
                let items: Vec<Value> = objects.iter().map(table::partial).collect();
                return self.text(&json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": meta, "items": items,
                }));
            }
            _ => {}
        }
        let (name, api_version) = (format!("{}List", kind.kind), kind.api_version());
        let list = json!({
            "kind": name, "apiVersion": api_version, "metadata": meta, "items": objects,
        });
        if self.wanted.encoding != Encoding::Protobuf {
            return self.text(&list);
        }
        let encoded = proto::encode_list(&api_version, &name, kind.type_name, &list);
        Answer::bytes(self.wanted.content_type(), encoded.into())
    }

    /// As JSON, which is YAML, too.
    fn text(&self, value: &Value) -> Answer {
        Answer::bytes(self.wanted.content_type(), value.to_string().into())
    }

    /// The object of a watch's event.
    pub(super) fn event(&mut self, kind: &'static Kind, object: &Value) -> Value {
        match self.wanted.form {
            Form::Table => {
                let mut table = self.table(kind, &[object], &version(object));
                if self.has_told_columns {
                    table["columnDefinitions"] = Value::Null;
                }
                self.has_told_columns = true;
                table
            }
            Form::Partial => table::partial(object),
            _ => object.clone(),
        }
    }

    /// The object of a bookmark.
    pub(super) fn bookmark(&self, object: Value) -> Value {
        match self.wanted.form {
            Form::Table => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": version(&object),
                "columnDefinitions": null,
                "rows": [{"cells": [], "object": table::partial(&object)}],
            }),
            Form::Partial => table::partial(&object),
            _ => object,
        }
    }

    fn table(&self, kind: &'static Kind, objects: &[&Value], meta: &Value) -> Value {
        table::table(kind, objects, clock::wall_ms(), self.include, meta)
    }
}

/// What a table of one object has of its metadata.
fn version(object: &Value) -> Value {
    json!({"resourceVersion": object::meta(object, "resourceVersion")})
}
