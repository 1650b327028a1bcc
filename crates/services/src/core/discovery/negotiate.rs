//! Which form of an answer a client wants: the `Accept` header (RFC 9110, section 12.5.1) with the
//! parameters `as`, `g` and `v`, by which Kubernetes' clients ask for another form of the same
//! thing (API concepts, "Alternate representations of resources").
//!
//! Clauses are tried by falling `q`, those without wildcards first, else in the header's order.
//! The first one that can be served wins; one that asks for an unknown form is passed over, so
//! that clients may list forms from the newest to the plainest.

use std::cmp::Reverse;

use super::Aggregated;
use crate::core::status::{Failure, Reason};

/// A header with more clauses than this has no more of them read.
const CLAUSES_MAX: usize = 64;

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON.
    Json,
    /// YAML. Every JSON document is one.
    Yaml,
    /// Kubernetes' envelope around a message.
    Protobuf,
    /// An OpenAPI document of version 2 as a message.
    OpenApiV2Protobuf,
}

impl Encoding {
    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
            Encoding::OpenApiV2Protobuf => {
                "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
            }
        }
    }

    fn subtypes(self) -> &'static [&'static str] {
        match self {
            Encoding::Json => &["json"],
            Encoding::Yaml => &["yaml"],
            Encoding::Protobuf => &["vnd.kubernetes.protobuf"],
            Encoding::OpenApiV2Protobuf => &[
                "com.github.proto-openapi.spec.v2.v1.0+protobuf",
                // The older name, which is no media type by the book.
                "com.github.proto-openapi.spec.v2@v1.0+protobuf",
            ],
        }
    }
}

/// What the answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The thing itself.
    Object,
    /// `Table` of `meta.k8s.io/v1`.
    Table,
    /// `PartialObjectMetadata`, or the list of them, of `meta.k8s.io/v1`.
    Partial,
    /// All groups in one document.
    Aggregated(Aggregated),
}

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What the answer tells.
    pub form: Form,
    /// How it is written.
    pub encoding: Encoding,
}

impl Wanted {
    /// For the header `Content-Type`. By it clients tell the aggregated form from the plain one.
    pub fn content_type(self) -> &'static str {
        match self.form {
            Form::Aggregated(Aggregated::V2) => {
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            }
            Form::Aggregated(Aggregated::V2beta1) => {
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
            }
            _ => self.encoding.content_type(),
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Objects, once.
    Objects,
    /// A watch.
    Watch,
    /// `/api`, `/apis` and below, without objects.
    Discovery,
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3` and below.
    OpenApiV3,
}

impl Endpoint {
    fn encodings(self) -> &'static [Encoding] {
        match self {
            Endpoint::Objects => &[Encoding::Json, Encoding::Yaml, Encoding::Protobuf],
            Endpoint::Watch => &[Encoding::Json, Encoding::Protobuf],
            Endpoint::Discovery => &[Encoding::Json, Encoding::Yaml],
            Endpoint::OpenApiV2 => &[Encoding::Json, Encoding::OpenApiV2Protobuf],
            Endpoint::OpenApiV3 => &[Encoding::Json],
        }
    }

    /// The form that parameters ask for, if it is served here so written.
    fn form(self, asked: &Asked<'_>, encoding: Encoding) -> Option<Form> {
        if asked.is_plain() {
            return Some(Form::Object);
        }
        let is_text = matches!(encoding, Encoding::Json | Encoding::Yaml);
        match (self, asked.group, asked.version, asked.kind) {
            (Endpoint::Objects | Endpoint::Watch, "meta.k8s.io", "v1", kind) if is_text => {
                match kind {
                    "Table" => Some(Form::Table),
                    "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Form::Partial),
                    _ => None,
                }
            }
            (Endpoint::Discovery, "apidiscovery.k8s.io", version, "APIGroupDiscoveryList")
                if encoding == Encoding::Json =>
            {
                match version {
                    "v2" => Some(Form::Aggregated(Aggregated::V2)),
                    "v2beta1" => Some(Form::Aggregated(Aggregated::V2beta1)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// The form of the answer to a request with this `Accept` header (empty if it has none).
///
/// # Errors
/// If nothing that the header names can be served.
pub fn negotiate(accept: &str, endpoint: Endpoint) -> Result<Wanted, Failure> {
    if accept.trim().is_empty() {
        return Ok(Wanted {
            form: Form::Object,
            encoding: endpoint.encodings()[0],
        });
    }
    let clauses = clauses(accept);
    let mut wanted = clauses.iter().filter_map(|clause| serve(clause, endpoint));
    // Who knows the aggregated form gets it, wherever it stands in the header.
    let is_aggregated = |wanted: &Wanted| matches!(wanted.form, Form::Aggregated(_));
    let aggregated = wanted.clone().find(is_aggregated);
    aggregated
        .or_else(|| wanted.next())
        .ok_or_else(|| not_acceptable(endpoint))
}

fn not_acceptable(endpoint: Endpoint) -> Failure {
    let types: Vec<String> = endpoint
        .encodings()
        .iter()
        .map(|encoding| match endpoint {
            Endpoint::Watch => format!("{};stream=watch", encoding.content_type()),
            _ => encoding.content_type().to_owned(),
        })
        .collect();
    let message = format!(
        "only the following media types are accepted: {}",
        types.join(", ")
    );
    Failure::new(Reason::NotAcceptable, message)
}

fn serve(clause: &Clause<'_>, endpoint: Endpoint) -> Option<Wanted> {
    let encodings = endpoint.encodings().iter().copied();
    let mut known = encodings.filter(|&encoding| clause.accepts(encoding));
    known.find_map(|encoding| {
        let form = endpoint.form(&clause.asked, encoding)?;
        Some(Wanted { form, encoding })
    })
}

/// The parameters by which another form is asked for.
#[derive(Default)]
struct Asked<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

impl Asked<'_> {
    fn is_plain(&self) -> bool {
        self.group.is_empty() && self.version.is_empty() && self.kind.is_empty()
    }
}

/// One media range of the header.
struct Clause<'a> {
    main: String,
    sub: String,
    /// From 0 to 1000.
    weight: u32,
    asked: Asked<'a>,
    /// It asks for a stream of something that is no watch.
    is_unknown: bool,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Clause<'a>> {
        let mut parts = text.split(';').map(str::trim);
        let range = parts.next()?.to_ascii_lowercase();
        let (main, sub) = match range.split_once('/') {
            Some((main, sub)) => (main, sub),
            None if range == "*" => ("*", "*"),
            None => return None,
        };
        let mut clause = Clause {
            main: main.trim().to_owned(),
            sub: sub.trim().to_owned(),
            weight: 1000,
            asked: Asked::default(),
            is_unknown: false,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim();
            match name.trim() {
                "q" => clause.weight = weight(value),
                "as" => clause.asked.kind = value,
                "g" => clause.asked.group = value,
                "v" => clause.asked.version = value,
                "stream" => clause.is_unknown = !matches!(value, "" | "watch"),
                _ => {}
            }
        }
        Some(clause)
    }

    fn accepts(&self, encoding: Encoding) -> bool {
        let is_main = matches!(self.main.as_str(), "application" | "*");
        let is_sub = self.sub == "*" || encoding.subtypes().contains(&self.sub.as_str());
        !self.is_unknown && is_main && is_sub
    }

    fn wildcards(&self) -> usize {
        [&self.main, &self.sub]
            .iter()
            .filter(|part| part.as_str() == "*")
            .count()
    }
}

/// `0.8` as 800; what is no number is 0, as Kubernetes has it.
fn weight(text: &str) -> u32 {
    let weight = text.parse::<f64>().unwrap_or_default().clamp(0.0, 1.0);
    (weight * 1000.0) as u32
}

fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let read = accept
        .split(',')
        .take(CLAUSES_MAX)
        .filter_map(Clause::parse);
    let mut clauses: Vec<Clause<'_>> = read.collect();
    clauses.sort_by_key(|clause| (Reverse(clause.weight), clause.wildcards()));
    clauses
}

#[cfg(test)]
mod tests;
