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

mod autoscaler;
mod conditions;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoint_slice;
mod essence;
mod garbage;
mod job;
pub mod load_balancer;
mod namespace;
mod owners;
mod pods;
mod replica_set;
mod revisions;
pub mod scale;
#[cfg(test)]
mod script;
mod service_account;
mod share;
mod stateful_set;
pub mod world;

use self::world::{Change, Plan, View};
use crate::core::object::Name;

/// A controller: what it plans for is named by a [`Name`], which [`Controller::touched`] has
/// given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// ReplicaSets and ReplicationControllers have pods.
    ReplicaSet,
    /// Deployments have ReplicaSets.
    Deployment,
    /// StatefulSets have pods with names and places of their own.
    StatefulSet,
    /// DaemonSets have a pod on each node.
    DaemonSet,
    /// Jobs have pods that come to an end.
    Job,
    /// CronJobs have Jobs.
    CronJob,
    /// Autoscalers say how many pods there are to be.
    Autoscaler,
    /// Disruption budgets say how many pods may be taken away.
    Disruption,
    /// Services have EndpointSlices.
    EndpointSlice,
    /// Services and Ingresses say where they are reached.
    LoadBalancer,
    /// Namespaces have a ServiceAccount.
    ServiceAccount,
    /// Namespaces end.
    Namespace,
    /// Objects end with their owners.
    Garbage,
}

impl Controller {
    /// All of them.
    pub const ALL: [Controller; 13] = [
        Controller::ReplicaSet,
        Controller::Deployment,
        Controller::StatefulSet,
        Controller::DaemonSet,
        Controller::Job,
        Controller::CronJob,
        Controller::Autoscaler,
        Controller::Disruption,
        Controller::EndpointSlice,
        Controller::LoadBalancer,
        Controller::ServiceAccount,
        Controller::Namespace,
        Controller::Garbage,
    ];

    /// What to do about one object. `now_ms`: since the epoch. `failed`: why the last plan for it
    /// could not be carried out, in words, unless it was a failed compare.
    pub fn plan(self, view: &dyn View, key: &Name, now_ms: u64, failed: Option<&str>) -> Plan {
        match self {
            Controller::ReplicaSet => replica_set::plan(view, key, now_ms, failed),
            Controller::Deployment => deployment::plan(view, key, now_ms, failed),
            Controller::StatefulSet => stateful_set::plan(view, key, now_ms, failed),
            Controller::DaemonSet => daemon_set::plan(view, key, now_ms, failed),
            Controller::Job => job::plan(view, key, now_ms, failed),
            Controller::CronJob => cron_job::plan(view, key, now_ms, failed),
            Controller::Autoscaler => autoscaler::plan(view, key, now_ms, failed),
            Controller::Disruption => disruption::plan(view, key, now_ms, failed),
            Controller::EndpointSlice => endpoint_slice::plan(view, key),
            Controller::LoadBalancer => load_balancer::plan(view, key),
            Controller::ServiceAccount => service_account::plan(view, key),
            Controller::Namespace => namespace::plan(view, key, now_ms),
            Controller::Garbage => garbage::plan(view, key),
        }
    }

    /// Which objects have to be planned for again after a change. `view` has the change already.
    pub fn touched(self, view: &dyn View, change: &Change<'_>) -> Vec<Name> {
        match self {
            Controller::ReplicaSet => replica_set::touched(view, change),
            Controller::Deployment => deployment::touched(view, change),
            Controller::StatefulSet => stateful_set::touched(view, change),
            Controller::DaemonSet => daemon_set::touched(view, change),
            Controller::Job => job::touched(view, change),
            Controller::CronJob => cron_job::touched(view, change),
            Controller::Autoscaler => autoscaler::touched(view, change),
            Controller::Disruption => disruption::touched(view, change),
            Controller::EndpointSlice => endpoint_slice::touched(view, change),
            Controller::LoadBalancer => load_balancer::touched(view, change),
            Controller::ServiceAccount => service_account::touched(view, change),
            Controller::Namespace => namespace::touched(view, change),
            Controller::Garbage => garbage::touched(view, change),
        }
    }
}
