//! Plans that are carried out step by step among one another, each from a view that may be behind,
//! as far as an executor's promises let it be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::cluster::{Cluster, Snapshot, Task};
use crate::core::controllers::world::{Plan, Step};

/// A plan that is being carried out.
struct Flight {
    task: Task,
    steps: VecDeque<Step>,
}

#[derive(Default)]
pub(super) struct Flights {
    all: Vec<Flight>,
    /// Each object's plans see what the plans before them did.
    written: BTreeMap<Task, i64>,
}

impl Flights {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The leader ends.
    pub(super) fn end(&mut self) {
        *self = Flights::default();
    }

    /// Plans for a task that nobody works on, from a view that is so far behind.
    pub(super) fn plan(
        &mut self,
        cluster: &mut Cluster,
        at: usize,
        lag: usize,
    ) -> Option<(Task, Snapshot, Plan)> {
        let in_flight: BTreeSet<&Task> = self.all.iter().map(|flight| &flight.task).collect();
        let waiting = cluster.queue.iter();
        let free: Vec<&Task> = waiting.filter(|task| !in_flight.contains(task)).collect();
        let task = (*free.get(at % free.len().max(1))?).clone();
        let written = self.written.get(&task).copied().unwrap_or_default();
        let behind = cluster.past.iter().rev().nth(lag);
        let behind = behind.filter(|view| view.revision >= written).cloned();
        if behind.is_none() {
            // Else what the view lacks wakes it once more.
            cluster.queue.remove(&task);
        }
        let view = behind.unwrap_or_else(|| cluster.now.clone());
        let plan = cluster.plan(&task, &view);
        cluster.wait(&task, &plan);
        if !plan.steps.is_empty() {
            let (task, steps) = (task.clone(), plan.steps.clone().into());
            self.all.push(Flight { task, steps });
        }
        Some((task, view, plan))
    }

    /// Does the next step of a plan, and says which, and of whom.
    pub(super) fn step(&mut self, cluster: &mut Cluster, at: usize) -> Option<(Task, Step)> {
        if self.all.is_empty() {
            return None;
        }
        let at = at % self.all.len();
        let flight = &mut self.all[at];
        let task = flight.task.clone();
        let step = flight.steps.pop_front().expect("the last one ends it");
        if flight.steps.is_empty() {
            self.all.swap_remove(at);
        }
        match cluster.carry_out(&step) {
            Ok(()) => {
                self.written.insert(task.clone(), cluster.now.revision);
                Some((task, step))
            }
            Err(failure) => {
                self.all.retain(|flight| flight.task != task);
                cluster.fail(&task, failure);
                None
            }
        }
    }
}
