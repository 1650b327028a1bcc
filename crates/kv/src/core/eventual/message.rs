//! What replicas of an eventual partition tell each other.

use atoll_base::id::ConfigurationNumber;

use super::{
    clock::Stamp,
    membership::Row,
    merkle::{FAN_OUT, Node},
    replica::{Cursor, Delta},
};
use crate::core::data::Key;

/// A message, with what every message tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// The configuration that the sender knows.
    pub number: ConfigurationNumber,
    /// Up to where every member has everything, as the sender has heard. What the message holds
    /// may rest on tombstones up to here having been collected.
    pub stable: Stamp,
    /// The message.
    pub message: Message,
}

/// A message. An answer carries the number of what it answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Join this, and tell when you have.
    Delta {
        /// The sender's number for it.
        id: u64,
        /// What to join.
        delta: Delta,
    },
    /// It is joined and synced.
    Ack {
        /// The number of the delta.
        id: u64,
    },
    /// What do you have of these keys, if it is not this?
    Look {
        /// The sender's number for it.
        id: u64,
        /// The keys with the digests of what the sender has.
        keys: Vec<(Key, u64)>,
    },
    /// The answer: the items that differ, in parts. Without any, one part that is empty.
    Seen {
        /// The number of the question.
        id: u64,
        /// Which part this is, from 0 on.
        part: u32,
        /// How many there are.
        parts: u32,
        /// The items.
        delta: Delta,
    },
    /// An exchange: which of these nodes differ from yours?
    Compare {
        /// The exchange and its step.
        step: Step,
        /// Up to where the sender has what the others had.
        row: Row,
        /// Nodes with the sender's digests.
        nodes: Vec<(Node, u64)>,
    },
    /// Those that differ.
    Compared {
        /// What is answered.
        step: Step,
        /// A stamp after all that the sender has, and before all that it will write.
        mark: Stamp,
        /// Up to where the sender has what the others had.
        row: Row,
        /// Whether the sender has what the members had when it came.
        is_filled: bool,
        /// Nodes with their children's digests.
        nodes: Vec<(Node, [u64; FAN_OUT])>,
        /// Leaves.
        leaves: Vec<Node>,
    },
    /// What is in this leaf?
    List {
        /// The exchange and its step.
        step: Step,
        /// The leaf.
        leaf: Node,
        /// The first place to tell of.
        from: u64,
    },
    /// This.
    Listed {
        /// What is answered.
        step: Step,
        /// Places with their digests, in order.
        places: Vec<(u64, u64)>,
        /// The place to go on from, if there may be more.
        next: Option<u64>,
    },
    /// Take this, and give me yours.
    Exchange {
        /// The exchange and its step.
        step: Step,
        /// The places wanted.
        want: Vec<u64>,
        /// How far the first of them was given.
        after: Option<Cursor>,
        /// What the sender has.
        give: Delta,
    },
    /// What was given is joined and synced; this is what I have.
    Given {
        /// What is answered.
        step: Step,
        /// The items.
        delta: Delta,
        /// So many of the places wanted are given whole.
        done: u32,
        /// How far the next of them was given.
        after: Option<Cursor>,
    },
    /// What you said was refused: your clock is, or was, so far ahead of mine.
    Ahead {
        /// In milliseconds.
        ahead_ms: u64,
    },
    /// What you said is of a configuration that is over, and in mine you have no part.
    Over,
    /// You have all that I had when I gave this mark.
    Finished {
        /// The mark.
        mark: Stamp,
        /// Up to where the sender has what the others had.
        row: Row,
        /// Whether the sender had, at its mark, what the members had when it came.
        is_filled: bool,
    },
}

impl Message {
    /// What is to be joined, and so written down, by who takes it.
    pub fn items(&self) -> Option<&Delta> {
        match self {
            Message::Delta { delta, .. }
            | Message::Seen { delta, .. }
            | Message::Given { delta, .. }
            | Message::Exchange { give: delta, .. } => Some(delta),
            _ => None,
        }
    }
}

/// A step of an exchange. The one that began it numbers both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The exchange.
    pub session: u64,
    /// The question within it.
    pub step: u64,
}
