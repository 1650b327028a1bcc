//! `metadata.managedFields`: who owns which fields, read and written (API reference,
//! `ManagedFieldsEntry`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::field_set::FieldSet;
use crate::core::object;

/// At most so many managers that update are told apart; the fields of the oldest beyond that
/// fall to [`ANCIENT`].
const UPDATERS_MAX: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Who owns something. Two writes are of one owner if all of this is the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// The manager's name.
    pub(crate) manager: String,
    /// Whether it applies; else it updates.
    pub(crate) is_applier: bool,
    /// In which version it writes; none for appliers, who stay the same in all.
    pub(crate) version: String,
    /// Through which subresource; empty for the object itself.
    pub(crate) subresource: String,
}

impl Owner {
    pub(crate) fn new(
        manager: &str,
        is_applier: bool,
        api_version: &str,
        subresource: &str,
    ) -> Owner {
        Owner {
            manager: manager.to_owned(),
            is_applier,
            version: if is_applier {
                String::new()
            } else {
                api_version.to_owned()
            },
            subresource: subresource.to_owned(),
        }
    }

    /// As conflicts tell it: `"kubectl" using apps/v1`.
    pub(crate) fn told(&self) -> String {
        let mut told = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            told += &format!(" with subresource {:?}", self.subresource);
        }
        if !self.is_applier {
            told += &format!(" using {}", self.version);
        }
        told
    }
}

/// What it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) api_version: String,
    pub(crate) fields: FieldSet,
    /// When it last changed something; RFC 3339, may be empty.
    pub(crate) time: String,
}

/// All owners of an object.
pub(crate) type Managed = BTreeMap<Owner, Owned>;

/// Reads an object's owners.
///
/// # Errors
/// Why they can't be read.
pub(crate) fn read(object: &Value) -> Result<Managed, String> {
    let mut managed = Managed::new();
    let entries = match &object["metadata"]["managedFields"] {
        Value::Null => return Ok(managed),
        Value::Array(entries) => entries,
        other => return Err(format!("no list: {other}")),
    };
    for (at, entry) in entries.iter().enumerate() {
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let is_applier = match text("operation") {
            "Apply" => true,
            "Update" => false,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
            other => {
                return Err(format!(
                    "invalid fieldsType {other:?} in managed fields entry {at}"
                ));
            }
        }
        let fields = match &entry["fieldsV1"] {
            Value::Null => FieldSet::default(),
            fields => FieldSet::from_json(fields)?,
        };
        let owner = Owner::new(
            text("manager"),
            is_applier,
            api_version,
            text("subresource"),
        );
        let time = text("time").to_owned();
        managed.insert(
            owner,
            Owned {
                api_version: api_version.to_owned(),
                fields,
                time,
            },
        );
    }
    Ok(managed)
}

/// Whether a client asks to forget who owns what: with an empty list, or one empty entry.
pub(crate) fn is_reset(object: &Value) -> bool {
    object["metadata"]["managedFields"]
        .as_array()
        .is_some_and(|entries| match &entries[..] {
            [] => true,
            [Value::Object(entry)] => entry.values().all(|value| value.is_null() || value == ""),
            _ => false,
        })
}

/// Takes the owners out of an object.
pub(crate) fn take(object: &mut Value) {
    if let Some(Value::Object(meta)) = object.get_mut("metadata") {
        meta.remove("managedFields");
    }
}

/// Writes an object's owners: appliers first, then by time.
pub(crate) fn write(object: &mut Value, managed: &Managed) {
    if managed.is_empty() {
        return take(object);
    }
    let mut entries: Vec<(&Owner, &Owned)> = managed.iter().collect();
    entries.sort_by_key(|(owner, owned)| (!owner.is_applier, &owned.time, *owner));
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|(owner, owned)| entry(owner, owned))
        .collect();
    object::meta_mut(object).insert("managedFields".to_owned(), Value::Array(entries));
}

fn entry(owner: &Owner, owned: &Owned) -> Value {
    let operation = if owner.is_applier { "Apply" } else { "Update" };
    let texts = [
        ("manager", owner.manager.as_str()),
        ("operation", operation),
        ("apiVersion", &owned.api_version),
        ("time", &owned.time),
        ("fieldsType", "FieldsV1"),
        ("subresource", &owner.subresource),
    ];
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    let mut entry: Map<String, Value> = texts
        .map(|(name, text)| (name.to_owned(), Value::from(text)))
        .collect();
    entry.insert("fieldsV1".to_owned(), owned.fields.to_json());
    Value::Object(entry)
}

/// Lets the oldest managers that update become one, so that at most [`UPDATERS_MAX`] are left.
pub(crate) fn cap_updaters(managed: &mut Managed, api_version: &str) {
    let ancient = Owner::new(ANCIENT, false, api_version, "");
    let mut updaters: Vec<(String, Owner)> = managed
        .iter()
        .filter(|(owner, _)| !owner.is_applier && **owner != ancient)
        .map(|(owner, owned)| (owned.time.clone(), owner.clone()))
        .collect();
    // The one they become counts, too, once it is there.
    let is_there = managed.contains_key(&ancient);
    if updaters.len() + usize::from(is_there) <= UPDATERS_MAX {
        return;
    }
    updaters.sort();
    updaters.truncate(updaters.len() + 1 - UPDATERS_MAX);
    let mut all = managed.remove(&ancient).unwrap_or_else(|| Owned {
        api_version: api_version.to_owned(),
        fields: FieldSet::default(),
        time: String::new(),
    });
    for (time, owner) in updaters {
        if let Some(owned) = managed.remove(&owner) {
            all.fields = all.fields.union(&owned.fields);
            all.time = time;
        }
    }
    managed.insert(ancient, all);
}
