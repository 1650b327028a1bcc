//! Carries out plans: one step after the other, each a compare and swap, until the first that
//! fails.

use atoll_control::api::ControlApi;

use super::{
    events::Events,
    objects::{Objects, Removed, Writer},
};
use crate::core::{
    controllers::world::Step,
    kinds::{self, Subresource},
    object::{self, Name},
    status::{Failure, Reason},
};
use serde_json::Value;

/// What became of a plan.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The revision of the last write; 0: nothing was written.
    pub(crate) revision: i64,
    /// Why it was not carried out to its end.
    pub(crate) failure: Option<Failure>,
}

impl Done {
    /// Whether others came before: what was planned from is not so any more.
    pub(crate) fn was_outrun(&self) -> bool {
        let reason = self.failure.as_ref().map(|failure| failure.reason);
        let outrun = [Reason::Conflict, Reason::AlreadyExists, Reason::NotFound];
        reason.is_some_and(|reason| outrun.contains(&reason))
    }

    /// Whether nobody knows if the last step was done.
    pub(crate) fn is_uncertain(&self) -> bool {
        let failure = self.failure.as_ref();
        failure.is_some_and(|failure| failure.code() >= 500)
    }
}

/// Who carries out plans.
#[derive(Clone)]
pub(crate) struct Executor<C> {
    pub(crate) objects: Objects<C>,
    pub(crate) events: Events<C>,
    pub(crate) writer: Writer,
}

impl<C: ControlApi> Executor<C> {
    /// Carries out steps.
    pub(crate) async fn run(&self, steps: Vec<Step>) -> Done {
        let mut done = Done::default();
        for step in steps {
            match self.step(step).await {
                Ok(revision) => done.revision = done.revision.max(revision),
                Err(failure) => {
                    done.failure = Some(failure);
                    break;
                }
            }
        }
        done
    }

    async fn step(&self, step: Step) -> Result<i64, Failure> {
        let writer = &self.writer;
        match step {
            Step::Create { kind, object } => {
                let namespace = object::namespace(&object).to_owned();
                let made = self
                    .objects
                    .create(kind, &namespace, object, writer)
                    .await?;
                Ok(made.revision)
            }
            Step::Delete { name, deletion } => {
                match self.objects.delete(&name, &deletion, writer).await? {
                    Removed::Gone(object) | Removed::Going(object) => Ok(revision(&object)),
                }
            }
            Step::Update { kind, object } => self.write(kind, None, object).await,
            Step::UpdateStatus { kind, object } => {
                self.write(kind, Some(Subresource::Status), object).await
            }
            Step::Finalize { namespace } => {
                let part = Some(Subresource::Finalize);
                self.write(&kinds::NAMESPACES, part, namespace).await
            }
            Step::Event(event) => {
                self.events.tell(event);
                Ok(0)
            }
        }
    }

    async fn write(
        &self,
        kind: &'static kinds::Kind,
        part: Option<Subresource>,
        object: Value,
    ) -> Result<i64, Failure> {
        let name = Name::of(kind, &object);
        let new = |_: &Value| Ok(object.clone());
        let written = self.objects.update(&name, part, &self.writer, new).await?;
        Ok(written.revision)
    }
}

fn revision(object: &Value) -> i64 {
    object::meta(object, "resourceVersion").parse().unwrap_or(0)
}
