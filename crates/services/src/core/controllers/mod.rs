//! Controllers: pure planners from what is wanted and what is seen to steps. Objects come in as a
//! [`View`] of the store at one revision, and the time as an argument; a [`Plan`] goes out, which
//! an executor carries out (its promises: [`world`]). Nothing is kept between two plans.
//!
//! Invariants:
//! - A plan for an object that is as it should be has no steps: so controllers come to rest.
//! - Each plan can be repeated, by this leader or the next one.
//! - Whatever makes a plan differ is a change of an object, which [`Controller::touched`] leads to
//!   the planner, or the time, which the plan names.
//!
//! Objects are read as JSON values: they have passed validation, and where a field is not there
//! or is of another type, a planner takes its default.

mod conditions;
mod deployment;
mod endpoint_slice;
mod garbage;
mod namespace;
mod owners;
mod pods;
mod replica_set;
#[cfg(test)]
mod script;
pub mod world;

use self::world::{Change, Plan, View};
use crate::core::object::Name;

/// A controller: what it plans for is named by a [`Name`], which [`Controller::touched`] has
/// given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// ReplicaSets have pods.
    ReplicaSet,
    /// Deployments have ReplicaSets.
    Deployment,
    /// Services have EndpointSlices.
    EndpointSlice,
    /// Namespaces end.
    Namespace,
    /// Objects end with their owners.
    Garbage,
}

impl Controller {
    /// All of them.
    pub const ALL: [Controller; 5] = [
        Controller::ReplicaSet,
        Controller::Deployment,
        Controller::EndpointSlice,
        Controller::Namespace,
        Controller::Garbage,
    ];

    /// What to do about one object. `now_ms`: since the epoch. `failed`: why the last plan for it
    /// could not be carried out, in words, unless it was a failed compare.
    pub fn plan(self, view: &dyn View, key: &Name, now_ms: u64, failed: Option<&str>) -> Plan {
        match self {
            Controller::ReplicaSet => replica_set::plan(view, key, now_ms, failed),
            Controller::Deployment => deployment::plan(view, key, now_ms, failed),
            Controller::EndpointSlice => endpoint_slice::plan(view, key),
            Controller::Namespace => namespace::plan(view, key, now_ms),
            Controller::Garbage => garbage::plan(view, key),
        }
    }

    /// Which objects have to be planned for again after a change. `view` has the change already.
    pub fn touched(self, view: &dyn View, change: &Change<'_>) -> Vec<Name> {
        match self {
            Controller::ReplicaSet => replica_set::touched(view, change),
            Controller::Deployment => deployment::touched(view, change),
            Controller::EndpointSlice => endpoint_slice::touched(view, change),
            Controller::Namespace => namespace::touched(view, change),
            Controller::Garbage => garbage::touched(view, change),
        }
    }
}
