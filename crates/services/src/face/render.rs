//! Answers, in the form that the client asked for: objects whole, as tables, as their metadata
//! alone, or as protobuf.

use std::borrow::Cow;

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
    versions,
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
    /// The version of their kind.
    version: &'static Kind,
    wanted: Wanted,
    include: Include,
    /// In a watch, the columns of tables are told once.
    has_told_columns: bool,
}

impl Rendered {
    /// # Errors
    /// The options name a part of objects that there is not.
    pub(super) fn new(
        version: &'static Kind,
        wanted: Wanted,
        options: &Options,
    ) -> Result<Rendered, Failure> {
        let text = options.text("includeObject").unwrap_or_default();
        let include = Include::parse(text).ok_or_else(|| {
            Failure::bad_request(format!(
                "includeObject: Invalid value: {text:?}: must be 'Metadata', 'Object', 'None', or empty"
            ))
        })?;
        Ok(Rendered {
            version,
            wanted,
            include,
            has_told_columns: false,
        })
    }

    /// A kept object, in the version that was asked for.
    fn shown<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        let mut object = Cow::Borrowed(object);
        if versions::kept(self.version) != self.version {
            versions::to_shown(self.version, object.to_mut());
        }
        object
    }

    /// One object.
    pub(super) fn one(&self, object: &Value) -> Answer {
        if self.wanted.form == Form::Table {
            return self.text(&self.table(&[object], &resource_version(object)));
        }
        let (version, object) = (self.version, self.shown(object));
        match (self.wanted.form, self.wanted.encoding) {
            (Form::Partial, _) => self.text(&table::partial(&object)),
            (_, Encoding::Protobuf) => {
                let (api_version, type_name) = (version.api_version(), version.type_name);
                let encoded = proto::encode(&api_version, version.kind, type_name, &object);
                Answer::bytes(self.wanted.content_type(), encoded.into())
            }
            _ => self.text(&object),
        }
    }

    /// A list of objects.
    pub(super) fn list(&self, mut objects: Vec<Value>, meta: Value) -> Answer {
        if self.wanted.form == Form::Table {
            let objects: Vec<&Value> = objects.iter().collect();
            return self.text(&self.table(&objects, &meta));
        }
        let version = self.version;
        for object in &mut objects {
            versions::to_shown(version, object);
        }
        if self.wanted.form == Form::Partial {
            let items: Vec<Value> = objects.iter().map(table::partial).collect();
            return self.text(&json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": meta, "items": items,
            }));
        }
        let (name, api_version) = (format!("{}List", version.kind), version.api_version());
        let list = json!({
            "kind": name, "apiVersion": api_version, "metadata": meta, "items": objects,
        });
        if self.wanted.encoding != Encoding::Protobuf {
            return self.text(&list);
        }
        let encoded = proto::encode_list(&api_version, &name, version.type_name, &list);
        Answer::bytes(self.wanted.content_type(), encoded.into())
    }

    /// As JSON, which is YAML, too.
    fn text(&self, value: &Value) -> Answer {
        Answer::bytes(self.wanted.content_type(), value.to_string().into())
    }

    /// The object of a watch's event.
    pub(super) fn event<'a>(&mut self, object: &'a Value) -> Cow<'a, Value> {
        match self.wanted.form {
            Form::Table => {
                let table = self.table(&[object], &resource_version(object));
                self.has_told_columns = true;
                Cow::Owned(table)
            }
            Form::Partial => Cow::Owned(table::partial(&self.shown(object))),
            _ => self.shown(object),
        }
    }

    /// The object of a bookmark, with this metadata.
    pub(super) fn bookmark(&self, metadata: Value) -> Value {
        let object = json!({
            "kind": self.version.kind, "apiVersion": self.version.api_version(),
            "metadata": metadata,
        });
        match self.wanted.form {
            Form::Table => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": resource_version(&object),
                "columnDefinitions": null,
                "rows": [{"cells": [], "object": table::partial(&object)}],
            }),
            Form::Partial => table::partial(&object),
            _ => object,
        }
    }

    /// Cells are those of the kind, in whichever version it is asked for.
    fn table(&self, objects: &[&Value], meta: &Value) -> Value {
        let kind = versions::kept(self.version);
        let table = match self.has_told_columns {
            true => table::more,
            false => table::table,
        };
        let mut table = table(kind, objects, clock::wall_ms(), self.include, meta);
        if self.include == Include::Object {
            for row in table["rows"].as_array_mut().into_iter().flatten() {
                versions::to_shown(self.version, &mut row["object"]);
            }
        }
        table
    }
}

/// What a table of one object has of its metadata.
fn resource_version(object: &Value) -> Value {
    json!({"resourceVersion": object::meta(object, "resourceVersion")})
}
