//! The documents of version 3: one for each group version.

use serde_json::{Map, Value, json};

use super::{
    Flavor,
    definitions::{Definition, Writer},
    info,
    operations::{Body, OBJECT_TYPES, Operation, PATCH_TYPES, Path, paths},
};

pub(super) fn document(group: &str, version: &str) -> Value {
    let mut writer = Writer::new(Flavor::V3);
    let mut written = Map::new();
    for path in paths(group, version) {
        let item = path_item(&mut writer, &path);
        written.insert(path.template, item);
    }
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": written,
        "components": { "schemas": writer.definitions() },
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
            "schema": { "type": "string" },
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
        let content = content(one.produces(), &schema);
        let response = json!({ "description": description, "content": content });
        responses.insert(status.to_owned(), response);
    }
    let query = |parameter: &&super::parameters::Parameter| {
        json!({
            "name": parameter.name,
            "in": "query",
            "schema": { "type": parameter.kind },
            "description": parameter.description,
        })
    };
    let mut written = json!({
        "tags": [one.tag],
        "description": one.description(),
        "operationId": one.id,
        "parameters": one.parameters.iter().map(query).collect::<Vec<Value>>(),
        "responses": responses,
        "x-kubernetes-action": one.action.name(),
        "x-kubernetes-group-version-kind": one.kind.to_json(),
    });
    let (definition, types, is_required) = match one.body {
        Body::None => return written,
        Body::Object(definition) => (definition, OBJECT_TYPES, true),
        Body::Delete => (
            Definition::Type("meta.v1.DeleteOptions"),
            OBJECT_TYPES,
            false,
        ),
        Body::Patch => (Definition::Patch, PATCH_TYPES, true),
    };
    let content = content(types, &writer.reference(definition));
    written["requestBody"] = json!({ "content": content, "required": is_required });
    written
}

/// One schema in each of some forms.
fn content(types: &[&str], schema: &Value) -> Map<String, Value> {
    types
        .iter()
        .map(|&one| (one.to_owned(), json!({ "schema": schema })))
        .collect()
}
