//! Objects for programs of the same process: what the API's face does for clients elsewhere,
//! without a connection, and without asking who asks.

use atoll_control::api::ControlApi;
use serde_json::Value;

use super::objects::{Objects, Writer};
use crate::core::{
    kinds::{Kind, Subresource},
    lifecycle::Deletion,
    object::Name,
    schema::check,
    status::Failure,
};

/// Reads and writes objects. Clones are the same.
#[derive(Clone)]
pub struct Client<C> {
    objects: Objects<C>,
    writer: Writer,
}

/// Objects of a kind, as of one revision.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// In order of namespace and name.
    pub objects: Vec<Value>,
    /// The list's resourceVersion.
    pub revision: i64,
}

impl<C: ControlApi> Client<C> {
    pub(super) fn new(objects: Objects<C>) -> Self {
        Client {
            objects,
            writer: Writer::own("client"),
        }
    }

    /// An object as it is now.
    ///
    /// # Errors
    /// `NotFound`; those of the cluster.
    pub async fn get(&self, name: &Name) -> Result<Value, Failure> {
        Ok(self.objects.get(name).await?.object)
    }

    /// All objects of a kind, in one namespace or in all.
    ///
    /// # Errors
    /// Those of the cluster.
    pub async fn list(
        &self,
        kind: &'static Kind,
        namespace: Option<&str>,
    ) -> Result<List, Failure> {
        let page = self.objects.store.list(kind, namespace, None, 0, 0).await?;
        Ok(List {
            objects: page.objects.into_iter().map(|it| it.object).collect(),
            revision: page.revision,
        })
    }

    /// Makes an object; its state after that.
    ///
    /// # Errors
    /// What is wrong with it, unknown fields too; `AlreadyExists`; those of the cluster.
    pub async fn create(
        &self,
        kind: &'static Kind,
        namespace: &str,
        object: Value,
    ) -> Result<Value, Failure> {
        hold_against_schema(kind, &object)?;
        let writer = &self.writer;
        let made = self.objects.create(kind, namespace, object, writer).await?;
        Ok(made.object)
    }

    /// Changes an object, or a part of it that is written by itself, as often as others come
    /// before; its state after that.
    ///
    /// # Errors
    /// What is wrong with the new state, unknown fields too; `NotFound`; those of the cluster.
    pub async fn update(
        &self,
        name: &Name,
        part: Option<Subresource>,
        change: impl Fn(&mut Value),
    ) -> Result<Value, Failure> {
        let changed = |old: &Value| {
            let mut new = old.clone();
            change(&mut new);
            hold_against_schema(name.kind, &new)?;
            Ok(new)
        };
        let (objects, writer) = (&self.objects, &self.writer);
        Ok(objects.update(name, part, writer, changed).await?.object)
    }

    /// Deletes an object, or begins to.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it is not the one that is meant; those of the cluster.
    pub async fn delete(&self, name: &Name, deletion: &Deletion) -> Result<(), Failure> {
        let deleted = self.objects.delete(name, deletion, &self.writer).await;
        deleted.map(drop)
    }
}

fn hold_against_schema(kind: &'static Kind, object: &Value) -> Result<(), Failure> {
    let checked = check::check(kind.type_name, object);
    let doubts = checked.strict(&[]);
    match checked.wrong.first().or(doubts.first()) {
        Some(wrong) => Err(Failure::bad_request(check::cannot_be_handled(
            &kind.api_version(),
            kind.kind,
            wrong,
        ))),
        None => Ok(()),
    }
}
