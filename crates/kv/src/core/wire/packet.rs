//! What nodes send each other about partitions: many packets in one frame of a peer link.

use atoll_base::id::{PartitionId, ReplicaId};
use bytes::Bytes;

use super::{
    parts::{
        read_ballot, read_configuration, read_entries, read_index, read_position, read_snapshot,
        write_ballot, write_configuration, write_entries, write_position, write_snapshot,
    },
    piece::{Arrived, Piece, read_arrived, read_piece, write_arrived, write_piece},
};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    machine::{ANSWER_BYTES_MAX, Answered},
    partition::{Look, Outcome, Request, Response, Seen},
    paxos::Message,
    reply::Reply,
    sessions::{Origin, Session},
};

/// Version of the encoded form.
const VERSION: u8 = 1;

/// One thing that a node tells another.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// Between replicas.
    Message(Message),
    /// From a coordinator.
    Request(Request),
    /// To a coordinator.
    Response(Response<Answered>),
    /// Between replicas: a part of a snapshot.
    Piece(Piece),
    /// The answer to that.
    Arrived(Arrived),
    /// From a coordinator: what a read would see.
    Look(Look),
    /// To a coordinator.
    Seen(Seen<Answered>),
}

/// Packets for one node, being gathered.
#[derive(Debug)]
pub struct Bundle(Writer);

impl Bundle {
    /// Without packets. `sender` is the replica that speaks.
    pub fn new(sender: ReplicaId) -> Self {
        let mut writer = Writer::default();
        writer.byte(VERSION).number(sender.0);
        Bundle(writer)
    }

    /// Adds a packet.
    pub fn add(&mut self, partition: PartitionId, packet: &Packet) {
        self.0.number(u64::from(partition.0));
        match packet {
            Packet::Message(message) => {
                self.0.byte(0);
                write_message(&mut self.0, message);
            }
            Packet::Request(request) => {
                self.0.byte(1);
                write_origin(&mut self.0, &request.origin);
                let flags = u8::from(request.reads) | (u8::from(request.takes_over) << 1);
                self.0.byte(flags).bytes(&request.operation);
            }
            Packet::Response(response) => {
                self.0.byte(2);
                write_origin(&mut self.0, &response.origin);
                write_outcome(&mut self.0, &response.outcome);
            }
            Packet::Piece(piece) => {
                self.0.byte(3);
                write_piece(&mut self.0, piece);
            }
            Packet::Arrived(arrived) => {
                self.0.byte(4);
                write_arrived(&mut self.0, *arrived);
            }
            Packet::Look(look) => {
                self.0.byte(5);
                write_origin(&mut self.0, &look.origin);
                self.0.bytes(&look.operation);
            }
            Packet::Seen(seen) => {
                self.0.byte(6);
                write_origin(&mut self.0, &seen.origin);
                write_configuration(&mut self.0, &seen.configuration);
                match &seen.view {
                    None => {
                        self.0.byte(0);
                    }
                    Some((version, answered)) => {
                        self.0.byte(1).number(*version);
                        write_answered(&mut self.0, answered);
                    }
                }
            }
        }
    }

    /// Size so far, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// As it is sent.
    pub fn encode(self) -> Bytes {
        self.0.finish()
    }

    /// Who speaks, and the packets.
    ///
    /// # Errors
    /// These bytes are no bundle, or one of a newer version.
    pub fn decode(bytes: Bytes) -> Result<(ReplicaId, Vec<(PartitionId, Packet)>), CodecError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let sender = ReplicaId(reader.number()?);
        let mut packets = Vec::new();
        while !reader.is_empty() {
            let partition = reader.partition()?;
            let packet = match reader.byte()? {
                0 => Packet::Message(read_message(&mut reader)?),
                1 => {
                    let origin = read_origin(&mut reader)?;
                    let flags = reader.byte()?;
                    Packet::Request(Request {
                        origin,
                        reads: flags & 1 != 0,
                        takes_over: flags & 2 != 0,
                        operation: reader.bytes()?,
                    })
                }
                2 => Packet::Response(Response {
                    origin: read_origin(&mut reader)?,
                    outcome: read_outcome(&mut reader)?,
                }),
                3 => Packet::Piece(read_piece(&mut reader)?),
                4 => Packet::Arrived(read_arrived(&mut reader)?),
                5 => Packet::Look(Look {
                    origin: read_origin(&mut reader)?,
                    operation: reader.bytes()?,
                }),
                6 => Packet::Seen(Seen {
                    origin: read_origin(&mut reader)?,
                    configuration: read_configuration(&mut reader)?,
                    view: match reader.byte()? {
                        0 => None,
                        1 => Some((reader.number()?, Answered::decode(reader.bytes()?)?)),
                        mark => return Err(CodecError::Mark(mark)),
                    },
                }),
                mark => return Err(CodecError::Mark(mark)),
            };
            packets.push((partition, packet));
        }
        Ok((sender, packets))
    }
}

fn write_origin(writer: &mut Writer, origin: &Origin) {
    writer
        .number(origin.session.replica.0)
        .number(origin.session.boot)
        .number(origin.sequence)
        .number(origin.answered_below);
}

fn read_origin(reader: &mut Reader) -> Result<Origin, CodecError> {
    let session = Session {
        replica: ReplicaId(reader.number()?),
        boot: reader.number()?,
    };
    let origin = Origin {
        session,
        sequence: reader.number()?,
        answered_below: reader.number()?,
    };
    // What an owner logs by itself, nobody asks it for.
    match origin.is_own() {
        true => Err(CodecError::Number),
        false => Ok(origin),
    }
}

fn write_outcome(writer: &mut Writer, outcome: &Outcome<Answered>) {
    match outcome {
        Outcome::Done(answered) => {
            writer.byte(0);
            write_answered(writer, answered);
        }
        Outcome::NotOwner(None) => {
            writer.byte(1);
        }
        Outcome::NotOwner(Some(owner)) => {
            writer.byte(2).number(owner.0);
        }
        Outcome::Busy => {
            writer.byte(3);
        }
        Outcome::Stale => {
            writer.byte(4);
        }
        Outcome::Waits { again, last } => {
            writer.byte(5).bytes(again).bytes(last);
        }
        Outcome::Nothing(answered) => {
            writer.byte(6);
            write_answered(writer, answered);
        }
    }
}

fn write_answered(writer: &mut Writer, answered: &Answered) {
    let mut bytes = answered.encode();
    if bytes.len() > ANSWER_BYTES_MAX {
        let text = "ERR the reply is larger than the 6 MiB that nodes pass on to each other";
        let refused = Reply::Error(Bytes::from_static(text.as_bytes()));
        bytes = Answered::Reply(refused).encode();
    }
    writer.bytes(&bytes);
}

fn read_outcome(reader: &mut Reader) -> Result<Outcome<Answered>, CodecError> {
    Ok(match reader.byte()? {
        0 => Outcome::Done(Answered::decode(reader.bytes()?)?),
        1 => Outcome::NotOwner(None),
        2 => Outcome::NotOwner(Some(ReplicaId(reader.number()?))),
        3 => Outcome::Busy,
        4 => Outcome::Stale,
        5 => Outcome::Waits {
            again: reader.bytes()?,
            last: reader.bytes()?,
        },
        6 => Outcome::Nothing(Answered::decode(reader.bytes()?)?),
        mark => return Err(CodecError::Mark(mark)),
    })
}

fn write_message(writer: &mut Writer, message: &Message) {
    match message {
        Message::Prepare {
            ballot,
            configuration,
            last,
            commit,
        } => {
            writer.byte(0);
            write_ballot(writer, *ballot);
            write_configuration(writer, configuration);
            write_position(writer, *last);
            writer.number(commit.0);
        }
        Message::Promise {
            ballot,
            last,
            commit,
            tail,
        } => {
            writer.byte(1);
            write_ballot(writer, *ballot);
            write_position(writer, *last);
            writer.number(commit.0);
            write_entries(writer, tail);
        }
        Message::Nack {
            ballot,
            promised,
            configuration,
        } => {
            writer.byte(2);
            write_ballot(writer, *ballot);
            write_ballot(writer, *promised);
            write_configuration(writer, configuration);
        }
        Message::Fetch { ballot, after } => {
            writer.byte(3);
            write_ballot(writer, *ballot);
            writer.number(after.0);
        }
        Message::Tail {
            ballot,
            previous,
            entries,
        } => {
            writer.byte(4);
            write_ballot(writer, *ballot);
            write_position(writer, *previous);
            write_entries(writer, entries);
        }
        Message::Accept {
            ballot,
            configuration,
            previous,
            entries,
            commit,
        } => {
            writer.byte(5);
            write_ballot(writer, *ballot);
            write_configuration(writer, configuration);
            write_position(writer, *previous);
            write_entries(writer, entries);
            writer.number(commit.0);
        }
        Message::Ack { ballot, matched } => {
            writer.byte(6);
            write_ballot(writer, *ballot);
            writer.number(matched.0);
        }
        Message::Need { ballot, from } => {
            writer.byte(7);
            write_ballot(writer, *ballot);
            writer.number(from.0);
        }
        Message::Commit { ballot, commit } => {
            writer.byte(8);
            write_ballot(writer, *ballot);
            writer.number(commit.0);
        }
        Message::Snapshot {
            ballot,
            configuration,
            snapshot,
        } => {
            writer.byte(9);
            write_ballot(writer, *ballot);
            write_configuration(writer, configuration);
            write_snapshot(writer, snapshot);
        }
        Message::Confirm { ballot, round } => {
            writer.byte(10);
            write_ballot(writer, *ballot);
            writer.number(*round);
        }
        Message::Confirmed { ballot, round } => {
            writer.byte(11);
            write_ballot(writer, *ballot);
            writer.number(*round);
        }
        Message::Ask { ballot } => {
            writer.byte(12);
            write_ballot(writer, *ballot);
        }
        Message::Probe { ballot, asker } => {
            writer.byte(13);
            write_ballot(writer, *ballot);
            writer.number(asker.0);
        }
        Message::Alive { ballot, asker } => {
            writer.byte(14);
            write_ballot(writer, *ballot);
            writer.number(asker.0);
        }
        Message::OwnerDown { ballot } => {
            writer.byte(15);
            write_ballot(writer, *ballot);
        }
    }
}

fn read_message(reader: &mut Reader) -> Result<Message, CodecError> {
    let mark = reader.byte()?;
    let ballot = read_ballot(reader)?;
    Ok(match mark {
        0 => Message::Prepare {
            ballot,
            configuration: read_configuration(reader)?,
            last: read_position(reader)?,
            commit: read_index(reader)?,
        },
        1 => Message::Promise {
            ballot,
            last: read_position(reader)?,
            commit: read_index(reader)?,
            tail: read_entries(reader)?,
        },
        2 => Message::Nack {
            ballot,
            promised: read_ballot(reader)?,
            configuration: read_configuration(reader)?,
        },
        3 => Message::Fetch {
            ballot,
            after: read_index(reader)?,
        },
        4 => Message::Tail {
            ballot,
            previous: read_position(reader)?,
            entries: read_entries(reader)?,
        },
        5 => Message::Accept {
            ballot,
            configuration: read_configuration(reader)?,
            previous: read_position(reader)?,
            entries: read_entries(reader)?,
            commit: read_index(reader)?,
        },
        6 => Message::Ack {
            ballot,
            matched: read_index(reader)?,
        },
        7 => Message::Need {
            ballot,
            from: read_index(reader)?,
        },
        8 => Message::Commit {
            ballot,
            commit: read_index(reader)?,
        },
        9 => Message::Snapshot {
            ballot,
            configuration: read_configuration(reader)?,
            snapshot: read_snapshot(reader)?,
        },
        10 => Message::Confirm {
            ballot,
            round: reader.number()?,
        },
        11 => Message::Confirmed {
            ballot,
            round: reader.number()?,
        },
        12 => Message::Ask { ballot },
        13 => Message::Probe {
            ballot,
            asker: ReplicaId(reader.number()?),
        },
        14 => Message::Alive {
            ballot,
            asker: ReplicaId(reader.number()?),
        },
        15 => Message::OwnerDown { ballot },
        mark => return Err(CodecError::Mark(mark)),
    })
}
