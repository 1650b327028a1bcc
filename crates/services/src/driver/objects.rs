//! Making, changing and deleting objects: what the API's face and the controllers ask for alike.
//!
//! A change reads the object, makes the new one of it, and writes that if the object is still the
//! one that was read; else it begins anew, unless the client has said which state it means.

use std::sync::Arc;

use atoll_control::api::ControlApi;
use atoll_world::{clock, random};
use serde_json::{Map, Value};

use super::{
    admission, fence,
    store::{self, Change, Store, Stored, To},
};
use crate::core::{
    defaults,
    kinds::{self, Kind, Subresource},
    lifecycle::{self, Birth, Deleted, Deletion},
    names,
    object::{self, Name},
    patch::apply,
    priority,
    schema::schema,
    status::{Failure, Reason},
    time::format_rfc3339,
    validate,
};

/// So often a change is tried that others come before.
const ATTEMPTS_MAX: usize = 16;
/// So often a name is drawn for an object that asks for one.
const NAMES_MAX: usize = 8;
/// How long the random part of a name is.
const SUFFIX_LENGTH: usize = 5;

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

    /// Makes an object of what a client has sent, which keeps to the schema.
    ///
    /// # Errors
    /// What is wrong with it; `AlreadyExists`; its namespace is not there or goes.
    pub(crate) async fn create(
        &self,
        kind: &'static Kind,
        namespace: &str,
        object: Value,
        writer: &Writer,
    ) -> Result<Stored, Failure> {
        if !object::name(&object).is_empty() {
            let mut object = object;
            lifecycle::create(kind, namespace, &mut object, birth())?;
            return self.create_once(kind, namespace, object, writer).await;
        }
        for _ in 0..NAMES_MAX {
            let mut object = object.clone();
            lifecycle::create(kind, namespace, &mut object, birth())?;
            match self.create_once(kind, namespace, object, writer).await {
                Err(failure) if failure.reason == Reason::AlreadyExists => {}
                done => return done,
            }
        }
        let name = format!("{}…", object::meta(&object, "generateName"));
        Err(Failure::already_exists(kind.group, kind.plural, &name).retry_after(1))
    }

    async fn create_once(
        &self,
        kind: &'static Kind,
        namespace: &str,
        mut object: Value,
        writer: &Writer,
    ) -> Result<Stored, Failure> {
        let name = Name {
            kind,
            namespace: if kind.is_namespaced { namespace } else { "" }.to_owned(),
            name: object::name(&object).to_owned(),
        };
        check_name(&name)?;
        self.prioritize(kind, &mut object).await?;
        defaults::default(kind, &mut object);
        // What is chosen for it belongs to nobody.
        writer.note(kind, None, &mut object, "");
        let mut changes = Vec::new();
        // Tried again if an address that was chosen is taken meanwhile.
        for attempt in 0..ATTEMPTS_MAX {
            let mut object = object.clone();
            changes.clear();
            if kind.is_namespaced {
                let known = match attempt {
                    0 => self.namespace_is_known_to_stand(namespace).await?,
                    _ => None,
                };
                changes.push(match known {
                    Some(known) => known,
                    None => self.namespace_stands(namespace, &name).await?,
                });
            }
            let beside =
                admission::created(&self.store, &self.settings, &name, &mut object).await?;
            changes.extend(beside);
            let errors = validate::create(kind, &object);
            if !errors.is_empty() {
                return Err(Failure::invalid(kind.group, kind.kind, &name.name, &errors));
            }
            changes.push(Change {
                key: store::key(&name),
                expected: Some(0),
                to: To::Value(store::encode(&object)?),
            });
            if self.store.get(&name).await?.is_some() {
                return Err(Failure::already_exists(kind.group, kind.plural, &name.name));
            }
            if writer.is_dry_run {
                return Ok(Stored {
                    object,
                    revision: 0,
                });
            }
            if let Some(revision) = self.store.commit(&changes).await? {
                let object = store::with_revision(object, revision);
                return Ok(Stored { object, revision });
            }
        }
        Err(too_busy(&name))
    }

    /// Gives a pod its priority, and sees to it that one class at most is the default.
    async fn prioritize(&self, kind: &'static Kind, object: &mut Value) -> Result<(), Failure> {
        if kind == &kinds::PRIORITY_CLASSES {
            return priority::admit_class(object, &self.all(kind, None).await?);
        }
        if kind != &kinds::PODS {
            return Ok(());
        }
        let classes = &kinds::PRIORITY_CLASSES;
        // What this node knows will do, unless the class was only just made.
        let known = self.store.known(classes).await?;
        match priority::resolve(object, &known) {
            Ok(()) => Ok(()),
            Err(_) => priority::resolve(object, &self.all(classes, None).await?),
        }
    }

    /// That a namespace is there as this node knows it, if it is: where that is old, nothing is
    /// written.
    async fn namespace_is_known_to_stand(
        &self,
        namespace: &str,
    ) -> Result<Option<Change>, Failure> {
        let space = namespace_name(namespace);
        let known = self.store.known_one(&space).await?;
        let standing = known.filter(|known| !object::is_being_deleted(known));
        Ok(standing.and_then(Known::of).map(|known| Change {
            key: store::key(&space),
            expected: Some(known.revision),
            to: To::Same,
        }))
    }

    /// That a namespace is there when something in it is made.
    async fn namespace_stands(&self, namespace: &str, name: &Name) -> Result<Change, Failure> {
        let space = namespace_name(namespace);
        let found = match self.get(&space).await {
            // Nobody should have to wait until the leader has made it.
            Err(failure) if failure.reason == Reason::NotFound && is_needed(namespace) => {
                Box::pin(self.make_namespace(namespace)).await?;
                self.get(&space).await?
            }
            found => found?,
        };
        if object::is_being_deleted(&found.object) {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            let kind = name.kind;
            return Err(Failure::forbidden(
                kind.group,
                kind.plural,
                &name.name,
                &why,
            ));
        }
        Ok(Change {
            key: store::key(&space),
            expected: Some(found.revision),
            to: To::Same,
        })
    }

    /// Makes one of the namespaces that are there from the beginning, if it is not.
    ///
    /// # Errors
    /// Those of the cluster.
    pub(crate) async fn make_namespace(&self, name: &str) -> Result<(), Failure> {
        let namespace = serde_json::json!({"metadata": {"name": name}});
        let writer = Writer::own("atoll");
        match self
            .create(&kinds::NAMESPACES, "", namespace, &writer)
            .await
        {
            Err(failure) if failure.reason == Reason::AlreadyExists => Ok(()),
            made => made.map(drop),
        }
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
        self.delete_behind(None, name, deletion, writer).await
    }

    /// The same, as long as a [`fence`] stands.
    ///
    /// # Errors
    /// Also `Conflict` when it does not.
    pub(crate) async fn delete_behind(
        &self,
        fence: Option<&Change>,
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
            changes.extend(fence.cloned());
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
            if let Some(fence) = fence {
                fence::check(&self.store, fence).await?;
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

fn birth() -> Birth {
    Birth {
        now_ms: clock::wall_ms(),
        uid: uid(),
        suffix: suffix(),
    }
}

/// A random UUID (RFC 9562, version 4).
fn uid() -> String {
    let mut bytes = [0_u8; 16];
    random::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

/// The random part of a name: no vowels, so that no words come out.
fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let letter = |_| char::from(LETTERS[random::range(0..LETTERS.len())]);
    (0..SUFFIX_LENGTH).map(letter).collect()
}

/// A name goes into a key and into paths, whatever its kind says of names.
pub(crate) fn check_name(name: &Name) -> Result<(), Failure> {
    let kind = name.kind;
    if name.name.is_empty() {
        let errors = [crate::core::status::FieldError::required(
            "metadata.name",
            "name or generateName is required",
        )];
        return Err(Failure::invalid(kind.group, kind.kind, "", &errors));
    }
    for part in [&name.namespace, &name.name] {
        let errors = names::path_segment(part);
        if let Some(error) = errors.first() {
            return Err(Failure::bad_request(format!(
                "invalid name {part:?}: {error}"
            )));
        }
    }
    Ok(())
}

/// What is there from the beginning.
pub(crate) const NAMESPACES: [&str; 3] = ["default", "kube-public", "kube-system"];

fn namespace_name(namespace: &str) -> Name {
    Name {
        kind: &kinds::NAMESPACES,
        namespace: String::new(),
        name: namespace.to_owned(),
    }
}

fn is_needed(namespace: &str) -> bool {
    NAMESPACES.contains(&namespace)
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

fn too_busy(name: &Name) -> Failure {
    let message = format!(
        "{} {:?} was not made: what it needs changed {ATTEMPTS_MAX} times meanwhile; try again",
        name.kind.plural, name.name
    );
    Failure::new(Reason::ServiceUnavailable, message).retry_after(1)
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
