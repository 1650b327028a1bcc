//! Objects that need few words, and kinds that have no printer of their own.

use serde_json::Value;

use super::{
    AGE, Column, NAME, Printer,
    age::{age, since},
    cells::{number, size, text, text_or},
};
use crate::core::object::{meta, name};

pub(super) static CONFIG_MAPS: Printer = Printer {
    columns: &[NAME, Column::text("Data", "How many entries it has."), AGE],
    cells: |object, now_ms| {
        let entries = size(&object["data"]) + size(&object["binaryData"]);
        vec![name(object).into(), entries.into(), age(object, now_ms)]
    },
};

pub(super) static SECRETS: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Type", "What it is for."),
        Column::text("Data", "How many entries it has."),
        AGE,
    ],
    cells: |object, now_ms| {
        let (kind, entries) = (text(&object["type"]), size(&object["data"]));
        vec![
            name(object).into(),
            kind.into(),
            entries.into(),
            age(object, now_ms),
        ]
    },
};

pub(super) static NAMESPACES: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Status", "Whether it is in use or being ended."),
        AGE,
    ],
    cells: |object, now_ms| {
        let phase = text(&object["status"]["phase"]);
        vec![name(object).into(), phase.into(), age(object, now_ms)]
    },
};

pub(super) static SERVICE_ACCOUNTS: Printer = Printer {
    columns: &[NAME, AGE],
    cells: |object, now_ms| vec![name(object).into(), age(object, now_ms)],
};

pub(super) static LEASES: Printer = Printer {
    columns: &[NAME, Column::text("Holder", "Who holds it."), AGE],
    cells: |object, now_ms| {
        let holder = text(&object["spec"]["holderIdentity"]);
        vec![name(object).into(), holder.into(), age(object, now_ms)]
    },
};

pub(super) static PRIORITY_CLASSES: Printer = Printer {
    columns: &[
        NAME,
        Column::count("Value", "The priority; the higher, the sooner."),
        Column::flag("Global-Default", "Whether pods without a class have it."),
        AGE,
        Column::text("PreemptionPolicy", "Whether others make room for its pods."),
    ],
    cells: |object, now_ms| {
        vec![
            name(object).into(),
            number(&object["value"]).into(),
            (object["globalDefault"] == true).into(),
            age(object, now_ms),
            text(&object["preemptionPolicy"]).into(),
        ]
    },
};

pub(super) static EVENTS: Printer = Printer {
    columns: &[
        Column::text("Last Seen", "How long ago it happened, at last."),
        Column::text("Type", "Whether it is normal or a warning."),
        Column::text("Reason", "What happened, in a word."),
        Column::text("Object", "To what it happened."),
        Column::text("Subobject", "To which part of it.").wide(),
        Column::text("Source", "Who tells it.").wide(),
        Column::text("Message", "What happened."),
        Column::text("First Seen", "How long ago it happened, at first.").wide(),
        Column::text("Count", "How often it happened.").wide(),
        NAME.wide(),
    ],
    cells: event,
};

fn event(event: &Value, now_ms: u64) -> Vec<Value> {
    let first = match &event["firstTimestamp"] {
        Value::Null => since(&event["eventTime"], now_ms),
        first => since(first, now_ms),
    };
    let series = &event["series"];
    let last = match (&series["lastObservedTime"], &event["lastTimestamp"]) {
        (last, _) if series.is_object() => since(last, now_ms),
        (_, Value::Null) => first.clone(),
        (_, last) => since(last, now_ms),
    };
    let count = match series.is_object() {
        true => number(&series["count"]),
        false => number(&event["count"]).max(1),
    };
    let involved = &event["involvedObject"];
    let mut object = text(&involved["kind"]).to_lowercase();
    if !text(&involved["name"]).is_empty() {
        object = format!("{object}/{}", text(&involved["name"]));
    }
    vec![
        last.into(),
        text(&event["type"]).into(),
        text(&event["reason"]).into(),
        object.into(),
        text(&involved["fieldPath"]).into(),
        source(event).into(),
        text(&event["message"]).trim().into(),
        first.into(),
        count.into(),
        name(event).into(),
    ]
}

fn source(event: &Value) -> String {
    let source = &event["source"];
    let component = text_or(&source["component"], text(&event["reportingComponent"]));
    match text_or(&source["host"], text(&event["reportingInstance"])) {
        "" => component.to_owned(),
        host => format!("{component}, {host}"),
    }
}

/// Kinds without a printer.
pub(super) static OTHERS: Printer = Printer {
    columns: &[NAME, Column::text("Created At", "When it was created.")],
    cells: |object, _| {
        vec![
            name(object).into(),
            meta(object, "creationTimestamp").into(),
        ]
    },
};
