use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::core::{time::format_rfc3339, usage::Usage};

const START_MS: u64 = 1_767_225_600_000;
/// Long after every pod of these tests began.
const NOW_MS: u64 = START_MS + 3_600_000;

/// A pod that is ready for long and requests 1000m.
fn pod(name: &str) -> Value {
    let start = format_rfc3339(START_MS);
    json!({
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"containers": [{"name": "main", "resources": {"requests": {
            "cpu": "1", "memory": "1Gi",
        }}}]},
        "status": {"phase": "Running", "startTime": start, "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": start},
        ]},
    })
}

fn usage(milli: u64, at_ms: u64) -> Option<Arc<PodUsage>> {
    let usage = Usage {
        cpu_nanocores: milli * 1_000_000,
        memory_bytes: milli << 20,
        at_ms,
        window_ms: 15_000,
    };
    Some(Arc::new(PodUsage {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        uid: "u".to_owned(),
        containers: BTreeMap::from([("main".to_owned(), usage)]),
    }))
}

fn using(milli: u64) -> Sample {
    (Arc::new(pod("web")), usage(milli, NOW_MS))
}

fn unmeasured() -> Sample {
    (Arc::new(pod("web")), None)
}

fn with(sample: Sample, change: impl FnOnce(&mut Value)) -> Sample {
    let mut pod = (*sample.0).clone();
    change(&mut pod);
    (Arc::new(pod), sample.1)
}

fn pending() -> Sample {
    with(unmeasured(), |pod| {
        pod["status"] = json!({"phase": "Pending"})
    })
}

const CPU: Metric<'static> = Metric {
    resource: Resource::Cpu,
    container: None,
    target: Target::Utilization(50),
};

fn ask(metric: &Metric<'_>, samples: &[Sample], current: i64) -> Result<Proposal, String> {
    propose(metric, samples, current, &Behavior::of(&json!({})), NOW_MS)
}

/// What is wanted of as many replicas as there are pods.
fn wanted(metric: &Metric<'_>, samples: &[Sample]) -> i64 {
    let current = i64::try_from(samples.len()).unwrap();
    ask(metric, samples, current).unwrap().replicas
}

#[test]
fn the_average_is_brought_to_the_target() {
    let value = |milli| Metric {
        target: Target::AverageValue(milli),
        ..CPU
    };
    for (metric, uses, expected) in [
        (CPU, vec![500, 500], 2),
        (CPU, vec![1_000, 1_000], 4),
        (CPU, vec![700, 500], 3),
        (CPU, vec![100, 100, 100, 100], 1),
        (CPU, vec![0, 0], 0),
        // Within a tenth nothing changes, at its end neither.
        (CPU, vec![550, 550], 2),
        (CPU, vec![560, 560], 3),
        (CPU, vec![450, 450], 2),
        (CPU, vec![224, 224, 224, 224], 2),
        (value(200), vec![300, 300], 3),
        (value(200), vec![200, 210], 2),
    ] {
        let samples: Vec<Sample> = uses.iter().map(|milli| using(*milli)).collect();
        assert_eq!(wanted(&metric, &samples), expected, "{uses:?}");
    }
    let proposal = ask(&CPU, &[using(700), using(500)], 2).unwrap();
    assert_eq!(
        (proposal.utilization, proposal.average_milli),
        (Some(60), 600)
    );
    let memory = Metric {
        resource: Resource::Memory,
        ..CPU
    };
    assert_eq!(wanted(&memory, &[using(1_024)]), 2);
}

#[test]
fn pods_of_which_nothing_is_known_dampen() {
    // Up: they are taken to use nothing.
    assert_eq!(wanted(&CPU, &[using(1_000), unmeasured()]), 2);
    assert_eq!(wanted(&CPU, &[using(1_000), using(1_000), unmeasured()]), 4);
    // Down: all that they request.
    assert_eq!(
        wanted(&CPU, &[using(100), using(100), using(100), unmeasured()]),
        3
    );
    assert_eq!(
        wanted(&CPU, &[using(100), unmeasured()]),
        2,
        "it would turn"
    );
    // At rest they do not matter.
    assert_eq!(wanted(&CPU, &[using(500), using(500), unmeasured()]), 3);
}

#[test]
fn pods_that_are_not_ready_dampen_growth_only() {
    assert_eq!(
        wanted(&CPU, &[using(1_000), using(1_000), pending(), pending()]),
        4
    );
    assert_eq!(
        wanted(&CPU, &[using(1_000), using(1_000), using(1_000), pending()]),
        6
    );
    assert_eq!(
        wanted(&CPU, &[using(100), using(100), using(100), pending()]),
        1
    );
}

#[test]
fn pods_that_go_or_have_failed_do_not_count() {
    let failed = with(using(9_000), |pod| pod["status"]["phase"] = json!("Failed"));
    let going = with(using(9_000), |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    assert_eq!(
        ask(&CPU, &[using(500), failed, going], 1).unwrap().replicas,
        1
    );
}

#[test]
fn cpu_of_pods_that_start_does_not_count() {
    let young = |ready: &str, changed_ms: u64, measured_ms: u64| {
        let (at, start) = (format_rfc3339(changed_ms), format_rfc3339(NOW_MS - 100_000));
        let mut pod = pod("young");
        pod["status"]["startTime"] = json!(start);
        pod["status"]["conditions"][0]["status"] = json!(ready);
        pod["status"]["conditions"][0]["lastTransitionTime"] = json!(at);
        (Arc::new(pod), usage(2_000, measured_ms))
    };
    let counts = |(pod, usage): Sample| super::counts(&pod, &usage.unwrap(), NOW_MS);
    assert!(!counts(young("False", NOW_MS - 90_000, NOW_MS)));
    assert!(counts(young("True", NOW_MS - 90_000, NOW_MS)));
    assert!(
        !counts(young("True", NOW_MS - 10_000, NOW_MS)),
        "no whole window yet"
    );
    assert!(counts(young("True", NOW_MS - 15_000, NOW_MS)));
    let old = |ready: &str, changed_ms: u64| {
        with(using(2_000), |pod| {
            pod["status"]["conditions"][0]["status"] = json!(ready);
            pod["status"]["conditions"][0]["lastTransitionTime"] =
                json!(format_rfc3339(changed_ms));
        })
    };
    assert!(counts(old("True", NOW_MS)));
    assert!(
        !counts(old("False", START_MS + 20_000)),
        "it was never ready"
    );
    assert!(counts(old("False", START_MS + 60_000)), "it was ready once");
    let bare = with(using(1), |pod| pod["status"] = json!({"phase": "Running"}));
    assert!(!counts(bare.clone()));
    // Of memory it does.
    let memory = Metric {
        resource: Resource::Memory,
        target: Target::AverageValue(1),
        ..CPU
    };
    assert!(ask(&memory, &[bare], 1).is_ok());
}

#[test]
fn requests_are_those_of_all_containers_that_run() {
    let of = |spec: Value, container: Option<&str>| {
        let pod = json!({"metadata": {"name": "web"}, "spec": spec});
        requested(&Metric { container, ..CPU }, &pod)
    };
    let one =
        |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
    let mut sidecar = one("side", "100m");
    sidecar["restartPolicy"] = json!("Always");
    let spec = json!({
        "containers": [one("a", "1"), one("b", "250m")],
        "initContainers": [one("init", "9"), sidecar],
    });
    assert_eq!(of(spec.clone(), None), Ok(1_350));
    assert_eq!(of(spec.clone(), Some("b")), Ok(250));
    let mut whole = spec.clone();
    whole["resources"] = json!({"requests": {"cpu": "3"}});
    assert_eq!(of(whole, None), Ok(3_000));
    let mut open = spec;
    open["containers"][1]["resources"] = json!({});
    assert_eq!(of(open.clone(), Some("a")), Ok(1_000));
    assert_eq!(
        of(open, None),
        Err("missing request for cpu in container b of Pod web".to_owned())
    );
}

#[test]
fn who_knows_nothing_says_so() {
    let of = |metric: &Metric<'_>, samples: &[Sample]| ask(metric, samples, 1).unwrap_err();
    assert_eq!(
        of(&CPU, &[unmeasured()]),
        "unable to get metrics for resource cpu: no metrics returned from resource metrics API"
    );
    assert_eq!(
        of(&CPU, &[]),
        "unable to get metrics for resource cpu: no metrics returned from resource metrics API"
    );
    let starting = with(using(1), |pod| pod["status"] = json!({"phase": "Pending"}));
    assert_eq!(
        of(&CPU, &[starting]),
        "did not receive metrics for any ready pods"
    );
    let side = Metric {
        container: Some("side"),
        target: Target::AverageValue(1),
        ..CPU
    };
    assert_eq!(
        of(&side, &[using(1)]),
        "unable to get metrics for resource cpu: failed to get container metrics: container side not present in metrics for pod default/web"
    );
    let late = with(using(1), |pod| {
        let side = json!({"name": "side"});
        pod["spec"]["containers"].as_array_mut().unwrap().push(side);
    });
    assert_eq!(
        of(&side, &[late]),
        "unable to get metrics for resource cpu: no metrics returned from resource metrics API"
    );
    let free = with(using(1), |pod| {
        pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("0");
    });
    assert_eq!(of(&CPU, &[free]), "no metrics returned matched known pods");
}
