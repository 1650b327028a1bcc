//! Making ([`creation`]), changing and deleting objects: what the API's face and the controllers
//! ask for alike.
//!
//! A change reads the object, makes the new one of it, and writes that if the object is still the
//! one that was read; else it begins anew, unless the client has said which state it means.

mod creation;

use std::sync::Arc;

use atoll_control::api::ControlApi;
use atoll_world::clock;
use serde_json::{Map, Value};

use self::creation::is_needed;
pub(crate) use self::creation::{NAMESPACES, check_name};
use super::{
    admission,
    store::{self, Change, Store, Stored, To},
};
use crate::core::{
    defaults,
    kinds::{self, Kind, Subresource},
    lifecycle::{self, Deleted, Deletion},
    object::{self, Name},
    patch::apply,
    schema::schema,
    status::Failure,
    time::format_rfc3339,
    validate,
};

/// So often a change is tried that others come before.
const ATTEMPTS_MAX: usize = 16;

/// Who writes, as field ownership notes it.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    /// The manager's name.
    pub(crate) manager: String,
    /// Whether nothing is to be written in the end.
    pub(crate) is_dry_run: bool,
    /// Whether the new state says itself who owns what, as after a server-side apply.
    pub(crate) has_owners: bool,
}

impl Writer {
    /// A part of Atoll.
    pub(crate) fn own(manager: &str) -> Writer {
        Writer {
            manager: manager.to_owned(),
            is_dry_run: false,
            has_owners: false,
        }
    }

    /// Notes who owns what of a new state.
    fn note(&self, kind: &'static Kind, old: Option<&Value>, new: &mut Value, part: &str) {
        if self.has_owners {
            return;
        }
        let writer = apply::Writer {
            manager: &self.manager,
            subresource: part,
            now: &format_rfc3339(clock::wall_ms()),
        };
        apply::update(schema(), kind.type_name, old, new, &writer);
    }
}

/// Objects, with what writing them brings along. Clones are the same.
#[derive(Clone)]
pub(crate) struct Objects<C> {
    pub(crate) store: Store<C>,
    pub(crate) settings: Arc<admission::Settings>,
}

/// A state of an object that others may have, too.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    object: Arc<Value>,
    revision: i64,
}

impl Known {
    /// Of an object with its resourceVersion; none if it has none.
    pub(crate) fn of(object: Arc<Value>) -> Option<Known> {
        let revision = object::meta(&object, "resourceVersion").parse().ok()?;
        Some(Known { object, revision })
    }
}

impl From<Stored> for Known {
    fn from(stored: Stored) -> Known {
        Known {
            object: Arc::new(stored.object),
            revision: stored.revision,
        }
    }
}

/// What became of an object that was to be deleted.
#[derive(Debug)]
pub(crate) enum Removed {
    /// It is gone; its last state.
    Gone(Value),
    /// It is still there, in this state.
    Going(Value),
}

impl<C: ControlApi> Objects<C> {
    pub(crate) fn new(control: C, settings: admission::Settings) -> Self {
        Objects {
            store: Store::new(control),
            settings: Arc::new(settings),
        }
    }

    /// An object.
    ///
    /// # Errors
    /// `NotFound`; those of the cluster.
    pub(crate) async fn get(&self, name: &Name) -> Result<Stored, Failure> {
        let found = self.store.get(name).await?;
        found.ok_or_else(|| not_found(name))
    }

    /// Changes an object. `change` makes the new state of the present one; a resourceVersion in
    /// it has to be that one's.
    ///
    /// # Errors
    /// `NotFound`; `Conflict`; what is wrong with the new state; those of `change`.
    pub(crate) async fn update(
        &self,
        name: &Name,
        subresource: Option<Subresource>,
        writer: &Writer,
        change: impl Fn(&Value) -> Result<Value, Failure>,
    ) -> Result<Stored, Failure> {
        self.update_known(None, name, subresource, writer, change)
            .await
    }

    /// The same, from a state that is known: the present one is read only if that is another one,
    /// or if there is nothing to change.
    ///
    /// # Errors
    /// As for any.
    pub(crate) async fn update_known(
        &self,
        mut known: Option<Known>,
        name: &Name,
        subresource: Option<Subresource>,
        writer: &Writer,
        change: impl Fn(&Value) -> Result<Value, Failure>,
    ) -> Result<Stored, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let (old, is_known) = match known.take() {
                Some(known) => (known, true),
                None => (Known::from(self.get(name).await?), false),
            };
            if old.object["type"] == store::SHUT {
                // What it holds is not lost as long as nobody writes over it.
                let why = "it is sealed with a key that this cluster can't open: delete it, and make it anew";
                let kind = name.kind;
                return Err(Failure::conflict(kind.group, kind.plural, &name.name, why));
            }
            let mut new = change(&old.object)?;
            let meant = object::meta(&new, "resourceVersion").to_owned();
            if !meant.is_empty() && meant != old.revision.to_string() {
                return Err(modified(name));
            }
            self.complete(name, &old.object, &mut new, subresource, writer)?;
            if is_known && is_same(&old.object, &new) {
                continue;
            }
            if let Some(stored) = self.replace(name, old, new, writer).await? {
                return Ok(stored);
            }
            // If the client has said which state it means, the next look finds another one.
        }
        Err(modified(name))
    }

    /// Makes the new state one that can be kept.
    fn complete(
        &self,
        name: &Name,
        old: &Value,
        new: &mut Value,
        subresource: Option<Subresource>,
        writer: &Writer,
    ) -> Result<(), Failure> {
        let kind = name.kind;
        let is_status = subresource == Some(Subresource::Status);
        if !is_status && new.is_object() {
            // What is chosen or filled in is no change of what is wanted.
            admission::carry(name, old, new);
            defaults::default(kind, new);
        }
        lifecycle::update(kind, old, new, subresource)?;
        // A pod's node is none of its fields that clients write.
        if !is_status && subresource != Some(Subresource::Binding) {
            let errors = validate::update(kind, new, old);
            if !errors.is_empty() {
                return Err(Failure::invalid(kind.group, kind.kind, &name.name, &errors));
            }
        }
        let part = subresource.map_or("", Subresource::name);
        writer.note(kind, Some(old), new, part);
        Ok(())
    }

    /// Writes the new state if the old one is still there; none if it is not.
    async fn replace(
        &self,
        name: &Name,
        old: Known,
        new: Value,
        writer: &Writer,
    ) -> Result<Option<Stored>, Failure> {
        let is_over = lifecycle::is_over(name.kind, &new);
        if !is_over && is_same(&old.object, &new) {
            return Ok(Some(Stored {
                object: Arc::unwrap_or_clone(old.object),
                revision: old.revision,
            }));
        }
        let mut new = new;
        let beside = match is_over {
            true => admission::deleted(name, &old.object),
            false => {
                let store = &self.store;
                admission::changed(store, &self.settings, name, &old.object, &mut new).await?
            }
        };
        if writer.is_dry_run {
            let object = store::with_revision(new, old.revision);
            return Ok(Some(Stored {
                object,
                revision: old.revision,
            }));
        }
        let mut changes = vec![Change {
            key: store::key(name),
            expected: Some(old.revision),
            to: match is_over {
                true => To::Gone,
                false => To::Value(store::encode(&new)?),
            },
        }];
        changes.extend(beside);
        let written = self.store.commit(&changes).await?;
        Ok(written.map(|revision| Stored {
            object: store::with_revision(new, revision),
            revision,
        }))
    }

    /// Deletes an object, or begins to.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it is not the one that is meant.
    pub(crate) async fn delete(
        &self,
        name: &Name,
        deletion: &Deletion,
        writer: &Writer,
    ) -> Result<Removed, Failure> {
        check_deletion(name)?;
        for _ in 0..ATTEMPTS_MAX {
            let old = self.get(name).await?;
            let now_ms = clock::wall_ms();
            let (kind, revision) = (name.kind, old.revision);
            let deleted = lifecycle::delete(kind, &old.object, revision, deletion, now_ms)?;
            let (to, beside) = match &deleted {
                Deleted::Unchanged => return Ok(Removed::Going(old.object)),
                Deleted::Gone => (To::Gone, admission::deleted(name, &old.object)),
                Deleted::Marked(marked) => (To::Value(store::encode_marked(marked)?), Vec::new()),
            };
            let mut changes = vec![Change {
                key: store::key(name),
                expected: Some(revision),
                to,
            }];
            changes.extend(beside);
            let written = match writer.is_dry_run {
                true => Some(revision),
                false => self.store.commit(&changes).await?,
            };
            if let Some(revision) = written {
                return Ok(match deleted {
                    Deleted::Marked(marked) => {
                        Removed::Going(store::with_revision(marked, revision))
                    }
                    _ => Removed::Gone(store::with_revision(old.object, revision)),
                });
            }
        }
        Err(modified(name))
    }
}

/// Whether nothing is different but when somebody came to own something.
fn is_same(old: &Value, new: &Value) -> bool {
    let differ = |ignored: &[&str], old: &Value, new: &Value| {
        let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
            return old != new;
        };
        let of = |fields: &Map<String, Value>| {
            let counts = |name: &&String| !ignored.contains(&name.as_str());
            fields.keys().filter(counts).count()
        };
        let is_other = |(name, value): (&String, &Value)| {
            !ignored.contains(&name.as_str()) && new.get(name) != Some(value)
        };
        of(old) != of(new) || old.iter().any(is_other)
    };
    let had = owners(old);
    let has = owners(new);
    let mut pairs = had.iter().zip(has);
    !differ(&["metadata"], old, new)
        && !differ(
            &["resourceVersion", "managedFields"],
            &old["metadata"],
            &new["metadata"],
        )
        && had.len() == has.len()
        && !pairs.any(|(had, has)| differ(&["time"], had, has))
}

/// What is noted of who owns what.
fn owners(object: &Value) -> &[Value] {
    let owners = object["metadata"]["managedFields"].as_array();
    owners.map_or(&[], Vec::as_slice)
}

/// Namespaces that everything needs stay.
fn check_deletion(name: &Name) -> Result<(), Failure> {
    match name.kind == &kinds::NAMESPACES && is_needed(&name.name) {
        true => Err(Failure::forbidden(
            "",
            "namespaces",
            &name.name,
            "this namespace may not be deleted",
        )),
        false => Ok(()),
    }
}

pub(crate) fn not_found(name: &Name) -> Failure {
    Failure::not_found(name.kind.group, name.kind.plural, &name.name)
}

fn modified(name: &Name) -> Failure {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    Failure::conflict(name.kind.group, name.kind.plural, &name.name, why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn when_somebody_came_to_own_something_is_no_difference() {
        let object = |version: &str, time: &str, manager: &str, label: &str| {
            json!({
                "metadata": {
                    "resourceVersion": version, "labels": {"a": label},
                    "managedFields": [{"manager": manager, "time": time}],
                },
                "spec": {},
            })
        };
        let old = object("1", "then", "me", "b");
        assert!(is_same(&old, &object("2", "now", "me", "b")));
        assert!(!is_same(&old, &object("1", "then", "you", "b")));
        assert!(!is_same(&old, &object("1", "then", "me", "c")));
        let mut new = old.clone();
        object::meta_mut(&mut new).remove("labels");
        assert!(!is_same(&old, &new) && !is_same(&new, &old));
        let mut new = old.clone();
        new["status"] = json!({});
        assert!(!is_same(&old, &new) && !is_same(&new, &old));
        object::meta_mut(&mut new).remove("managedFields");
        assert!(!is_same(&old, &new));
    }
}
