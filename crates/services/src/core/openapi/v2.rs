//! The document of version 2 ("Swagger"): every group version in one.

use serde_json::{Map, Value, json};

use super::{
    Flavor,
    definitions::{Definition, Writer},
    info,
    operations::{Body, OBJECT_TYPES, Operation, PATCH_TYPES, Path, paths},
};
use crate::core::discovery::group_versions;

pub(super) fn document() -> Value {
    let mut writer = Writer::new(Flavor::V2);
    let mut written = Map::new();
    for (group, version) in group_versions() {
        for path in paths(group, version) {
            let item = path_item(&mut writer, &path);
            written.insert(path.template, item);
        }
    }
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": written,
        "definitions": writer.definitions(),
    })
}

fn path_item(writer: &mut Writer, path: &Path) -> Value {
    let mut item = Map::new();
    for one in &path.operations {
        item.insert(one.action.method().to_owned(), operation(writer, one));
    }
    let parameter = |(name, description): (&str, &str)| {
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "type": "string",
            "description": description,
        })
    };
    let parameters: Vec<Value> = path.parameters().into_iter().map(parameter).collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    Value::Object(item)
}

fn operation(writer: &mut Writer, one: &Operation) -> Value {
    let mut responses = Map::new();
    for &(status, description) in one.action.statuses() {
        let schema = match one.response {
            Some(definition) => writer.reference(definition),
            None => json!({ "type": "string" }),
        };
        let response = json!({ "description": description, "schema": schema });
        responses.insert(status.to_owned(), response);
    }
    let consumes = if one.body == Body::Patch {
        PATCH_TYPES
    } else {
        OBJECT_TYPES
    };
    json!({
        "tags": [one.tag],
        "description": one.description(),
        "operationId": one.id,
        "consumes": consumes,
        "produces": one.produces(),
        "schemes": ["https"],
        "parameters": parameters(writer, one),
        "responses": responses,
        "x-kubernetes-action": one.action.name(),
        "x-kubernetes-group-version-kind": one.kind.to_json(),
    })
}

fn parameters(writer: &mut Writer, one: &Operation) -> Vec<Value> {
    let body = match one.body {
        Body::None => None,
        Body::Object(definition) => Some((definition, true)),
        Body::Delete => Some((Definition::Type("meta.v1.DeleteOptions"), false)),
        Body::Patch => Some((Definition::Patch, true)),
    };
    let body = body.map(|(definition, is_required)| {
        let schema = writer.reference(definition);
        let mut body = json!({ "name": "body", "in": "body", "schema": schema });
        if is_required {
            body["required"] = true.into();
        }
        body
    });
    let query = one.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "in": "query",
            "type": parameter.kind,
            "description": parameter.description,
        })
    });
    body.into_iter().chain(query).collect()
}
