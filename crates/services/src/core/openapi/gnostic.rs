//! The document of version 2 as a protobuf message, in the form of `openapi.v2` of gnostic
//! (`OpenAPIv2.proto`), which kubectl up to 1.26 reads. Only messages and fields that our documents
//! have stand here. Where the original has a `oneof`, there are optional fields, which are the
//! same on the wire. What gnostic does not know (`x-…`) it carries as YAML, of which JSON is a
//! part.

mod messages;

use std::fmt::Debug;

use prost::Message;
use serde_json::{Map, Value};

use messages::{
    AdditionalProperties, Any, BodyParameter, Definitions, Document, Info, ItemsItem, Named,
    NonBodyParameter, Operation, Parameter, ParametersItem, PathItem, PathParameter, Paths,
    Properties, QueryParameter, Response, ResponseValue, Responses, Schema, SchemaItem, TypeItem,
};

/// Writes a document of version 2.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let message = Document {
        swagger: text(document, "swagger"),
        info: Some(Info {
            title: text(&document["info"], "title"),
            version: text(&document["info"], "version"),
        }),
        paths: Some(Paths {
            path: named(&document["paths"], path_item),
        }),
        definitions: Some(Definitions {
            properties: named(&document["definitions"], schema),
        }),
    };
    message.encode_to_vec()
}

fn text(of: &Value, field: &str) -> String {
    of[field].as_str().unwrap_or_default().to_owned()
}

fn texts(of: &Value) -> Vec<String> {
    let texts = of.as_array().into_iter().flatten();
    texts
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect()
}

fn fields(of: &Value) -> impl Iterator<Item = (&String, &Value)> {
    of.as_object().into_iter().flat_map(Map::iter)
}

fn named<T: Message + Default + Debug>(map: &Value, read: fn(&Value) -> T) -> Vec<Named<T>> {
    fields(map)
        .map(|(name, value)| Named {
            name: name.clone(),
            value: Some(read(value)),
        })
        .collect()
}

fn extensions(of: &Value) -> Vec<Named<Any>> {
    fields(of)
        .filter(|(name, _)| name.starts_with("x-"))
        .map(|(name, value)| Named {
            name: name.clone(),
            value: Some(any(value)),
        })
        .collect()
}

fn any(value: &Value) -> Any {
    Any {
        yaml: value.to_string(),
    }
}

fn path_item(item: &Value) -> PathItem {
    let of = |method: &str| item.get(method).map(operation);
    PathItem {
        get: of("get"),
        put: of("put"),
        post: of("post"),
        delete: of("delete"),
        patch: of("patch"),
        parameters: parameters(&item["parameters"]),
    }
}

fn operation(of: &Value) -> Operation {
    Operation {
        tags: texts(&of["tags"]),
        description: text(of, "description"),
        operation_id: text(of, "operationId"),
        produces: texts(&of["produces"]),
        consumes: texts(&of["consumes"]),
        parameters: parameters(&of["parameters"]),
        responses: Some(Responses {
            response_code: named(&of["responses"], response),
        }),
        schemes: texts(&of["schemes"]),
        vendor_extension: extensions(of),
    }
}

fn response(of: &Value) -> ResponseValue {
    let schema = of.get("schema").map(|one| SchemaItem {
        schema: Some(schema(one)),
    });
    let response = Response {
        description: text(of, "description"),
        schema,
    };
    ResponseValue {
        response: Some(response),
    }
}

fn parameters(list: &Value) -> Vec<ParametersItem> {
    let list = list.as_array().into_iter().flatten();
    list.map(|one| ParametersItem {
        parameter: Some(parameter(one)),
    })
    .collect()
}

fn parameter(of: &Value) -> Parameter {
    let (name, place) = (text(of, "name"), text(of, "in"));
    let (description, kind) = (text(of, "description"), text(of, "type"));
    let required = of["required"] == true;
    let mut parameter = Parameter::default();
    match place.as_str() {
        "body" => {
            let schema = of.get("schema").map(schema);
            parameter.body = Some(BodyParameter {
                description,
                name,
                place,
                required,
                schema,
            });
        }
        "path" => {
            let path = PathParameter {
                required,
                place,
                description,
                name,
                kind,
            };
            parameter.other = Some(NonBodyParameter {
                path: Some(path),
                query: None,
            });
        }
        _ => {
            let query = QueryParameter {
                required,
                place,
                description,
                name,
                kind,
            };
            parameter.other = Some(NonBodyParameter {
                query: Some(query),
                path: None,
            });
        }
    }
    parameter
}

fn schema(of: &Value) -> Schema {
    let additional = of.get("additionalProperties").map(|values| {
        Box::new(AdditionalProperties {
            schema: Some(Box::new(schema(values))),
        })
    });
    let kind = of["type"].as_str().map(|kind| TypeItem {
        value: vec![kind.to_owned()],
    });
    let properties = of.get("properties");
    Schema {
        reference: text(of, "$ref"),
        format: text(of, "format"),
        description: text(of, "description"),
        default: of.get("default").map(any),
        required: texts(&of["required"]),
        additional_properties: additional,
        kind,
        items: of.get("items").map(|items| ItemsItem {
            schema: vec![schema(items)],
        }),
        properties: properties.map(|all| Properties {
            properties: named(all, schema),
        }),
        vendor_extension: extensions(of),
    }
}
