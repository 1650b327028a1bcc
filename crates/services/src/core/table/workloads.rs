//! What keeps pods running: deployments, replica sets, stateful sets, daemon sets.

use serde_json::Value;

use super::{
    AGE, CONTAINERS, Column, IMAGES, NAME, Printer, SELECTOR,
    age::age,
    cells::{NONE, containers, labels, number, selector, selector_or_none, text},
};
use crate::core::object::{controller, name};

const DESIRED: Column = Column::count("Desired", "How many pods there are to be.");
const CURRENT: Column = Column::count("Current", "How many pods there are.");
const READY: Column = Column::count("Ready", "How many pods are ready.");
const READY_OF: Column = Column::text("Ready", "How many pods are ready, of how many.");

pub(super) static DEPLOYMENTS: Printer = Printer {
    columns: &[
        NAME,
        READY_OF,
        Column::text("Up-to-date", "How many pods are of the newest template."),
        Column::text(
            "Available",
            "How many pods have been ready for long enough.",
        ),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object, now_ms| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let [containers, images] = containers(&spec["template"]["spec"]);
        vec![
            name(object).into(),
            ready_of(object).into(),
            number(&status["updatedReplicas"]).into(),
            number(&status["availableReplicas"]).into(),
            age(object, now_ms),
            containers,
            images,
            selector(&spec["selector"]).into(),
        ]
    },
};

const REPLICA_COLUMNS: &[Column] = &[
    NAME, DESIRED, CURRENT, READY, AGE, CONTAINERS, IMAGES, SELECTOR,
];

pub(super) static REPLICA_SETS: Printer = Printer {
    columns: REPLICA_COLUMNS,
    cells: |object, now_ms| {
        replicas(
            object,
            now_ms,
            selector_or_none(&object["spec"]["selector"]),
        )
    },
};

pub(super) static REPLICATION_CONTROLLERS: Printer = Printer {
    columns: REPLICA_COLUMNS,
    cells: |object, now_ms| replicas(object, now_ms, labels(&object["spec"]["selector"])),
};

pub(super) static STATEFUL_SETS: Printer = Printer {
    columns: &[NAME, READY_OF, AGE, CONTAINERS, IMAGES],
    cells: |object, now_ms| {
        let [containers, images] = containers(&object["spec"]["template"]["spec"]);
        let ready = ready_of(object).into();
        vec![
            name(object).into(),
            ready,
            age(object, now_ms),
            containers,
            images,
        ]
    },
};

pub(super) static DAEMON_SETS: Printer = Printer {
    columns: &[
        NAME,
        DESIRED,
        CURRENT,
        READY,
        Column::count(
            "Up-to-date",
            "How many nodes have a pod of the newest template.",
        ),
        Column::count("Available", "How many nodes have a pod that is available."),
        Column::text("Node Selector", "Which nodes it is for."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object, now_ms| {
        let (pod_spec, status) = (&object["spec"]["template"]["spec"], &object["status"]);
        let [containers, images] = containers(pod_spec);
        let mut cells = vec![name(object).into()];
        cells.extend(
            [
                "desiredNumberScheduled",
                "currentNumberScheduled",
                "numberReady",
                "updatedNumberScheduled",
                "numberAvailable",
            ]
            .map(|field| Value::from(number(&status[field]))),
        );
        cells.push(labels(&pod_spec["nodeSelector"]).into());
        cells.extend([age(object, now_ms), containers, images]);
        cells.push(selector_or_none(&object["spec"]["selector"]).into());
        cells
    },
};

pub(super) static CONTROLLER_REVISIONS: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Controller", "Whose past it is."),
        Column::text("Revision", "Its number."),
        AGE,
    ],
    cells: |object, now_ms| {
        let owner = controller(object).map_or_else(|| NONE.to_owned(), resource_name);
        let revision = number(&object["revision"]).into();
        vec![
            name(object).into(),
            owner.into(),
            revision,
            age(object, now_ms),
        ]
    },
};

/// `statefulset.apps/web`.
fn resource_name(owner: &Value) -> String {
    let kind = text(&owner["kind"]).to_lowercase();
    match text(&owner["apiVersion"]).split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text(&owner["name"])),
        None => format!("{kind}/{}", text(&owner["name"])),
    }
}

fn ready_of(object: &Value) -> String {
    let ready = number(&object["status"]["readyReplicas"]);
    format!("{ready}/{}", number(&object["spec"]["replicas"]))
}

fn replicas(object: &Value, now_ms: u64, selector: String) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let [containers, images] = containers(&spec["template"]["spec"]);
    vec![
        name(object).into(),
        number(&spec["replicas"]).into(),
        number(&status["replicas"]).into(),
        number(&status["readyReplicas"]).into(),
        age(object, now_ms),
        containers,
        images,
        selector.into(),
    ]
}
