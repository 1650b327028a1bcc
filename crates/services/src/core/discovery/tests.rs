use super::*;
use crate::core::kinds::KINDS;

fn entry<'a>(list: &'a Value, name: &str) -> &'a Value {
    let mut all = list["resources"].as_array().unwrap().iter();
    all.find(|one| one["name"] == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn the_version_is_one_that_clients_can_read() {
    let version = version();
    assert_eq!(
        (&version["major"], &version["minor"]),
        (&json!("1"), &json!("37"))
    );
    assert!(
        version["gitVersion"]
            .as_str()
            .unwrap()
            .starts_with("v1.37.0+atoll-")
    );
    assert!(version["platform"].as_str().unwrap().contains('/'));
}

#[test]
fn resources_have_their_verbs_and_names() {
    let core = api_resource_list("", "v1").unwrap();
    assert_eq!(core["groupVersion"], "v1");
    let expected = json!({
        "name": "pods",
        "singularName": "pod",
        "namespaced": true,
        "kind": "Pod",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["po"],
        "categories": ["all"],
    });
    assert_eq!(entry(&core, "pods"), &expected);
    assert_eq!(entry(&core, "namespaces")["namespaced"], false);
    assert_eq!(entry(&core, "pods/log")["verbs"], json!(["get"]));
    assert_eq!(entry(&core, "pods/log")["kind"], "Pod");
    assert_eq!(
        entry(&core, "pods/status")["verbs"],
        json!(["get", "patch", "update"])
    );
    assert_eq!(entry(&core, "pods/binding")["kind"], "Binding");
    assert_eq!(entry(&core, "pods/binding")["group"], Value::Null);
    assert_eq!(
        entry(&core, "namespaces/finalize")["verbs"],
        json!(["update"])
    );
    let expected = json!({
        "name": "pods/eviction",
        "singularName": "",
        "namespaced": true,
        "group": "policy",
        "version": "v1",
        "kind": "Eviction",
        "verbs": ["create"],
    });
    assert_eq!(entry(&core, "pods/eviction"), &expected);
    let apps = api_resource_list("apps", "v1").unwrap();
    assert_eq!(entry(&apps, "deployments/scale")["group"], "autoscaling");
    assert_eq!(api_resource_list("apps", "v2"), None);
}

#[test]
fn what_is_answered_and_not_kept_is_told_too() {
    let list = api_resource_list("authorization.k8s.io", "v1").unwrap();
    let rules = entry(&list, "selfsubjectrulesreviews");
    assert_eq!(rules["verbs"], json!(["create"]));
    assert_eq!(rules["kind"], "SelfSubjectRulesReview");
    assert!(api_group("authentication.k8s.io").is_some());
}

#[test]
fn each_group_stands_once() {
    let list = api_group_list();
    let mut names: Vec<&str> = list["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"apps") && !names.contains(&""));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    let apps = api_group("apps").unwrap();
    assert_eq!(apps["kind"], "APIGroup");
    assert_eq!(
        apps["preferredVersion"],
        json!({ "groupVersion": "apps/v1", "version": "v1" })
    );
    assert_eq!(api_group(""), None);
    assert_eq!(api_versions("10.0.0.1:6443")["versions"], json!(["v1"]));
}

/// As clients unfold the aggregated form.
fn unfolded(list: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    let items = |of: &Value| of.as_array().cloned().unwrap_or_default();
    for group in items(&list["items"]) {
        for version in items(&group["versions"]) {
            let group_version = group_version(
                group["metadata"]["name"].as_str().unwrap(),
                version["version"].as_str().unwrap(),
            );
            for resource in items(&version["resources"]) {
                let name = resource["resource"].as_str().unwrap();
                all.push((
                    group_version.clone(),
                    name.to_owned(),
                    resource["verbs"].clone(),
                ));
                for sub in items(&resource["subresources"]) {
                    assert!(sub["responseKind"]["kind"].is_string());
                    let name = format!("{name}/{}", sub["subresource"].as_str().unwrap());
                    all.push((group_version.clone(), name, sub["verbs"].clone()));
                }
            }
        }
    }
    all
}

#[test]
fn both_forms_tell_the_same() {
    let mut plain = Vec::new();
    for (group, version) in group_versions() {
        let list = api_resource_list(group, version).unwrap();
        for one in list["resources"].as_array().unwrap() {
            let name = one["name"].as_str().unwrap().to_owned();
            plain.push((group_version(group, version), name, one["verbs"].clone()));
        }
    }
    let mut folded = unfolded(&aggregated_core(Aggregated::V2));
    folded.extend(unfolded(&aggregated_groups(Aggregated::V2)));
    assert_eq!(folded, plain);
    assert!(
        KINDS
            .iter()
            .all(|kind| plain.iter().any(|one| one.1 == kind.plural))
    );
    let beta = aggregated_groups(Aggregated::V2beta1);
    assert_eq!(beta["apiVersion"], "apidiscovery.k8s.io/v2beta1");
}
