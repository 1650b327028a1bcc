//! Agents tell the leader that they are there, once a second, and nothing is written for it. The
//! answer renews the lease under which an agent lets its pods run; the silence is what the leader
//! judges nodes by ([`crate::core::nodes`]).
//!
//! Who answers has led after it was asked, and a majority has confirmed it: a leader that was cut
//! off does not know that there is another one, which may give the same pods to other nodes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_base::id::NodeId;
use atoll_control::api::ControlApi;
use atoll_world::{
    clock,
    peers::{Handler, Peers, Reply, Service},
    task,
    workload::lease,
};
use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    agent::{
        NODE_ID,
        runtime::{Runtime, Until},
    },
    mirror::Mirror,
};
use crate::core::{
    controllers::world::View as _,
    kinds,
    nodes::{GIVEN_UP_MS, HEARTBEAT_MS, LEASE_MS, SOLE_LEASE_MS, Silence},
    object,
};

/// Heartbeats between nodes: the names of the agent's Nodes, one a line. The leader answers `1` if
/// it has heard the one, and `2` if it has heard all of several, of which one of before knows
/// nothing.
const SERVICE: Service = Service(56);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_millis(HEARTBEAT_MS);
/// How soon it is asked again when there was none.
const AGAIN: Duration = Duration::from_millis(HEARTBEAT_MS / 4);
/// The longest name that is taken, in bytes.
const NAME_BYTES_MAX: usize = 253;
/// So many names are remembered: more than any cluster has nodes.
const NAMES_MAX: usize = 20_000;
/// So many names one heartbeat says.
pub(crate) const TOLD_MAX: usize = 10_000;
/// What the leader answers.
const HEARD: &[u8] = b"1";
const HEARD_ALL: &[u8] = b"2";

/// Who was heard when, on the node that leads.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Ears>>);

#[derive(Default)]
struct Ears {
    /// Since when this node leads; none if it does not.
    since: Option<clock::Instant>,
    last: BTreeMap<String, clock::Instant>,
    /// When it was judged whose pods are given away; while they are, those are not heard.
    judged: Option<clock::Instant>,
    /// It was judged before.
    knows_nodes: bool,
}

impl Ears {
    /// For how long an agent had been silent at a time.
    fn silent_ms(&self, name: &str, at: clock::Instant) -> u64 {
        let last = self.last.get(name).copied().or(self.since);
        last.map_or(0, |last| ms(at.saturating_duration_since(last)))
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Heard {
    /// This node leads from now on, and has heard nobody.
    pub(crate) fn begin(&self) {
        *self.0.lock() = Ears {
            since: Some(clock::now()),
            ..Ears::default()
        };
    }

    /// It leads no more.
    pub(crate) fn end(&self) {
        *self.0.lock() = Ears::default();
    }

    /// For how long each agent has been silent, and for how long those who were never heard. Who
    /// comes back now is not heard until [`Heard::is_done`], if its pods may be given away. `nodes`
    /// are those that there are: the silence of a new one begins now.
    pub(crate) fn judge(&self, nodes: impl IntoIterator<Item = String>) -> (Silence, u64) {
        let mut ears = self.0.lock();
        let now = clock::now();
        ears.judged = Some(now);
        if let Some(since) = ears.since {
            let met = if ears.knows_nodes { now } else { since };
            for name in nodes {
                if ears.last.len() < NAMES_MAX {
                    ears.last.entry(name).or_insert(met);
                }
            }
            ears.knows_nodes = true;
        }
        let silence = ears
            .last
            .iter()
            .map(|(name, at)| (name.clone(), ms(now.duration_since(*at))));
        (
            silence.collect(),
            ears.since.map_or(0, |at| ms(now.duration_since(at))),
        )
    }

    /// What follows from what was judged is done.
    pub(crate) fn is_done(&self) {
        self.0.lock().judged = None;
    }

    /// Notes that an agent is there with all its Nodes; whether this node leads.
    fn hear(&self, names: &[&str]) -> bool {
        let mut ears = self.0.lock();
        let now = clock::now();
        let is_given_up = |name: &str| {
            let judged = ears.judged;
            judged.is_some_and(|at| ears.silent_ms(name, at) >= GIVEN_UP_MS)
        };
        let is_refused = |name: &&str| name.len() > NAME_BYTES_MAX || is_given_up(name);
        if ears.since.is_none() || names.iter().any(is_refused) {
            return false;
        }
        for name in names {
            if let Some(last) = ears.last.get_mut(*name) {
                *last = now;
            } else if ears.last.len() < NAMES_MAX {
                ears.last.insert((*name).to_owned(), now);
            }
        }
        true
    }
}

/// The leader's side. Clones are the same.
#[derive(Clone)]
pub(crate) struct Ear<C> {
    pub(crate) control: C,
    pub(crate) mirror: Mirror,
    pub(crate) node: NodeId,
    pub(crate) heard: Heard,
}

impl<C: ControlApi> Handler for Ear<C> {
    fn handle(&self, from: NodeId, payload: Bytes, reply: Reply) {
        let ear = self.clone();
        task::spawn(async move {
            let text = std::str::from_utf8(&payload).unwrap_or_default();
            let names: Vec<&str> = text.split('\n').take(TOLD_MAX + 1).collect();
            let answered = clock::timeout(ANSWER_MAX, ear.answer(from, &names)).await;
            reply.send(match answered {
                Ok(true) => Bytes::from_static(heard(names.len())),
                _ => Bytes::new(),
            });
        });
    }
}

/// How it is said that so many names are heard.
fn heard(names: usize) -> &'static [u8] {
    if names == 1 { HEARD } else { HEARD_ALL }
}

impl<C: ControlApi> Ear<C> {
    /// Whether this node has led after it was asked, and has heard the agent of a node.
    async fn answer(&self, from: NodeId, names: &[&str]) -> bool {
        let before = self.control.standing();
        let is_fit = !names.is_empty() && names.len() <= TOLD_MAX;
        if before.leader != Some(self.node) || !is_fit || !self.are_its_own(from, names) {
            return false;
        }
        // Asks a majority. Those that come together share the round.
        if self.control.barrier().await.is_err() {
            return false;
        }
        let after = self.control.standing();
        let leads = after.leader == Some(self.node) && after.term == before.term;
        leads && self.heard.hear(names)
    }

    /// Two nodes never run the pods of one name.
    fn are_its_own(&self, from: NodeId, names: &[&str]) -> bool {
        let (look, id) = (self.mirror.look(), from.to_string());
        names.iter().all(|name| {
            let node = look.get(&kinds::NODES, "", name);
            node.is_none_or(|node| object::label(&node, NODE_ID) == Some(&id))
        })
    }
}

/// Begins to hear other nodes' agents.
pub(crate) fn listen<C: ControlApi>(peers: &Arc<dyn Peers>, ear: Ear<C>) {
    peers.serve(SERVICE, Arc::new(ear));
}

/// For how long an agent may let its pods run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    until: clock::Instant,
    /// The same by the clock that goes on while the machine is suspended.
    until_boot: Duration,
    /// Another number stands for a gap between this lease and the one before.
    pub(crate) number: u64,
}

impl Lease {
    /// Whether it has not ended yet.
    pub(crate) fn is_held(&self) -> bool {
        clock::now() < self.until && lease::now() < self.until_boot
    }

    /// Waits for its end.
    pub(crate) async fn ends(&self) {
        while self.is_held() {
            let left = self.until_boot.saturating_sub(lease::now());
            clock::sleep_until(self.until.min(clock::now() + left)).await;
        }
    }
}

/// An agent's side.
pub(crate) struct Heart<C> {
    pub(crate) peers: Arc<dyn Peers>,
    /// This node's own, if it leads.
    pub(crate) ear: Ear<C>,
    /// The names of the agent's Nodes, as they come to be known.
    pub(crate) names: Names,
}

/// The names of an agent's Nodes. Clones are the same.
pub(crate) type Names = Arc<Mutex<Vec<String>>>;

impl<C: ControlApi> Heart<C> {
    /// Tells the leader that this agent is there; the lease that it has then. None if nobody
    /// answered. How long to wait before the next time.
    pub(crate) async fn beat<R: Runtime>(
        &self,
        runtimes: &[R],
        had: Option<Lease>,
    ) -> (Option<Lease>, Duration) {
        let (asked, asked_boot) = (clock::now(), lease::now());
        let span = Duration::from_millis(match self.ear.control.members().len() {
            1 => SOLE_LEASE_MS,
            _ => LEASE_MS,
        });
        match clock::timeout(ANSWER_MAX, self.is_heard()).await {
            Ok(true) => {
                let until = Until {
                    instant: asked + span,
                    boot: asked_boot + span,
                };
                // That what runs knows of it, should this process not live to end it, is what
                // others rely on.
                for runtime in runtimes {
                    if let Err(error) = runtime.renew(until).await {
                        tracing::warn!(%error, "the lease of this node's pods can't be written, so they are stopped when it ends");
                        return (None, AGAIN);
                    }
                }
                let is_gap = had.is_none_or(|had| !had.is_held());
                let number = had.map_or(0, |had| had.number) + u64::from(is_gap);
                let lease = Lease {
                    until: until.instant,
                    until_boot: until.boot,
                    number,
                };
                (Some(lease), Duration::from_millis(HEARTBEAT_MS))
            }
            _ => (None, AGAIN),
        }
    }

    async fn is_heard(&self) -> bool {
        let Some(leader) = self.ear.control.standing().leader else {
            return false;
        };
        let names = self.names.lock().clone();
        if leader == self.ear.node {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            return self.ear.answer(leader, &names).await;
        }
        if names.is_empty() {
            return false;
        }
        let payload = Bytes::from(names.join("\n"));
        let answer = self.peers.call(leader, SERVICE, payload).await;
        answer.is_ok_and(|answer| answer == heard(names.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_given_up_is_not_heard_until_that_is_done() {
        let heard = Heard::default();
        assert!(!heard.hear(&["a"]), "this node does not lead");
        heard.begin();
        assert!(heard.hear(&["a"]));
        clock::sleep(Duration::from_millis(GIVEN_UP_MS)).await;
        let (silence, unheard_ms) = heard.judge([]);
        assert_eq!((silence["a"], unheard_ms), (GIVEN_UP_MS, GIVEN_UP_MS));
        assert!(!heard.hear(&["a"]), "its pods are being given away");
        assert!(
            !heard.hear(&["b"]),
            "and so are those of who was never heard"
        );
        assert!(!heard.hear(&["b", "a"]));
        heard.is_done();
        assert!(heard.hear(&["b", "a"]));
        heard.judge([]);
        assert!(heard.hear(&["a"]), "it is there");
        heard.end();
        assert!(!heard.hear(&["a"]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_silence_of_a_new_node_begins_when_it_is_seen() {
        let heard = Heard::default();
        heard.begin();
        let pause = Duration::from_millis(400);
        clock::sleep(pause).await;
        let there = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let (silence, _) = heard.judge(there(&["a"]));
        assert_eq!(
            silence["a"],
            ms(pause),
            "it may have been there all the time"
        );
        clock::sleep(pause).await;
        let (silence, _) = heard.judge(there(&["a", "b"]));
        assert_eq!((silence["a"], silence["b"]), (ms(2 * pause), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_in_time() {
        let span = Duration::from_secs(1);
        let given = Lease {
            until: clock::now() + span,
            until_boot: lease::now() + Duration::from_secs(3_600),
            number: 1,
        };
        assert!(given.is_held());
        let begun = clock::now();
        given.ends().await;
        assert_eq!(clock::now() - begun, span);
        assert!(!given.is_held());
        let suspended = Lease {
            until: clock::now() + span,
            until_boot: Duration::ZERO,
            number: 1,
        };
        assert!(!suspended.is_held(), "the machine's time went on");
    }
}
