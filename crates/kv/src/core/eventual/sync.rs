//! Anti-entropy: two replicas find what differs between them and give it to each other (Demers
//! and others, "Epidemic algorithms for replicated database maintenance", 1987; with trees of
//! digests as in Dynamo, section 4.7).
//!
//! One of the two leads ([`Session`]) and keeps how far they are; the other one only answers
//! ([`answer`]) and keeps nothing, so that it may restart in the middle. There is one question at
//! a time, which is asked again when no answer comes; its size and the answer's are bounded. The
//! leader asks depth first: differing nodes lead to their children, leaves to their lists of
//! places, places to their items, so that few of each wait.
//!
//! At the end each has all that the other had when the exchange began: whatever part of the tree
//! was found equal was equal at a moment after the beginning, and whatever was not was given as
//! it was after the beginning. The marks say when that was: the follower's is in its first
//! answer, the leader's in its last word.

use std::collections::VecDeque;

use atoll_base::id::ReplicaId;

use super::{
    clock::Stamp,
    membership::Row,
    merkle::{DEPTH, Node},
    message::{Message, Step},
    replica::{Cursor, Delta, Replica},
};
use crate::core::data::Milliseconds;

/// Nodes in one question.
pub const NODES_MAX: usize = 256;
/// Places in one list, and wanted in one question.
pub const PLACES_MAX: usize = 1_024;
/// About so many bytes of items go in one message.
pub const ITEMS_BYTES_MAX: usize = 256 << 10;
/// A question is asked again after so long, in milliseconds.
pub const ASK_AGAIN_MS: u64 = 1_000;
/// And so many times, before the exchange is given up.
pub const ASKS_MAX: u32 = 5;

/// An exchange that this replica leads.
#[derive(Clone, Debug)]
pub struct Session {
    peer: ReplicaId,
    step: Step,
    /// This replica's mark at the beginning, and the peer's.
    own_mark: Stamp,
    peer_mark: Option<Stamp>,
    /// Whether each had, at its mark, what the members had when it came.
    own_filled: bool,
    peer_filled: bool,
    /// Nodes to compare, the next ones last.
    nodes: Vec<Node>,
    /// Leaves to list, with where to go on.
    leaves: VecDeque<(Node, u64)>,
    want: VecDeque<u64>,
    want_after: Option<Cursor>,
    give: VecDeque<u64>,
    give_after: Option<Cursor>,
    /// What of `give` is done once the question is answered.
    giving: (usize, Option<Cursor>),
    question: Option<Message>,
    asked_ms: Milliseconds,
    asks: u32,
}

/// What became of a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Ask the peer this.
    Ask(Message),
    /// Nothing new.
    Waits,
    /// Done: this replica has all that the peer had at `peer_mark`; tell it the same of
    /// `own_mark`.
    Finished {
        /// This replica's mark.
        own_mark: Stamp,
        /// Whether it was filled then.
        own_filled: bool,
        /// The peer's.
        peer_mark: Stamp,
        /// Whether that was.
        peer_filled: bool,
    },
    /// The peer does not answer.
    GaveUp,
}

impl Session {
    /// Begins; the first question is in what [`ask`](Self::ask) says.
    pub fn new(peer: ReplicaId, session: u64, own_mark: Stamp, own_filled: bool) -> Session {
        Session {
            peer,
            step: Step { session, step: 0 },
            own_mark,
            peer_mark: None,
            own_filled,
            peer_filled: false,
            nodes: vec![Node::ROOT],
            leaves: VecDeque::new(),
            want: VecDeque::new(),
            want_after: None,
            give: VecDeque::new(),
            give_after: None,
            giving: (0, None),
            question: None,
            asked_ms: 0,
            asks: 0,
        }
    }

    /// With whom.
    pub fn peer(&self) -> ReplicaId {
        self.peer
    }

    /// The next question, or the end.
    pub fn ask(&mut self, replica: &Replica, row: Row, now_ms: Milliseconds) -> Progress {
        self.step.step += 1;
        let step = self.step;
        let question = if !self.want.is_empty() || !self.give.is_empty() {
            let places = self.give.make_contiguous();
            let places = &places[..places.len().min(PLACES_MAX)];
            let (give, done, after) =
                replica.pieces(places, self.give_after.as_ref(), ITEMS_BYTES_MAX);
            self.giving = (done, after);
            Message::Exchange {
                step,
                want: self.want.iter().take(PLACES_MAX).copied().collect(),
                after: self.want_after.clone(),
                give,
            }
        } else if let Some((leaf, from)) = self.leaves.front().copied() {
            Message::List { step, leaf, from }
        } else if !self.nodes.is_empty() {
            let asked = self
                .nodes
                .split_off(self.nodes.len().saturating_sub(NODES_MAX));
            let tree = replica.tree();
            let nodes = asked.into_iter().map(|node| (node, tree.digest(node)));
            let nodes = nodes.collect();
            Message::Compare { step, row, nodes }
        } else {
            let Some(peer_mark) = self.peer_mark else {
                unreachable!("the root was compared, and that answer has a mark");
            };
            return Progress::Finished {
                own_mark: self.own_mark,
                own_filled: self.own_filled,
                peer_mark,
                peer_filled: self.peer_filled,
            };
        };
        self.question = Some(question.clone());
        (self.asked_ms, self.asks) = (now_ms, 1);
        Progress::Ask(question)
    }

    /// Asks again, if it is time.
    pub fn tick(&mut self, now_ms: Milliseconds) -> Progress {
        if now_ms.saturating_sub(self.asked_ms) < ASK_AGAIN_MS {
            return Progress::Waits;
        }
        if self.asks >= ASKS_MAX {
            return Progress::GaveUp;
        }
        (self.asked_ms, self.asks) = (now_ms, self.asks + 1);
        self.question
            .clone()
            .map_or(Progress::GaveUp, Progress::Ask)
    }

    /// Takes an answer. Whether it is the one that was waited for, so that the next question may
    /// be asked; items in it are the caller's to join before.
    pub fn step(&mut self, answer: &Message, replica: &Replica) -> bool {
        let Some(question) = self.question.take() else {
            return false;
        };
        let is_answered = self.take(&question, answer, replica);
        if !is_answered {
            self.question = Some(question);
        }
        is_answered
    }

    fn take(&mut self, question: &Message, answer: &Message, replica: &Replica) -> bool {
        match (question, answer) {
            (
                Message::Compare { .. },
                Message::Compared {
                    step,
                    mark,
                    is_filled,
                    nodes,
                    leaves,
                    ..
                },
            ) if *step == self.step => {
                if self.peer_mark.is_none() {
                    (self.peer_mark, self.peer_filled) = (Some(*mark), *is_filled);
                }
                for (node, digests) in nodes {
                    let children = node.children().zip(digests);
                    let differ = children
                        .filter(|(child, digest)| replica.tree().digest(*child) != **digest);
                    self.nodes.extend(differ.map(|(child, _)| child));
                }
                let leaves = leaves.iter().filter(|leaf| leaf.is_leaf());
                self.leaves
                    .extend(leaves.map(|leaf| (*leaf, leaf.places().0)));
                true
            }
            (
                Message::List { leaf, from, .. },
                Message::Listed {
                    step, places, next, ..
                },
            ) if *step == self.step => {
                self.leaves.pop_front();
                self.listed(replica, *leaf, *from, places, *next);
                true
            }
            (
                Message::Exchange { want, .. },
                Message::Given {
                    step, done, after, ..
                },
            ) if *step == self.step => {
                let done = (*done as usize).min(want.len());
                self.want.drain(..done);
                self.want_after = after.clone();
                let (given, after) = std::mem::take(&mut self.giving);
                self.give.drain(..given);
                self.give_after = after;
                true
            }
            _ => false,
        }
    }

    /// Compares a list with what is here, up to where both were told.
    fn listed(
        &mut self,
        replica: &Replica,
        leaf: Node,
        from: u64,
        theirs: &[(u64, u64)],
        their_next: Option<u64>,
    ) {
        let (own, own_next) = replica.places(leaf, from, PLACES_MAX);
        // A next place that is no step forward would be a question without end.
        let their_next = their_next.filter(|next| *next > from);
        let next = [own_next, their_next].into_iter().flatten().min();
        let is_covered = |place: u64| next.is_none_or(|next| place < next);
        let digest_in = |list: &[(u64, u64)], place: u64| {
            let at = list.binary_search_by_key(&place, |(place, _)| *place);
            at.ok().map(|at| list[at].1)
        };
        for (place, digest) in theirs.iter().filter(|(place, _)| is_covered(*place)) {
            if digest_in(&own, *place) != Some(*digest) {
                self.want.push_back(*place);
            }
        }
        for (place, digest) in own.iter().filter(|(place, _)| is_covered(*place)) {
            if digest_in(theirs, *place) != Some(*digest) {
                self.give.push_back(*place);
            }
        }
        if let Some(next) = next {
            self.leaves.push_front((leaf, next));
        }
    }
}

/// The follower's answer to a question that holds no items, or whose items were joined. None to
/// what is no question.
pub fn answer(
    replica: &mut Replica,
    question: &Message,
    (row, is_filled): (Row, bool),
    now_ms: Milliseconds,
) -> Option<Message> {
    match question {
        Message::Compare { step, nodes, .. } => {
            let mark = replica.mark(now_ms);
            let tree = replica.tree();
            let differ = nodes
                .iter()
                .take(NODES_MAX)
                .filter(|(node, digest)| tree.digest(*node) != *digest);
            let (leaves, nodes): (Vec<Node>, Vec<Node>) = differ
                .map(|(node, _)| *node)
                .partition(|node| node.level == DEPTH);
            let nodes = nodes.into_iter().map(|node| (node, tree.children(node)));
            let nodes = nodes.collect();
            Some(Message::Compared {
                step: *step,
                mark,
                row,
                is_filled,
                nodes,
                leaves,
            })
        }
        Message::List { step, leaf, from } => {
            let (places, next) = replica.places(*leaf, *from, PLACES_MAX);
            Some(Message::Listed {
                step: *step,
                places,
                next,
            })
        }
        Message::Exchange {
            step, want, after, ..
        } => {
            let want = &want[..want.len().min(PLACES_MAX)];
            let (delta, done, after) = replica.pieces(want, after.as_ref(), ITEMS_BYTES_MAX);
            let done = done as u32;
            Some(Message::Given {
                step: *step,
                delta,
                done,
                after,
            })
        }
        _ => None,
    }
}

/// The items in a message of an exchange.
pub fn items(message: &Message) -> Option<&Delta> {
    match message {
        Message::Exchange { give, .. } => Some(give),
        Message::Given { delta, .. } => Some(delta),
        _ => None,
    }
}
