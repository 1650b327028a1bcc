//! How an object comes to be: it gets an identity, what was left open, and what it needs beside it,
//! in a namespace that is there as long as it is written.

use atoll_control::api::ControlApi;
use atoll_world::{clock, random};
use serde_json::Value;

use super::{
    super::{
        admission,
        store::{self, Change, Stored, To},
    },
    ATTEMPTS_MAX, Known, Objects, Writer,
};
use crate::core::{
    defaults,
    kinds::{self, Kind},
    lifecycle::{self, Birth},
    names,
    object::{self, Name},
    priority,
    status::{Failure, FieldError, Reason},
    validate,
};

/// So often a name is drawn for an object that asks for one.
const NAMES_MAX: usize = 8;
/// How long the random part of a name is.
const SUFFIX_LENGTH: usize = 5;

/// What is there from the beginning.
pub(crate) const NAMESPACES: [&str; 3] = ["default", "kube-public", "kube-system"];

impl<C: ControlApi> Objects<C> {
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
        let errors = [FieldError::required(
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

fn namespace_name(namespace: &str) -> Name {
    Name {
        kind: &kinds::NAMESPACES,
        namespace: String::new(),
        name: namespace.to_owned(),
    }
}

pub(super) fn is_needed(namespace: &str) -> bool {
    NAMESPACES.contains(&namespace)
}

fn too_busy(name: &Name) -> Failure {
    let message = format!(
        "{} {:?} was not made: what it needs changed {ATTEMPTS_MAX} times meanwhile; try again",
        name.kind.plural, name.name
    );
    Failure::new(Reason::ServiceUnavailable, message).retry_after(1)
}
