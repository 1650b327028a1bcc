//! Snapshots on their way between nodes, piece by piece.
//!
//! The receiver says how far it has got, and the sender keeps no more than [`WINDOW_BYTES`] on
//! the way, so that a snapshot never fills the queues that everything else goes through. What is
//! lost is sent again when the log's owner, or a candidate, asks for the snapshot again; what
//! arrived by then stays.

use std::collections::{BTreeMap, VecDeque};

use atoll_base::id::{PartitionId, ReplicaId};
use bytes::{Bytes, BytesMut};

use crate::core::{
    paxos::{Ballot, Configuration, Snapshot},
    wire::{Arrived, Packet, Piece, Whole},
};

/// Bytes of one piece.
const PIECE_BYTES: u64 = 512 << 10;
/// Bytes of one snapshot that may be on their way.
const WINDOW_BYTES: u64 = 2 << 20;
/// So many snapshots are sent at a time, and so many received.
pub(super) const TRANSFERS_MAX: usize = 4;
/// A transfer of which nothing was heard for so long is given up.
const SILENCE_MS_MAX: u64 = 5_000;
/// No snapshot is larger, in bytes.
const SNAPSHOT_BYTES_MAX: u64 = 16 << 30;

/// A snapshot that is being sent.
struct Outgoing {
    ballot: Ballot,
    configuration: Configuration,
    of: Whole,
    state: Bytes,
    arrived: u64,
    sent: u64,
    heard_at_ms: u64,
}

/// A snapshot that is being received.
struct Incoming {
    from: ReplicaId,
    ballot: Ballot,
    configuration: Configuration,
    of: Whole,
    bytes: BytesMut,
    heard_at_ms: u64,
}

/// A snapshot that has arrived, as it came: nothing in it was looked at.
pub(super) struct Complete {
    pub(super) ballot: Ballot,
    pub(super) configuration: Configuration,
    pub(super) snapshot: Snapshot,
}

/// The snapshots that a shard sends and receives.
#[derive(Default)]
pub(super) struct Transfers {
    outgoing: BTreeMap<(PartitionId, ReplicaId), Outgoing>,
    incoming: BTreeMap<PartitionId, Incoming>,
    /// Who waits until a snapshot is sent to it.
    asked: VecDeque<(PartitionId, ReplicaId)>,
}

impl Transfers {
    /// The partition is not here any more.
    pub(super) fn forget(&mut self, id: PartitionId) {
        self.outgoing.retain(|(partition, _), _| *partition != id);
        self.incoming.remove(&id);
        self.asked.retain(|(partition, _)| *partition != id);
    }

    /// Somebody needs a snapshot.
    pub(super) fn ask(&mut self, id: PartitionId, to: ReplicaId) {
        if !self.asked.contains(&(id, to)) {
            self.asked.push_back((id, to));
        }
    }

    /// Who is to be sent a snapshot next, if there is room for that; and the snapshot, if it is
    /// under way already.
    pub(super) fn next(
        &mut self,
        now_ms: u64,
    ) -> Option<(PartitionId, ReplicaId, Option<Snapshot>)> {
        self.outgoing
            .retain(|_, outgoing| now_ms < outgoing.heard_at_ms + SILENCE_MS_MAX);
        let place = self.next_place()?;
        let (id, to) = self.asked.remove(place)?;
        let under_way = self.outgoing.get(&(id, to)).map(|outgoing| Snapshot {
            base: outgoing.of.base,
            state: outgoing.state.clone(),
        });
        Some((id, to, under_way))
    }

    /// Whether [`next`](Self::next) has something.
    pub(super) fn has_next(&self) -> bool {
        self.next_place().is_some()
    }

    fn next_place(&self) -> Option<usize> {
        let has_room = self.outgoing.len() < TRANSFERS_MAX;
        let is_ready = |asked| has_room || self.outgoing.contains_key(asked);
        self.asked.iter().position(is_ready)
    }

    /// Begins to send a snapshot, or sends again what was lost of it; pieces to be sent.
    pub(super) fn send(
        &mut self,
        id: PartitionId,
        to: ReplicaId,
        complete: Complete,
        now_ms: u64,
    ) -> Vec<Packet> {
        let Complete {
            ballot,
            configuration,
            snapshot: Snapshot { base, state },
        } = complete;
        let tail = state.last_chunk().copied().unwrap_or_default();
        let of = Whole {
            base,
            bytes: state.len() as u64,
            checksum: u64::from_le_bytes(tail),
        };
        let outgoing = self.outgoing.entry((id, to)).or_insert_with(|| Outgoing {
            ballot,
            configuration: configuration.clone(),
            of,
            state: state.clone(),
            arrived: 0,
            sent: 0,
            heard_at_ms: now_ms,
        });
        if outgoing.of != of {
            (outgoing.of, outgoing.state, outgoing.arrived) = (of, state, 0);
            outgoing.heard_at_ms = now_ms;
        }
        outgoing.ballot = ballot;
        outgoing.configuration = configuration;
        outgoing.sent = outgoing.arrived;
        outgoing.pieces()
    }

    /// Hears how far a snapshot has got; further pieces to be sent.
    pub(super) fn arrived(
        &mut self,
        id: PartitionId,
        from: ReplicaId,
        arrived: Arrived,
        now_ms: u64,
    ) -> Vec<Packet> {
        let Some(outgoing) = self.outgoing.get_mut(&(id, from)) else {
            return Vec::new();
        };
        if outgoing.of != arrived.of || arrived.offset > outgoing.of.bytes {
            return Vec::new();
        }
        outgoing.heard_at_ms = now_ms;
        if arrived.offset == 0 && outgoing.arrived > 0 {
            // The receiver has forgotten what it had.
            (outgoing.arrived, outgoing.sent) = (0, 0);
        }
        outgoing.arrived = outgoing.arrived.max(arrived.offset);
        outgoing.sent = outgoing.sent.max(outgoing.arrived);
        if outgoing.arrived == outgoing.of.bytes {
            self.outgoing.remove(&(id, from));
            return Vec::new();
        }
        outgoing.pieces()
    }

    /// Takes a piece in; what to answer, and the snapshot once it is whole.
    pub(super) fn piece(
        &mut self,
        id: PartitionId,
        from: ReplicaId,
        piece: Piece,
        now_ms: u64,
    ) -> (Option<Arrived>, Option<Complete>) {
        let is_silent = |incoming: &Incoming| now_ms >= incoming.heard_at_ms + SILENCE_MS_MAX;
        let of = piece.of;
        let known = self.incoming.get(&id);
        let goes_on = known.is_some_and(|known| known.from == from && known.of == of);
        if !goes_on {
            self.incoming.retain(|_, incoming| !is_silent(incoming));
            let is_taken = self
                .incoming
                .get(&id)
                .is_some_and(|known| known.from != from && known.ballot >= piece.ballot);
            let has_room = self.incoming.contains_key(&id) || self.incoming.len() < TRANSFERS_MAX;
            if is_taken || !has_room || of.bytes > SNAPSHOT_BYTES_MAX {
                return (None, None);
            }
            let incoming = Incoming {
                from,
                ballot: piece.ballot,
                configuration: piece.configuration.clone(),
                of,
                bytes: BytesMut::new(),
                heard_at_ms: now_ms,
            };
            self.incoming.insert(id, incoming);
        }
        let Some(incoming) = self.incoming.get_mut(&id) else {
            return (None, None);
        };
        incoming.heard_at_ms = now_ms;
        incoming.ballot = piece.ballot;
        incoming.configuration = piece.configuration;
        let here = incoming.bytes.len() as u64;
        if piece.offset == here && piece.bytes.len() as u64 <= of.bytes - here {
            incoming.bytes.extend_from_slice(&piece.bytes);
        }
        let offset = incoming.bytes.len() as u64;
        let arrived = Some(Arrived { of, offset });
        if offset < of.bytes {
            return (arrived, None);
        }
        let complete = self.incoming.remove(&id).map(|incoming| Complete {
            ballot: incoming.ballot,
            configuration: incoming.configuration,
            snapshot: Snapshot {
                base: of.base,
                state: incoming.bytes.freeze(),
            },
        });
        (arrived, complete)
    }
}

impl Outgoing {
    /// What may be sent now.
    fn pieces(&mut self) -> Vec<Packet> {
        let mut pieces = Vec::new();
        let end = self.of.bytes.min(self.arrived + WINDOW_BYTES);
        while self.sent < end {
            let to = end.min(self.sent + PIECE_BYTES);
            // Both are within the bytes, whose number is one of this machine's.
            let range = self.sent as usize..to as usize;
            pieces.push(Packet::Piece(Piece {
                ballot: self.ballot,
                configuration: self.configuration.clone(),
                of: self.of,
                offset: self.sent,
                bytes: self.state.slice(range),
            }));
            self.sent = to;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::paxos::{LogIndex, Members, Position};

    const HERE: ReplicaId = ReplicaId(1);
    const THERE: ReplicaId = ReplicaId(2);
    const ID: PartitionId = PartitionId(7);

    fn complete(bytes: usize, round: u64) -> Complete {
        let members = Members::new(vec![HERE, THERE]).expect("some");
        let base = Position {
            birth: Ballot::default(),
            index: LogIndex(9),
        };
        Complete {
            ballot: Ballot {
                configuration: 1,
                round,
                replica: HERE,
            },
            configuration: Configuration::first(members),
            snapshot: Snapshot {
                base,
                state: (0..bytes).map(|at| (at % 251) as u8).collect(),
            },
        }
    }

    /// Carries packets to and fro until nothing is left; every so many are lost.
    fn carry(
        sender: &mut Transfers,
        receiver: &mut Transfers,
        packets: Vec<Packet>,
        lost: usize,
        count: &mut usize,
    ) -> Option<Complete> {
        let mut done = None;
        let mut way = VecDeque::from(packets);
        while let Some(packet) = way.pop_front() {
            *count += 1;
            if lost > 0 && (*count).is_multiple_of(lost) {
                continue;
            }
            match packet {
                Packet::Piece(piece) => {
                    let (arrived, complete) = receiver.piece(ID, HERE, piece, 0);
                    way.extend(arrived.map(Packet::Arrived));
                    done = done.or(complete);
                }
                Packet::Arrived(arrived) => way.extend(sender.arrived(ID, THERE, arrived, 0)),
                other => panic!("{other:?}"),
            }
            let on_the_way: usize = way
                .iter()
                .map(|packet| match packet {
                    Packet::Piece(piece) => piece.bytes.len(),
                    _ => 0,
                })
                .sum();
            assert!(on_the_way as u64 <= WINDOW_BYTES);
        }
        done
    }

    #[test]
    fn a_snapshot_of_many_windows_arrives_though_pieces_are_lost() {
        for lost in [0, 7, 3] {
            let (mut sender, mut receiver) = (Transfers::default(), Transfers::default());
            let mut count = 0;
            let mut done = None;
            for round in 1..50 {
                // Each time that it is asked for anew.
                let packets = sender.send(ID, THERE, complete(5_000_001, round), 0);
                done = carry(&mut sender, &mut receiver, packets, lost, &mut count);
                if done.is_some() {
                    assert!(lost > 0 || round == 1);
                    break;
                }
            }
            let done = done.expect("it arrived");
            assert_eq!(done.snapshot, complete(5_000_001, 1).snapshot);
            assert!(receiver.incoming.is_empty());
        }
    }

    #[test]
    fn there_are_only_so_many_at_a_time() {
        let mut transfers = Transfers::default();
        for id in 0..=TRANSFERS_MAX {
            transfers.ask(PartitionId(id as u16), THERE);
        }
        for _ in 0..TRANSFERS_MAX {
            let (id, to, under_way) = transfers.next(0).expect("there is room");
            assert!(under_way.is_none());
            assert!(!transfers.send(id, to, complete(100, 1), 0).is_empty());
        }
        assert!(!transfers.has_next() && transfers.next(1).is_none());
        // Asked again, what is under way goes on.
        transfers.ask(PartitionId(0), THERE);
        let (id, _, under_way) = transfers.next(1).expect("it is under way");
        assert_eq!((id, under_way.is_some()), (PartitionId(0), true));
        // Nobody hears of the others: they make room.
        assert!(transfers.next(SILENCE_MS_MAX).is_some());
        let mut receiver = Transfers::default();
        for id in 0..=TRANSFERS_MAX {
            let mut sender = Transfers::default();
            let id = PartitionId(id as u16);
            let mut packets = sender.send(id, THERE, complete(3_000_000, 1), 0);
            let Packet::Piece(piece) = packets.remove(0) else {
                panic!("no piece");
            };
            let (arrived, _) = receiver.piece(id, HERE, piece, 0);
            assert_eq!(arrived.is_some(), usize::from(id.0) < TRANSFERS_MAX);
        }
    }
}
