//! Objects as tables: what `kubectl get` prints comes from the server, as a `Table` of
//! `meta.k8s.io/v1` (API concepts, "Receiving resources as Tables"). Columns, their order and the
//! way their cells read are those of Kubernetes' own printers, which scripts rely on.
//!
//! A printer is a row of columns and a function from an object to as many cells. Cells are a
//! function of the object and of the time, which is an argument. Columns of priority 1 are shown
//! by `-o wide` alone, but are always sent.

mod age;
mod autoscaling;
mod batch;
mod cells;
mod network;
mod nodes;
mod objects;
mod pods;
mod workloads;

use serde_json::{Value, json};

use super::kinds::Kind;
pub use age::human_duration;

/// How much of the objects themselves stands beside the cells (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Their metadata, as `PartialObjectMetadata`.
    #[default]
    Metadata,
    /// All.
    Object,
    /// Nothing.
    None,
}

impl Include {
    /// Reads the parameter; empty is the default.
    pub fn parse(text: &str) -> Option<Include> {
        match text {
            "" | "Metadata" => Some(Include::Metadata),
            "Object" => Some(Include::Object),
            "None" => Some(Include::None),
            _ => None,
        }
    }

    fn of(self, object: &Value) -> Value {
        match self {
            Include::Metadata => partial(object),
            Include::Object => object.clone(),
            Include::None => Value::Null,
        }
    }
}

/// An object's metadata alone, as `PartialObjectMetadata`.
pub fn partial(object: &Value) -> Value {
    Value::from_iter([
        ("kind", "PartialObjectMetadata".into()),
        ("apiVersion", "meta.k8s.io/v1".into()),
        ("metadata", object["metadata"].clone()),
    ])
}

/// The table of objects of a kind at a time. `list_meta` is the list's metadata, or what a single
/// object's table has of it (`resourceVersion`).
pub fn table(
    kind: &Kind,
    objects: &[&Value],
    now_ms: u64,
    include: Include,
    list_meta: &Value,
) -> Value {
    let mut table = more(kind, objects, now_ms, include, list_meta);
    let columns = printer(kind).columns.iter().map(Column::to_json);
    table["columnDefinitions"] = columns.collect();
    table
}

/// The same for who has been told the columns: in a watch, each event has a table of one row, and
/// after the first event the columns are left out (`columnDefinitions` null).
pub fn more(
    kind: &Kind,
    objects: &[&Value],
    now_ms: u64,
    include: Include,
    list_meta: &Value,
) -> Value {
    let printer = printer(kind);
    let row = |object: &&Value| {
        let cells = (printer.cells)(object, now_ms);
        debug_assert_eq!(
            cells.len(),
            printer.columns.len(),
            "cells of {}",
            kind.plural
        );
        let mut row = Value::from_iter([
            ("cells", Value::Array(cells)),
            ("object", include.of(object)),
        ]);
        if kind.plural == "pods"
            && let Some(condition) = pods::row_condition(object)
        {
            row["conditions"] = json!([condition]);
        }
        row
    };
    Value::from_iter([
        ("kind", "Table".into()),
        ("apiVersion", "meta.k8s.io/v1".into()),
        ("metadata", list_meta.clone()),
        ("columnDefinitions", Value::Null),
        ("rows", objects.iter().map(row).collect()),
    ])
}

/// How the objects of a kind are printed.
struct Printer {
    columns: &'static [Column],
    cells: fn(&Value, u64) -> Vec<Value>,
}

/// A column.
struct Column {
    name: &'static str,
    /// As in OpenAPI: `string`, `integer`, `boolean`.
    kind: &'static str,
    format: &'static str,
    priority: u8,
    description: &'static str,
}

impl Column {
    const fn text(name: &'static str, description: &'static str) -> Column {
        Column {
            name,
            kind: "string",
            format: "",
            priority: 0,
            description,
        }
    }

    const fn count(name: &'static str, description: &'static str) -> Column {
        Column {
            kind: "integer",
            ..Column::text(name, description)
        }
    }

    const fn flag(name: &'static str, description: &'static str) -> Column {
        Column {
            kind: "boolean",
            ..Column::text(name, description)
        }
    }

    /// Shown by `-o wide` alone.
    const fn wide(self) -> Column {
        Column {
            priority: 1,
            ..self
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }
}

const NAME: Column = Column {
    format: "name",
    ..Column::text("Name", "The name, which is unique in its namespace.")
};
const AGE: Column = Column::text("Age", "How long ago it was created.");
const CONTAINERS: Column =
    Column::text("Containers", "The names of the template's containers.").wide();
const IMAGES: Column = Column::text("Images", "The images of the template's containers.").wide();
const SELECTOR: Column = Column::text("Selector", "Which pods belong to it.").wide();

fn printer(kind: &Kind) -> &'static Printer {
    match (kind.group, kind.plural) {
        ("", "pods") => &pods::PODS,
        ("", "nodes") => &nodes::NODES,
        ("", "services") => &network::SERVICES,
        ("", "endpoints") => &network::ENDPOINTS,
        ("discovery.k8s.io", "endpointslices") => &network::ENDPOINT_SLICES,
        ("networking.k8s.io", "ingresses") => &network::INGRESSES,
        ("", "replicationcontrollers") => &workloads::REPLICATION_CONTROLLERS,
        ("apps", "deployments") => &workloads::DEPLOYMENTS,
        ("apps", "replicasets") => &workloads::REPLICA_SETS,
        ("apps", "statefulsets") => &workloads::STATEFUL_SETS,
        ("apps", "daemonsets") => &workloads::DAEMON_SETS,
        ("apps", "controllerrevisions") => &workloads::CONTROLLER_REVISIONS,
        ("batch", "jobs") => &batch::JOBS,
        ("batch", "cronjobs") => &batch::CRON_JOBS,
        ("autoscaling", "horizontalpodautoscalers") => &autoscaling::AUTOSCALERS,
        ("policy", "poddisruptionbudgets") => &autoscaling::DISRUPTION_BUDGETS,
        ("scheduling.k8s.io", "priorityclasses") => &objects::PRIORITY_CLASSES,
        ("coordination.k8s.io", "leases") => &objects::LEASES,
        ("", "configmaps") => &objects::CONFIG_MAPS,
        ("", "secrets") => &objects::SECRETS,
        ("", "namespaces") => &objects::NAMESPACES,
        ("", "serviceaccounts") => &objects::SERVICE_ACCOUNTS,
        ("", "events") => &objects::EVENTS,
        _ => &objects::OTHERS,
    }
}

#[cfg(test)]
mod tests;
