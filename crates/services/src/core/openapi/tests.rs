use std::collections::BTreeSet;

use prost::Message;

use super::*;
use crate::core::versions;

/// Every `$ref` of a document.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match value.as_str() {
                    Some(to) if name == "$ref" => drop(found.insert(to)),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// A document holds what it refers to, and nothing else.
fn assert_closed(document: &Value, definitions: &Value, place: &str) {
    let mut found = BTreeSet::new();
    references(document, &mut found);
    let found: BTreeSet<&str> = found
        .into_iter()
        .map(|to| to.strip_prefix(place).expect("a reference"))
        .collect();
    let defined: BTreeSet<&str> = definitions
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(found, defined);
}

fn parameter<'a>(operation: &'a Value, name: &str) -> Option<&'a Value> {
    let mut all = operation["parameters"].as_array().unwrap().iter();
    all.find(|one| one["name"] == name && one["in"] == "query")
}

#[test]
fn documents_are_closed_and_no_type_is_unknown() {
    let v2 = v2();
    assert_closed(&v2, &v2["definitions"], "#/definitions/");
    for (group, version) in group_versions() {
        let v3 = v3(group, version).unwrap();
        let schemas = &v3["components"]["schemas"];
        assert_closed(&v3, schemas, "#/components/schemas/");
        for (name, schema) in schemas.as_object().unwrap() {
            // One that the schema lacks would be an object without anything.
            assert!(
                schema.as_object().unwrap().len() > 1 || is_empty(name),
                "{name}"
            );
        }
    }
    assert_eq!(v3("apps", "v0"), None);
}

/// Whether the schema has a type without fields of this name.
fn is_empty(name: &str) -> bool {
    let name = name
        .trim_start_matches("io.k8s.apimachinery.pkg.apis.")
        .trim_start_matches("io.k8s.api.");
    crate::core::schema::schema()
        .get(name)
        .is_some_and(|found| found.fields.is_empty())
}

#[test]
fn each_kind_can_be_found_in_every_document() {
    let v2 = v2();
    for kind in versions::served() {
        let known = json!([{ "group": kind.group, "version": kind.version, "kind": kind.kind }]);
        let v3 = v3(kind.group, kind.version).unwrap();
        for definitions in [&v2["definitions"], &v3["components"]["schemas"]] {
            let mut all = definitions.as_object().unwrap().values();
            let found = all.find(|one| one["x-kubernetes-group-version-kind"] == known);
            let properties = &found.expect(kind.kind)["properties"];
            assert!(properties["apiVersion"].is_object(), "{}", kind.kind);
            assert!(properties["metadata"].is_object(), "{}", kind.kind);
        }
    }
}

#[test]
fn patches_know_their_parameters_and_forms() {
    let v2 = v2();
    for kind in versions::served() {
        let place = if kind.is_namespaced {
            "namespaces/{namespace}/"
        } else {
            ""
        };
        let path = format!(
            "/{}/{place}{}/{{name}}",
            path(kind.group, kind.version),
            kind.plural
        );
        let v3 = v3(kind.group, kind.version).unwrap();
        for document in [&v2, &v3] {
            let patch = &document["paths"][&path]["patch"];
            assert_eq!(patch["x-kubernetes-action"], "patch");
            assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], kind.kind);
            for name in ["dryRun", "fieldManager", "fieldValidation", "force"] {
                assert!(parameter(patch, name).is_some(), "{name} of {path}");
            }
        }
        let strategic = "application/strategic-merge-patch+json";
        let consumes = v2["paths"][&path]["patch"]["consumes"].as_array().unwrap();
        assert!(consumes.iter().any(|one| one == strategic));
        let content = &v3["paths"][&path]["patch"]["requestBody"]["content"];
        assert!(
            content[strategic].is_object() && content["application/apply-patch+yaml"].is_object()
        );
    }
}

#[test]
fn operations_are_named_as_kubernetes_names_them() {
    let (core, apps) = (v3("", "v1").unwrap(), v3("apps", "v1").unwrap());
    let id = |document: &Value, path: &str, method: &str| {
        document["paths"][path][method]["operationId"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let pod = "/api/v1/namespaces/{namespace}/pods/{name}";
    let pods = "/api/v1/namespaces/{namespace}/pods";
    let cases = [
        ("/api/v1/pods", "get", "listCoreV1PodForAllNamespaces"),
        (pods, "get", "listCoreV1NamespacedPod"),
        (pods, "post", "createCoreV1NamespacedPod"),
        (pods, "delete", "deleteCoreV1CollectionNamespacedPod"),
        (pod, "get", "readCoreV1NamespacedPod"),
        (pod, "put", "replaceCoreV1NamespacedPod"),
        (pod, "delete", "deleteCoreV1NamespacedPod"),
        (
            &format!("{pod}/status"),
            "patch",
            "patchCoreV1NamespacedPodStatus",
        ),
        (&format!("{pod}/log"), "get", "readCoreV1NamespacedPodLog"),
        (
            &format!("{pod}/eviction"),
            "post",
            "createCoreV1NamespacedPodEviction",
        ),
        ("/api/v1/nodes", "get", "listCoreV1Node"),
        (
            "/api/v1/namespaces/{name}/finalize",
            "put",
            "replaceCoreV1NamespaceFinalize",
        ),
    ];
    for (path, method, expected) in cases {
        assert_eq!(id(&core, path, method), expected);
    }
    let scale = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale";
    assert_eq!(
        id(&apps, scale, "get"),
        "readAppsV1NamespacedDeploymentScale"
    );
    let kind = &apps["paths"][scale]["get"]["x-kubernetes-group-version-kind"];
    assert_eq!(
        kind,
        &json!({ "group": "autoscaling", "version": "v1", "kind": "Scale" })
    );
    let names: Vec<&Value> = apps["paths"][scale]["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["name", "namespace"]);
}

#[test]
fn definitions_tell_how_lists_are_merged() {
    let apps = v3("apps", "v1").unwrap();
    let schemas = &apps["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-type"], "map");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    let container = "#/components/schemas/io.k8s.api.core.v1.Container";
    assert_eq!(containers["items"], json!({ "$ref": container }));
    let required = schemas["io.k8s.api.core.v1.PodSpec"]["required"]
        .as_array()
        .unwrap();
    assert!(required.iter().any(|one| one == "containers"));

    let strategy = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
    assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
    let to = "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy";
    assert_eq!(
        strategy.get("$ref").or(strategy["allOf"][0].get("$ref")),
        Some(&json!(to))
    );
    let selector = &schemas["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"];
    assert_eq!(selector["x-kubernetes-map-type"], "atomic");
    let ports = &schemas["io.k8s.api.core.v1.ContainerPort"]["properties"];
    assert_eq!(ports["protocol"]["default"], "TCP");
    assert_eq!(ports["containerPort"]["type"], "integer");
    assert_eq!(ports["containerPort"]["format"], "int32");
    let known = crate::core::schema::schema();
    let field = known.get("core.v1.PodSpec").unwrap().field("containers");
    let doc = containers["description"].as_str().unwrap_or_default();
    assert_eq!(doc, field.unwrap().doc);
    let int_or_string = &schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!(int_or_string["format"], "int-or-string");
    assert_eq!(int_or_string["oneOf"][1]["type"], "integer");

    let v2 = v2();
    let definitions = &v2["definitions"];
    let strategy = &definitions["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
    assert_eq!(
        strategy["$ref"],
        "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy"
    );
    let quantity = &definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"];
    assert_eq!(quantity["type"], "string");
    let list = &definitions["io.k8s.api.core.v1.PodList"];
    assert_eq!(
        list["x-kubernetes-group-version-kind"][0]["kind"],
        "PodList"
    );
    assert_eq!(list["required"], json!(["items"]));
}

#[test]
fn the_index_has_hashes_of_the_documents() {
    let index = v3_index();
    let address = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let hash = etag(v3("apps", "v1").unwrap().to_string().as_bytes());
    assert_eq!(address, format!("/openapi/v3/apis/apps/v1?hash={hash}"));
    assert_eq!(
        index["paths"].as_object().unwrap().len(),
        group_versions().len()
    );
    assert!(index["paths"]["api/v1"].is_object());
    assert_ne!(etag(b"a"), etag(b"b"));
}

/// The fields of gnostic's messages that a reader follows, with the numbers of its own file.
mod reader {
    use super::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Document {
        #[prost(string, tag = "1")]
        pub(super) swagger: String,
        #[prost(message, optional, tag = "8")]
        pub(super) paths: Option<Paths>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Paths {
        #[prost(message, repeated, tag = "2")]
        pub(super) path: Vec<NamedPathItem>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct NamedPathItem {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<PathItem>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct PathItem {
        #[prost(message, optional, tag = "8")]
        pub(super) patch: Option<Operation>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Operation {
        #[prost(string, repeated, tag = "7")]
        pub(super) consumes: Vec<String>,
        #[prost(message, repeated, tag = "13")]
        pub(super) vendor_extension: Vec<NamedAny>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct NamedAny {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<Any>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Any {
        #[prost(string, tag = "2")]
        pub(super) yaml: String,
    }
}

#[test]
fn the_message_has_what_the_document_has() {
    let document = reader::Document::decode(v2_protobuf().as_slice()).unwrap();
    assert_eq!(document.swagger, "2.0");
    let paths = document.paths.unwrap().path;
    assert_eq!(paths.len(), v2()["paths"].as_object().unwrap().len());
    let name = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
    let found = paths.into_iter().find(|path| path.name == name).unwrap();
    let patch = found.value.unwrap().patch.unwrap();
    assert_eq!(patch.consumes, operations::PATCH_TYPES);
    let kind = &patch.vendor_extension[1];
    assert_eq!(kind.name, "x-kubernetes-group-version-kind");
    let yaml = &kind.value.as_ref().unwrap().yaml;
    let kind: Value = serde_json::from_str(yaml).unwrap();
    assert_eq!(
        kind,
        json!({ "group": "apps", "version": "v1", "kind": "Deployment" })
    );
}
