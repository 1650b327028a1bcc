//! Offers of free room to frameworks: any node is asked and asks the one that leads, whose
//! [`counter`] stands in the scheduler's loop.
//!
//! Who answers has led after it was asked, and a majority has confirmed it. A new leader knows no
//! offers: frameworks learn by their next question that a new session has begun.

mod accept;
pub(super) mod counter;
pub(crate) mod wire;

use std::{sync::Arc, time::Duration};

use atoll_base::id::NodeId;
use atoll_control::api::ControlApi;
use atoll_world::{
    clock,
    peers::{Handler, PeerError, Peers, Reply, Service},
    task,
};
use bytes::Bytes;

use self::{
    counter::Hatch,
    wire::{ASKED_BYTES_MAX, Answer, Asked, Refusal, Verb, Why},
};
use crate::core::scheduler::POLL_MS;

/// Offers, between nodes.
const SERVICE: Service = Service(60);
/// How long the answer to a question may take, beside the time that the leader keeps it.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long pods may take to be made.
const ACCEPT_MAX: Duration = Duration::from_secs(30);

/// Whom faces ask. Clones are the same.
#[derive(Clone)]
pub(crate) struct Offers<C> {
    control: C,
    peers: Arc<dyn Peers>,
    node: NodeId,
    hatch: Hatch,
}

/// How long the answer may take.
fn wait(verb: &Verb) -> Duration {
    match verb {
        Verb::Poll { .. } => Duration::from_millis(POLL_MS) + ANSWER_MAX,
        Verb::Accept { .. } => ACCEPT_MAX,
        Verb::Decline { .. } | Verb::Revive => ANSWER_MAX,
    }
}

impl<C: ControlApi> Offers<C> {
    /// Begins to answer other nodes, too.
    pub(super) fn new(control: C, peers: Arc<dyn Peers>, node: NodeId, hatch: Hatch) -> Self {
        let offers = Offers {
            control,
            peers,
            node,
            hatch,
        };
        let door = Door(offers.clone());
        offers.peers.serve(SERVICE, Arc::new(door));
        offers
    }

    /// Asks the node that leads.
    ///
    /// # Errors
    /// Nobody leads, or it does not answer; why it did nothing.
    pub(crate) async fn ask(&self, asked: Asked) -> Result<Answer, Refusal> {
        let Some(leader) = self.control.standing().leader else {
            return Err(Refusal::unavailable("no node leads right now"));
        };
        let is_done_once = matches!(asked.verb, Verb::Accept { .. });
        let wait = wait(&asked.verb);
        let answered = async {
            match leader == self.node {
                true => Ok(self.answer(asked).await),
                false => self.call(leader, &asked).await,
            }
        };
        match clock::timeout(wait, answered).await {
            Ok(Ok(Answer::Refused(refusal))) => Err(refusal),
            Ok(answer) => answer,
            Err(_) if is_done_once => Err(Refusal::new(
                Why::Unclear,
                "it takes too long: nobody knows which pods are made",
            )),
            Err(_) => Err(Refusal::unavailable("the node that leads does not answer")),
        }
    }

    async fn call(&self, leader: NodeId, asked: &Asked) -> Result<Answer, Refusal> {
        let payload = wire::encode(asked);
        if payload.len() > ASKED_BYTES_MAX {
            let message = format!("a request may take {ASKED_BYTES_MAX} bytes");
            return Err(Refusal::new(Why::Wrong, message));
        }
        let answer = self.peers.call(leader, SERVICE, payload).await;
        let answer = answer.map_err(|error| {
            let why = match (&asked.verb, &error) {
                (Verb::Accept { .. }, PeerError::Unreachable { .. } | PeerError::Refused(_)) => {
                    Why::Unclear
                }
                _ => Why::Unavailable,
            };
            Refusal::new(why, format!("the node that leads does not answer: {error}"))
        })?;
        let unreadable = || Refusal::unavailable("the node that leads gives an unreadable answer");
        wire::decode(&answer).ok_or_else(unreadable)
    }

    /// Answers as the leader, if this node is that and a majority confirms it.
    async fn answer(&self, asked: Asked) -> Answer {
        let before = self.control.standing();
        let leads = before.leader == Some(self.node)
            // Asks a majority. Those that come together share the round.
            && self.control.barrier().await.is_ok();
        let after = self.control.standing();
        if !leads || after.leader != Some(self.node) || after.term != before.term {
            return Answer::Refused(Refusal::unavailable("this node does not lead"));
        }
        match self.hatch.ask(asked).await {
            Ok(answer) => answer,
            Err(refusal) => Answer::Refused(refusal),
        }
    }
}

struct Door<C>(Offers<C>);

impl<C: ControlApi> Handler for Door<C> {
    fn handle(&self, from: NodeId, payload: Bytes, reply: Reply) {
        let asked = match payload.len() <= ASKED_BYTES_MAX {
            true => wire::decode::<Asked>(&payload),
            false => None,
        };
        let Some(asked) = asked else {
            tracing::debug!(%from, "a question about offers can't be read");
            let refusal = Refusal::new(Why::Wrong, "the node that leads can't read the question");
            return reply.send(wire::encode(&Answer::Refused(refusal)));
        };
        let offers = self.0.clone();
        task::spawn(async move {
            let wait = wait(&asked.verb);
            // Whoever asked does not wait longer.
            if let Ok(answer) = clock::timeout(wait, offers.answer(asked)).await {
                reply.send(wire::encode(&answer));
            }
        });
    }
}
