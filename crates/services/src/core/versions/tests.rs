use super::*;
use crate::core::schema::check;

fn version(group: &str, version: &str, plural: &str) -> &'static Kind {
    by_resource(group, version, plural).unwrap()
}

fn scaler() -> Value {
    let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "shop", "annotations": {"mine": "1"}},
        "spec": {
            "scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 9,
            "metrics": [
                {"type": "Resource", "resource": {"name": "memory", "target": {
                    "type": "AverageValue", "averageValue": "100Mi"}}},
                {"type": "ContainerResource", "containerResource": {
                    "name": "cpu", "container": "web",
                    "target": {"type": "Utilization", "averageUtilization": 30}}},
                {"type": "Pods", "pods": {
                    "metric": {"name": "hits", "selector": {"matchLabels": {"a": "b"}}},
                    "target": {"type": "AverageValue", "averageValue": "1k"}}},
                {"type": "Object", "object": {
                    "describedObject": reference, "metric": {"name": "queue"},
                    "target": {"type": "Value", "value": "10"}}},
                {"type": "External", "external": {
                    "metric": {"name": "mails"},
                    "target": {"type": "AverageValue", "averageValue": "3"}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {
                    "type": "Utilization", "averageUtilization": 70}}},
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
        },
        "status": {
            "currentReplicas": 2, "desiredReplicas": 3,
            "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {
                    "averageUtilization": 81, "averageValue": "81m"}}},
                {"type": "Object", "object": {
                    "describedObject": reference, "metric": {"name": "queue"},
                    "current": {"value": "12"}}},
            ],
            "conditions": [{"type": "AbleToScale", "status": "True"}],
        },
    })
}

#[test]
fn an_older_autoscaler_has_its_share_of_cpu_and_notes_the_rest() {
    let v1 = version("autoscaling", "v1", "horizontalpodautoscalers");
    let mut shown = scaler();
    to_shown(v1, &mut shown);
    assert_eq!(shown["apiVersion"], "autoscaling/v1");
    assert_eq!(shown["spec"]["targetCPUUtilizationPercentage"], 70);
    assert_eq!(shown["status"]["currentCPUUtilizationPercentage"], 81);
    let checked = check::check(v1.type_name, &shown);
    assert_eq!((checked.wrong, checked.unknown), (vec![], vec![]));
    let noted = &shown["metadata"]["annotations"];
    assert_eq!(noted["mine"], "1");
    let metrics = noted["autoscaling.alpha.kubernetes.io/metrics"].as_str();
    let metrics: Value = serde_json::from_str(metrics.unwrap()).unwrap();
    assert_eq!(
        metrics[0],
        json!({"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "100Mi"}})
    );
    assert_eq!(metrics[3]["object"]["targetValue"], "10");
    assert_eq!(metrics.as_array().unwrap().len(), 5);
}

#[test]
fn what_goes_through_an_older_version_is_the_same() {
    let v1 = version("autoscaling", "v1", "horizontalpodautoscalers");
    let mut there_and_back = scaler();
    to_shown(v1, &mut there_and_back);
    to_kept(v1, &mut there_and_back).unwrap();
    assert_eq!(there_and_back, scaler());
    let cron = version("batch", "v1beta1", "cronjobs");
    let job = json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": "@daily"}});
    let mut there_and_back = job.clone();
    to_shown(cron, &mut there_and_back);
    assert_eq!(there_and_back["apiVersion"], "batch/v1beta1");
    to_kept(cron, &mut there_and_back).unwrap();
    assert_eq!(there_and_back, job);
}

#[test]
fn notes_that_cannot_be_read_say_nothing() {
    let v1 = version("autoscaling", "v1", "horizontalpodautoscalers");
    for noted in ["", "[", "5", "[5]", "{\"a\": 1}", "[[]]"] {
        let note = |name: &str| (format!("autoscaling.alpha.kubernetes.io/{name}"), noted);
        let names = ["metrics", "current-metrics", "conditions", "behavior"];
        let annotations: std::collections::BTreeMap<String, &str> = names.map(note).into();
        let mut sent = json!({
            "metadata": {"annotations": annotations},
            "spec": {"maxReplicas": 2, "targetCPUUtilizationPercentage": 50}, "status": {},
        });
        to_kept(v1, &mut sent).unwrap();
        assert_eq!(
            sent["spec"]["metrics"].as_array().unwrap().len(),
            1,
            "{noted}"
        );
        assert_eq!(sent["metadata"]["annotations"], json!({}), "{noted}");
    }
    for odd in [
        json!({"spec": 1}),
        json!({"metadata": {"annotations": 1}, "spec": []}),
    ] {
        to_kept(v1, &mut odd.clone()).unwrap();
        to_shown(v1, &mut odd.clone());
    }
}

#[test]
fn an_object_of_another_version_is_refused() {
    let v1 = version("autoscaling", "v1", "horizontalpodautoscalers");
    let refused = to_kept(v1, &mut scaler()).unwrap_err();
    assert_eq!(
        refused.message,
        "the apiVersion in the data (autoscaling/v2) does not match the expected apiVersion (autoscaling/v1)"
    );
}

#[test]
fn versions_of_a_kind_are_one_kind() {
    for one in served() {
        let kept = kept(one);
        assert_eq!(
            (one.group, one.plural, one.kind),
            (kept.group, kept.plural, kept.kind)
        );
        assert_eq!(by_name(&one.api_version(), one.kind), Some(one));
        assert_eq!(kept_by_name(&one.api_version(), one.kind), Some(kept));
        assert!(KINDS.contains(&kept));
    }
    assert_eq!(by_resource("batch", "v1beta1", "jobs"), None);
}
