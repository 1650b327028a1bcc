//! Carries out plans: one step after the other, each a compare and swap, until the first that
//! fails. Creations that follow one another go together, so that they share the disk's time.

use atoll_base::id::NodeId;
use atoll_control::api::ControlApi;
use futures_util::future::join_all;

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

/// So many creations of a plan go together.
const TOGETHER_MAX: usize = 16;

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
    /// One that carries out what follows from leading: nothing once another node leads. What is
    /// told of it is told in any case.
    ///
    /// # Errors
    /// Those of the cluster.
    pub(crate) async fn lead(&self, node: NodeId) -> Result<Self, Failure> {
        let store = self.objects.store.lead(node).await?;
        let mut leading = self.clone();
        leading.objects.store = store;
        Ok(leading)
    }

    /// Carries out steps.
    pub(crate) async fn run(&self, steps: Vec<Step>) -> Done {
        let mut done = Done::default();
        let mut units = units(steps).into_iter().peekable();
        while let Some(first) = units.next() {
            let mut together = vec![first];
            while together.len() < TOGETHER_MAX
                && is_creation(&together[0])
                && let Some(next) = units.next_if(|unit| is_creation(unit))
            {
                together.push(next);
            }
            let outcomes = together.into_iter().map(|unit| self.in_order(unit));
            for outcome in join_all(outcomes).await {
                done.revision = done.revision.max(outcome.revision);
                done.failure = done.failure.or(outcome.failure);
            }
            if done.failure.is_some() {
                break;
            }
        }
        done
    }

    async fn in_order(&self, steps: Vec<Step>) -> Done {
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

/// Each step, with what is told of it.
fn units(steps: Vec<Step>) -> Vec<Vec<Step>> {
    let mut units: Vec<Vec<Step>> = Vec::new();
    for step in steps {
        match (&step, units.last_mut()) {
            (Step::Event(_), Some(unit)) => unit.push(step),
            _ => units.push(vec![step]),
        }
    }
    units
}

fn is_creation(unit: &[Step]) -> bool {
    matches!(unit.first(), Some(Step::Create { .. }))
}

fn revision(object: &Value) -> i64 {
    object::meta(object, "resourceVersion").parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::*;
    use crate::core::controllers::world::Event;

    #[test]
    fn what_is_told_of_a_step_stays_behind_it() {
        let create = || Step::Create {
            kind: &kinds::PODS,
            object: json!({}),
        };
        let event = || {
            Step::Event(Event {
                about: json!({}),
                component: "tests",
                is_warning: false,
                reason: Cow::Borrowed("Created"),
                message: String::new(),
            })
        };
        let update = Step::Update {
            kind: &kinds::PODS,
            object: json!({}),
        };
        let steps = vec![event(), update, create(), event(), event(), create()];
        let units = units(steps);
        let lengths: Vec<usize> = units.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 1, 3, 1]);
        let creations: Vec<bool> = units.iter().map(|unit| is_creation(unit)).collect();
        assert_eq!(creations, [false, false, true, true]);
    }
}
