//! Records as bytes.
//!
//! A record begins with the version of its format. It is written in bytes of our own and not in
//! a language that people read: payloads are the participants' bytes, most of a record, and a
//! text format would make them a third longer or unreadable anyway; one record has one form, so
//! that writing it twice is the same write; and there is no second parser whose limits have to
//! be known. People read it through the listing of transactions in doubt.
//!
//! Numbers are LEB128, bytes and text come after their length, choices are one byte.

use atoll_base::id::NodeId;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::{
    record::{AuditLine, Participant, Phase, Reason, Record, Standing},
    types::{Kind, Outcome, Termination, TransactionId},
};

/// The format's version.
const VERSION: u8 = 1;
/// A participant takes at least so many bytes: two lengths, a name's and a standing.
const PARTICIPANT_BYTES_MIN: usize = 4;
/// A line takes at least so many: a time and two lengths.
const LINE_BYTES_MIN: usize = 3;

/// What can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It ends too early.
    #[error("the record ends in the middle")]
    Short,
    /// A number of more bits than it may have.
    #[error("a number in the record is too large")]
    Number,
    /// More than there can be.
    #[error("a length of {length} is more than the record has")]
    Length {
        /// What it claims.
        length: u64,
    },
    /// Written by a newer version, or not by us.
    #[error("format version {found} of a record is not known; this program knows up to {known}")]
    Version {
        /// The one found.
        found: u8,
        /// The newest known.
        known: u8,
    },
    /// No meaning is known for a mark.
    #[error("the mark {0} in a record has no meaning")]
    Mark(u8),
    /// A name or a remark is not UTF-8.
    #[error("text in a record is not UTF-8")]
    Text,
    /// Something follows the end.
    #[error("{0} bytes follow the end of the record")]
    Rest(usize),
}

impl Record {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut to = BytesMut::with_capacity(128 + self.payload_bytes());
        to.put_u8(VERSION);
        to.put_u128(self.id.0);
        to.put_u8(match self.kind {
            Kind::TwoPhase => 0,
            Kind::ThreePhase(Termination::ByLog) => 1,
            Kind::ThreePhase(Termination::ByPeers) => 2,
            Kind::Saga => 3,
        });
        put_number(&mut to, self.owner.0);
        put_number(&mut to, self.began_at_ms);
        put_number(&mut to, self.deadline_ms);
        put_phase(&mut to, self.phase);
        to.put_u8(match self.reason {
            None => 0,
            Some(Reason::Asked) => 1,
            Some(Reason::Participant) => 2,
            Some(Reason::Timeout) => 3,
            Some(Reason::Person) => 4,
        });
        put_number(&mut to, self.participants.len() as u64);
        for participant in &self.participants {
            put_bytes(&mut to, participant.name.as_bytes());
            put_bytes(&mut to, &participant.payload);
            put_bytes(&mut to, &participant.compensation);
            put_standing(&mut to, participant.standing);
        }
        put_number(&mut to, self.audit.len() as u64);
        for line in &self.audit {
            put_number(&mut to, line.at_ms);
            put_bytes(&mut to, line.by.as_bytes());
            put_bytes(&mut to, line.what.as_bytes());
        }
        to.freeze()
    }

    /// Out of bytes.
    ///
    /// # Errors
    /// They were not written by us, or by a newer version, or are damaged.
    pub fn decode(bytes: Bytes) -> Result<Record, CodecError> {
        let mut from = Reader(bytes);
        let found = from.byte()?;
        if found != VERSION {
            let known = VERSION;
            return Err(CodecError::Version { found, known });
        }
        let record = Record {
            id: from.id()?,
            kind: match from.byte()? {
                0 => Kind::TwoPhase,
                1 => Kind::ThreePhase(Termination::ByLog),
                2 => Kind::ThreePhase(Termination::ByPeers),
                3 => Kind::Saga,
                mark => return Err(CodecError::Mark(mark)),
            },
            owner: NodeId(from.number()?),
            began_at_ms: from.number()?,
            deadline_ms: from.number()?,
            phase: from.phase()?,
            reason: match from.byte()? {
                0 => None,
                1 => Some(Reason::Asked),
                2 => Some(Reason::Participant),
                3 => Some(Reason::Timeout),
                4 => Some(Reason::Person),
                mark => return Err(CodecError::Mark(mark)),
            },
            participants: from.many(PARTICIPANT_BYTES_MIN, |from| {
                Ok(Participant {
                    name: from.text()?,
                    payload: from.bytes()?,
                    compensation: from.bytes()?,
                    standing: from.standing()?,
                })
            })?,
            audit: from.many(LINE_BYTES_MIN, |from| {
                Ok(AuditLine {
                    at_ms: from.number()?,
                    by: from.text()?,
                    what: from.text()?,
                })
            })?,
        };
        match from.0.len() {
            0 => Ok(record),
            rest => Err(CodecError::Rest(rest)),
        }
    }
}

fn put_number(to: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        to.put_u8((number as u8) | 0x80);
        number >>= 7;
    }
    to.put_u8(number as u8);
}

fn put_bytes(to: &mut BytesMut, bytes: &[u8]) {
    put_number(to, bytes.len() as u64);
    to.put_slice(bytes);
}

fn put_outcome(to: &mut BytesMut, outcome: Outcome) {
    to.put_u8(match outcome {
        Outcome::Committed => 0,
        Outcome::Aborted => 1,
    });
}

fn put_phase(to: &mut BytesMut, phase: Phase) {
    match phase {
        Phase::Active => to.put_u8(0),
        Phase::PreCommitting => to.put_u8(1),
        Phase::Committing => to.put_u8(2),
        Phase::Aborting => to.put_u8(3),
        Phase::Running { step } => {
            to.put_u8(4);
            put_number(to, u64::from(step));
        }
        Phase::Compensating { left } => {
            to.put_u8(5);
            put_number(to, u64::from(left));
        }
        Phase::Ended { outcome, at_ms } => {
            to.put_u8(6);
            put_outcome(to, outcome);
            put_number(to, at_ms);
        }
    }
}

fn put_standing(to: &mut BytesMut, standing: Standing) {
    match standing {
        Standing::Enlisted => to.put_u8(0),
        Standing::Released => to.put_u8(1),
        Standing::ByHand(outcome) => {
            to.put_u8(2);
            put_outcome(to, outcome);
        }
        Standing::Contrary(outcome) => {
            to.put_u8(3);
            put_outcome(to, outcome);
        }
    }
}

/// Reads from the front of bytes, and shares them.
struct Reader(Bytes);

impl Reader {
    fn byte(&mut self) -> Result<u8, CodecError> {
        self.0.try_get_u8().map_err(|_| CodecError::Short)
    }

    fn id(&mut self) -> Result<TransactionId, CodecError> {
        let id = self.0.try_get_u128().map_err(|_| CodecError::Short)?;
        Ok(TransactionId(id))
    }

    fn number(&mut self) -> Result<u64, CodecError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit; a last byte of nothing would be a second form
            // of the same number.
            if (shift == 63 && part > 1) || (shift > 0 && byte == 0) {
                return Err(CodecError::Number);
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(CodecError::Number)
    }

    fn step(&mut self) -> Result<u16, CodecError> {
        u16::try_from(self.number()?).map_err(|_| CodecError::Number)
    }

    /// A count of things of which each takes at least so many bytes: never more than can follow.
    fn count(&mut self, bytes_each: usize) -> Result<usize, CodecError> {
        let length = self.number()?;
        usize::try_from(length)
            .ok()
            .filter(|count| count.saturating_mul(bytes_each) <= self.0.len())
            .ok_or(CodecError::Length { length })
    }

    fn many<T>(
        &mut self,
        bytes_each: usize,
        mut one: impl FnMut(&mut Reader) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let count = self.count(bytes_each)?;
        (0..count).map(|_| one(self)).collect()
    }

    fn bytes(&mut self) -> Result<Bytes, CodecError> {
        let length = self.count(1)?;
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<String, CodecError> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| CodecError::Text)
    }

    fn outcome(&mut self) -> Result<Outcome, CodecError> {
        match self.byte()? {
            0 => Ok(Outcome::Committed),
            1 => Ok(Outcome::Aborted),
            mark => Err(CodecError::Mark(mark)),
        }
    }

    fn phase(&mut self) -> Result<Phase, CodecError> {
        Ok(match self.byte()? {
            0 => Phase::Active,
            1 => Phase::PreCommitting,
            2 => Phase::Committing,
            3 => Phase::Aborting,
            4 => Phase::Running { step: self.step()? },
            5 => Phase::Compensating { left: self.step()? },
            6 => Phase::Ended {
                outcome: self.outcome()?,
                at_ms: self.number()?,
            },
            mark => return Err(CodecError::Mark(mark)),
        })
    }

    fn standing(&mut self) -> Result<Standing, CodecError> {
        Ok(match self.byte()? {
            0 => Standing::Enlisted,
            1 => Standing::Released,
            2 => Standing::ByHand(self.outcome()?),
            3 => Standing::Contrary(self.outcome()?),
            mark => return Err(CodecError::Mark(mark)),
        })
    }
}
