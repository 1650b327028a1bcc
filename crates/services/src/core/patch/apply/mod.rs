//! Server-side apply, and who owns which field (KEP-555; structured-merge-diff `merge`;
//! `apimachinery/pkg/util/managedfields`).
//!
//! A manager that applies says all it wants: [`apply`] merges that into the live object, takes
//! out what the manager applied before and no one wants any more, and refuses to change what
//! another manager owns, unless it is forced. Every other write changes the object by itself,
//! and [`update`] then notes who changed what.
//!
//! Ownership is kept in `metadata.managedFields` (`managed`), as sets of fields
//! (`field_set`). How an object is taken apart into fields follows from the schema (`form`).
//! No one owns what names an object or what the server writes into its metadata
//! (`never_owned`), nor what a write is going to be reset to the old anyway: `status` in a
//! write of the object, `spec` in one of its status.
//!
//! Each type is served in one version only, so that owners of other versions are dropped.

mod check;
mod compare;
mod field_set;
mod form;
mod last_applied;
mod managed;
mod merge;
mod path;
mod prune;

use serde_json::{Value, json};

use self::{
    compare::{Comparison, compare, fields_of},
    field_set::FieldSet,
    form::{Form, Forms},
    managed::{Managed, Owned, Owner},
    path::PathElement,
};
use crate::core::{
    schema::{Schema, Shape, Type},
    status::{Cause, Failure, Reason},
};

/// Owns what was there before anyone applied, where no one had been noted.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager's name.
    pub manager: &'a str,
    /// The subresource that is written; empty for the object itself.
    pub subresource: &'a str,
    /// The time, in RFC 3339 with seconds, in UTC.
    pub now: &'a str,
}

/// Applies a configuration to the live object, or makes one of it. The new object has its owners
/// noted. A caller that finds that only `time`s of theirs differ from the live object has
/// nothing to write.
///
/// The caller sets what this kind of write can't change back to the old (`status`, `spec`),
/// fills in defaults, and checks the object.
///
/// # Errors
/// If the configuration is malformed (400), or others own fields that it would change (409).
pub fn apply(
    schema: &Schema,
    type_name: &str,
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    is_forced: bool,
) -> Result<Value, Failure> {
    let engine = Engine::new(schema, type_name, writer)
        .ok_or_else(|| Failure::internal(format!("no type {type_name}")))?;
    check_kind(live, applied)?;
    check::check(engine.forms, engine.root, applied)?;
    let mut managed = match live {
        Some(live) => managed::read(live)
            .map_err(|why| Failure::internal(format!("failed to decode managed fields: {why}")))?,
        None => Managed::new(),
    };
    let api_version = applied["apiVersion"].as_str().unwrap_or_default();
    let old = without_owners(live);
    if managed.is_empty() && live.is_some() {
        let before = Owner::new(BEFORE_FIRST_APPLY, false, api_version, writer.subresource);
        engine.note(&mut managed, before, api_version, &Value::Null, &old);
    }
    engine.apply(managed, &old, applied, api_version, is_forced)
}

/// Notes in the new object who owns what, after a write that is no apply: a create (where there
/// is no live object), an update, or a patch of another kind.
///
/// What of the new object is set back to the old, filled in or normalized has to be so already.
pub fn update(
    schema: &Schema,
    type_name: &str,
    live: Option<&Value>,
    new: &mut Value,
    writer: &Writer<'_>,
) {
    let Some(engine) = Engine::new(schema, type_name, writer).filter(|_| new.is_object()) else {
        return;
    };
    let mut managed = owners(live, new, writer.subresource);
    managed::take(new);
    // Someone asked to forget the owners of this object: then no one is noted before an apply.
    if managed.is_empty() && live.is_some() {
        return;
    }
    let api_version = new["apiVersion"].as_str().unwrap_or_default().to_owned();
    let owner = Owner::new(engine.manager(), false, &api_version, writer.subresource);
    engine.note(
        &mut managed,
        owner,
        &api_version,
        live.unwrap_or(&Value::Null),
        new,
    );
    managed::cap_updaters(&mut managed, &api_version);
    managed::write(new, &managed);
}

/// The owners before an update: those the client sends, if they make sense, else the live ones.
fn owners(live: Option<&Value>, new: &Value, subresource: &str) -> Managed {
    let of_live = || {
        live.and_then(|live| managed::read(live).ok())
            .unwrap_or_default()
    };
    if !subresource.is_empty() {
        return of_live();
    }
    if managed::is_reset(new) {
        return Managed::new();
    }
    match managed::read(new) {
        Ok(managed) if !managed.is_empty() => managed,
        _ => of_live(),
    }
}

fn check_kind(live: Option<&Value>, applied: &Value) -> Result<(), Failure> {
    if !applied.is_object() {
        return Err(Failure::bad_request(
            "error decoding patch: it is no object",
        ));
    }
    let same = |field: &str| live.is_none_or(|live| live[field] == applied[field]);
    if !same("apiVersion") || !same("kind") {
        let kind = check::group_version_kind(applied);
        return Err(Failure::bad_request(format!("invalid object type: {kind}")));
    }
    if !applied["metadata"]["managedFields"].is_null() {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

/// The live object without its owners; null if there is none.
fn without_owners(live: Option<&Value>) -> Value {
    let mut live = live.cloned().unwrap_or_default();
    managed::take(&mut live);
    live
}

/// What no one owns, whoever writes it.
fn never_owned() -> FieldSet {
    let mut set = FieldSet::default();
    for name in ["apiVersion", "kind", "metadata"] {
        set.insert(&[field(name)]);
    }
    for name in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
    ] {
        set.insert(&[field("metadata"), field(name)]);
    }
    set
}

fn field(name: &str) -> PathElement {
    PathElement::Field(name.to_owned())
}

/// One write: what it is about, and by whom.
struct Engine<'a> {
    forms: Forms<'a>,
    root: Form<'a>,
    root_type: &'a Type,
    writer: &'a Writer<'a>,
    /// What this write does not change, whatever it says.
    ignored: FieldSet,
}

impl<'a> Engine<'a> {
    fn new(schema: &'a Schema, type_name: &str, writer: &'a Writer<'a>) -> Option<Engine<'a>> {
        let root_type = schema.get(type_name)?;
        let mut ignored = FieldSet::default();
        ignored.insert(&[field("metadata"), field("managedFields")]);
        match writer.subresource {
            "" if root_type.field("status").is_some() => ignored.insert(&[field("status")]),
            "status" => ignored.insert(&[field("spec")]),
            _ => {}
        }
        let root = Form::Struct(root_type);
        Some(Engine {
            forms: Forms { schema },
            root,
            root_type,
            writer,
            ignored,
        })
    }

    fn manager(&self) -> &str {
        if self.writer.manager.is_empty() {
            "unknown"
        } else {
            self.writer.manager
        }
    }

    /// How the new object differs, in what this write can change. An object that was not there
    /// was an empty one.
    fn compare(&self, old: &Value, new: &Value) -> Comparison {
        let empty = json!({});
        let old = if old.is_null() { &empty } else { old };
        compare(self.forms, self.root, old, new).without(&self.ignored)
    }

    fn apply(
        &self,
        mut managed: Managed,
        old: &Value,
        applied: &Value,
        api_version: &str,
        is_forced: bool,
    ) -> Result<Value, Failure> {
        managed.retain(|_, owned| owned.api_version == api_version);
        let owner = Owner::new(self.manager(), true, api_version, self.writer.subresource);
        let last = managed.remove(&owner);
        let fields = fields_of(self.forms, self.root, applied).without(&self.ignored);

        let merged = merge::merge(self.forms, self.root, old, applied);
        let none = FieldSet::default();
        let last_fields = last.as_ref().map_or(&none, |last| &last.fields);
        // What no one owns is not taken out with what was around it.
        let kept = fields.union(&never_owned());
        let owned = managed
            .values()
            .fold(kept, |all, one| all.union(&one.fields));
        let mut new = prune::prune(self.forms, self.root, merged, last_fields, &owned);
        // Before nulls are dropped: to set null is to change, for which others may be asked.
        let changes = self.compare(old, &new);
        merge::drop_nulls(
            self.forms.schema,
            &Shape::Type(self.root_type.name),
            &mut new,
        );
        let changed = changes.modified.union(&changes.added);
        if !is_forced {
            let asked_for = changed.difference(&self.kubectls_own(old, api_version));
            let conflicts: Vec<(&Owner, FieldSet)> = managed
                .iter()
                .map(|(owner, owned)| (owner, owned.fields.intersection(&asked_for)))
                .filter(|(_, fields)| !fields.is_empty())
                .collect();
            if !conflicts.is_empty() {
                return Err(conflict(&conflicts));
            }
        }
        give_up(&mut managed, &changed.union(&changes.removed));
        let fields = fields.difference(&never_owned());
        if !fields.is_empty() {
            let time = match last {
                Some(last) if last.fields == fields && new == *old => last.time,
                _ => self.writer.now.to_owned(),
            };
            managed.insert(
                owner,
                Owned {
                    api_version: api_version.to_owned(),
                    fields,
                    time,
                },
            );
        }
        self.keep_annotation(&mut new, applied);
        managed::write(&mut new, &managed);
        Ok(new)
    }

    /// Notes that an owner changed the object.
    fn note(
        &self,
        managed: &mut Managed,
        owner: Owner,
        api_version: &str,
        old: &Value,
        new: &Value,
    ) {
        managed.retain(|_, owned| owned.api_version == api_version);
        let changes = self.compare(old, new);
        let mut fields = changes.modified;
        fields.absorb(changes.added);
        give_up(managed, &fields);
        give_up(managed, &changes.removed);
        fields.subtract(&never_owned());
        if fields.is_empty() {
            return;
        }
        if let Some(before) = managed.remove(&owner) {
            fields.absorb(before.fields);
        }
        let time = self.writer.now.to_owned();
        managed.insert(
            owner,
            Owned {
                api_version: api_version.to_owned(),
                fields,
                time,
            },
        );
    }
}

/// Takes fields from all owners; who has none left is none.
fn give_up(managed: &mut Managed, fields: &FieldSet) {
    for owned in managed.values_mut() {
        owned.fields.subtract(fields);
    }
    managed.retain(|_, owned| !owned.fields.is_empty());
}

/// Others own what would be changed.
fn conflict(conflicts: &[(&Owner, FieldSet)]) -> Failure {
    let mut causes = Vec::new();
    let mut lines = Vec::new();
    for (owner, fields) in conflicts {
        let told = owner.told();
        lines.push(format!("conflicts with {told}:"));
        for field in fields.paths() {
            lines.push(format!("- {field}"));
            let message = format!("conflict with {told}");
            causes.push(Cause {
                reason: "FieldManagerConflict",
                message,
                field,
            });
        }
    }
    let message = match &causes[..] {
        [one] => format!(
            "Apply failed with 1 conflict: {}: {}",
            one.message, one.field
        ),
        many => format!(
            "Apply failed with {} conflicts: {}",
            many.len(),
            lines.join("\n")
        ),
    };
    let mut failure = Failure::new(Reason::Conflict, message);
    failure.details.causes = causes;
    failure
}

#[cfg(test)]
pub(super) mod tests;
