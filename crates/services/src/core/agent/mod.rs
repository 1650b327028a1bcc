//! The agent of a node, as far as it is pure: what to do about the pods that are bound here.
//!
//! A driver tells what happens ([`Input`]: pods that come, change and go in the API, processes
//! that start and end, probes that answer, time that passes) and carries out what comes of it
//! ([`Effect`]). It keeps one clock, Unix time in milliseconds that never goes back, and comes
//! again no later than [`Pods::next_wakeup_ms`] says.
//!
//! What always holds: a container never has two attempts that live; restart counts only grow;
//! what runs without a pod is killed; a pod is deleted for good only when nothing of it runs;
//! while the node is fenced, all is killed and nothing is started or told.

mod action;
mod attempt;
mod backoff;
mod conditions;
mod container;
mod ending;
pub mod environment;
mod health;
mod messages;
mod pod;
mod probes;
mod qos;
mod restore;
mod status;
mod stop;
mod turn;

#[cfg(test)]
mod testing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

pub use self::{
    action::Action,
    messages::{
        AttemptId, Effect, Exit, Found, Hook, Input, MESSAGE_BYTES_MAX, Node, PodEvent, PodId,
        ProbeKind, StartFailure,
    },
    status::merged as merged_status,
};
use self::{
    pod::{Mode, Pod},
    turn::Turn,
};
use crate::core::object;

/// A kill of what belongs to no pod is repeated after that.
const KILL_AGAIN_MS: u64 = 10_000;

/// All pods of a node.
pub struct Pods {
    node: Arc<Node>,
    now_ms: u64,
    pods: BTreeMap<String, Pod>,
    /// What the runtime had at the start and no pod has taken over yet.
    found: BTreeMap<String, Vec<Found>>,
    /// What lives and belongs to no pod, and when it is killed again.
    strays: BTreeMap<AttemptId, u64>,
    is_fenced: bool,
    /// Whether a snapshot has come since the start, or since the fence.
    is_current: bool,
}

/// Which pods are looked at in a turn.
enum Look {
    At(String),
    AtAll,
    AtDue,
}

impl Pods {
    /// A node on which these attempts were found.
    pub fn new(node: Node, found: Vec<Found>) -> Pods {
        let mut by_uid: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for one in found {
            by_uid.entry(one.id.uid.clone()).or_default().push(one);
        }
        Pods {
            node: Arc::new(node),
            now_ms: 0,
            pods: BTreeMap::new(),
            found: by_uid,
            strays: BTreeMap::new(),
            is_fenced: false,
            is_current: false,
        }
    }

    /// When to come again with [`Input::Tick`], if nothing happens before.
    pub fn next_wakeup_ms(&self) -> Option<u64> {
        let pods = self.pods.values().filter_map(Pod::wake_ms);
        pods.chain(self.strays.values().copied()).min()
    }

    /// Takes note of what has happened, and tells what is to be done.
    pub fn handle(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        self.now_ms = self.now_ms.max(now_ms);
        let node = Arc::clone(&self.node);
        let mut turn = Turn::new(self.now_ms, &node, !self.is_current);
        let look = self.take(&mut turn, input);
        turn.is_silent = !self.is_current;
        self.look(&mut turn, &look);
        self.kill_strays(&mut turn);
        turn.effects
    }

    fn take(&mut self, turn: &mut Turn<'_>, input: Input) -> Look {
        match input {
            Input::Snapshot(pods) => {
                self.snapshot(turn, pods);
                Look::AtAll
            }
            Input::Changed(pod) => Look::At(self.changed(turn, pod)),
            Input::Removed { uid } => {
                self.removed(turn, &uid);
                Look::At(uid)
            }
            Input::Fence => {
                self.is_fenced = true;
                self.is_current = false;
                self.kill_found();
                Look::AtAll
            }
            Input::Unfence => {
                self.is_fenced = false;
                Look::AtDue
            }
            Input::Tick => Look::AtDue,
            Input::Prepared { ref uid, .. } | Input::PrepareFailed { ref uid, .. } => {
                let uid = uid.clone();
                self.tell(turn, &uid, input);
                Look::At(uid)
            }
            Input::Started { ref id, .. }
            | Input::StartFailed { ref id, .. }
            | Input::Exited { ref id, .. }
            | Input::Probed { ref id, .. }
            | Input::HookDone { ref id, .. } => {
                let id = id.clone();
                self.about(turn, &id, input);
                Look::At(id.uid)
            }
        }
    }

    fn tell(&mut self, turn: &mut Turn<'_>, uid: &str, input: Input) {
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.take(turn, input);
        }
    }

    fn about(&mut self, turn: &mut Turn<'_>, id: &AttemptId, input: Input) {
        let mut found = self.found.get_mut(&id.uid).into_iter().flatten();
        if let (Some(found), Input::Exited { exit, .. }) = (found.find(|one| one.id == *id), &input)
        {
            found.state = Err(exit.clone());
        }
        let Some(kill_at_ms) = self.strays.get_mut(id) else {
            return self.tell(turn, &id.uid, input);
        };
        match input {
            // The kill may have come too early for it.
            Input::Started { .. } => *kill_at_ms = turn.now_ms,
            Input::StartFailed { .. } | Input::Exited { .. } => {
                self.strays.remove(id);
                self.clean_up(turn, &id.uid);
            }
            _ => {}
        }
    }

    fn snapshot(&mut self, turn: &mut Turn<'_>, pods: Vec<Arc<Value>>) {
        self.is_current = !self.is_fenced;
        let wanted: BTreeSet<String> = pods.iter().map(|pod| object::uid(pod).to_owned()).collect();
        let gone = self.pods.keys().filter(|uid| !wanted.contains(*uid));
        for uid in gone.cloned().collect::<Vec<String>>() {
            self.removed(turn, &uid);
        }
        for pod in pods {
            self.changed(turn, pod);
        }
        if self.is_current {
            self.kill_found();
            for uid in std::mem::take(&mut self.found).into_keys() {
                self.clean_up(turn, &uid);
            }
        }
    }

    fn changed(&mut self, turn: &mut Turn<'_>, object: Arc<Value>) -> String {
        let uid = object::uid(&object).to_owned();
        if let Some(pod) = self.pods.get_mut(&uid) {
            pod.object = object;
            return uid;
        }
        let found = self.found.remove(&uid).unwrap_or_default();
        let (pod, strays) = Pod::new(object, found, turn);
        for id in pod.live() {
            self.strays.remove(&id);
        }
        for id in strays {
            self.strays.entry(id).or_insert(turn.now_ms);
        }
        self.pods.insert(uid.clone(), pod);
        uid
    }

    fn removed(&mut self, turn: &mut Turn<'_>, uid: &str) {
        if let Some(pod) = self.pods.remove(uid) {
            self.strays.extend(pod.live().map(|id| (id, turn.now_ms)));
            self.clean_up(turn, uid);
        }
    }

    fn kill_found(&mut self) {
        let live = restore::live(self.found.values().flatten());
        for id in live {
            self.strays.entry(id).or_insert(self.now_ms);
        }
    }

    fn has_strays(&self, uid: &str) -> bool {
        let first = AttemptId {
            uid: uid.to_owned(),
            container: String::new(),
            number: 0,
        };
        self.strays
            .range(first..)
            .next()
            .is_some_and(|(id, _)| id.uid == uid)
    }

    /// Has what is left of a pod cleaned up if nothing of it is left to run.
    fn clean_up(&mut self, turn: &mut Turn<'_>, uid: &str) {
        if self.pods.contains_key(uid) || self.has_strays(uid) {
            return;
        }
        if self.is_current {
            turn.emit(Effect::Cleanup {
                uid: uid.to_owned(),
            });
        } else {
            // Whether it is wanted is only known after the next snapshot.
            self.found.entry(uid.to_owned()).or_default();
        }
    }

    fn look(&mut self, turn: &mut Turn<'_>, look: &Look) {
        let uids: Vec<String> = match look {
            Look::At(uid) => vec![uid.clone()],
            Look::AtAll => self.pods.keys().cloned().collect(),
            Look::AtDue => {
                let is_due = |pod: &Pod| pod.wake_ms().is_some_and(|at_ms| at_ms <= turn.now_ms);
                let due = self.pods.iter().filter(|(_, pod)| is_due(pod));
                due.map(|(uid, _)| uid.clone()).collect()
            }
        };
        for uid in uids {
            let mode = match (self.is_fenced, self.is_current) {
                (true, _) => Mode::Fenced,
                (_, false) => Mode::Waiting,
                _ => Mode::Active {
                    is_held: self.has_strays(&uid),
                },
            };
            if let Some(pod) = self.pods.get_mut(&uid) {
                pod.sync(turn, mode);
            }
        }
    }

    fn kill_strays(&mut self, turn: &mut Turn<'_>) {
        for (id, at_ms) in &mut self.strays {
            if *at_ms <= turn.now_ms {
                *at_ms = turn.now_ms.saturating_add(KILL_AGAIN_MS);
                turn.emit(Effect::Kill { id: id.clone() });
            }
        }
    }
}
