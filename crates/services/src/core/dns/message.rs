//! Messages of clients, and of the resolvers that are asked for them (RFC 1035, RFC 6891).
//!
//! A client's message is read once: what can't be served is refused at once, and a response is
//! never answered, so that two servers can't talk to each other for ever. What is answered fits in
//! what the client can take; of an answer that does not, as many records as fit are told, with the
//! flag TC, by which the client asks again over TCP.
//!
//! A name of somebody else goes to a resolver as the client has asked, with another id, and comes
//! back as the resolver has answered: nothing in between is lost.

use hickory_proto::{
    op::{
        Edns, Header, Message, MessageType, Metadata, OpCode, Query as Asked, ResponseCode,
        emit_message_parts,
    },
    rr::{DNSClass, Name, RecordType},
    serialize::binary::{BinDecodable as _, BinDecoder, BinEncoder},
};

use super::{
    Index, RECORDS_MAX, Zone,
    answer::{self, Answer, Question},
};

/// The longest message that is read from a client, in bytes.
pub const QUERY_BYTES_MAX: usize = 4_096;
/// What a client can take that says nothing about it.
const PLAIN_BYTES_MAX: u16 = 512;
/// What is sent at most in one datagram, whatever the client could take: so nothing is cut into
/// fragments on the way.
const DATAGRAM_BYTES_MAX: u16 = 1_232;
/// No record of an answer takes less.
const RECORD_BYTES_MIN: usize = 14;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// As one datagram.
    Udp,
    /// In a stream, behind its length.
    Tcp,
}

/// A client's question, and what its answer may be.
#[derive(Clone, Debug)]
pub struct Query {
    metadata: Metadata,
    asked: Asked,
    edns: Option<Edns>,
    /// So many bytes the answer may have.
    limit: u16,
    /// As it came.
    bytes: Vec<u8>,
}

/// What is to be done for a question.
#[derive(Debug)]
pub enum Outcome {
    /// This is to be sent.
    Reply(Vec<u8>),
    /// Somebody else is to be asked.
    Forward,
    /// Somebody else is to be asked for what this one ends with.
    Follow(Box<Follow>),
}

/// An answer that ends with a name of somebody else.
#[derive(Debug)]
pub struct Follow {
    answer: Answer,
    asked: Asked,
}

impl Query {
    /// Reads a client's message.
    ///
    /// # Errors
    /// It can't be served: what is to be sent for it, if anything.
    pub fn read(bytes: &[u8], transport: Transport) -> Result<Query, Option<Vec<u8>>> {
        // The counts are looked at before room is made for so many.
        let header = Header::read(&mut BinDecoder::new(bytes)).map_err(|_| None)?;
        if header.metadata.message_type != MessageType::Query || bytes.len() > QUERY_BYTES_MAX {
            return Err(None);
        }
        let refused = |code| {
            let mut message = Message::response(header.metadata.id, header.metadata.op_code);
            message.metadata = Metadata::response_from_request(&header.metadata);
            message.metadata.response_code = code;
            Some(encoded(message, PLAIN_BYTES_MAX))
        };
        if header.metadata.op_code != OpCode::Query {
            return Err(refused(ResponseCode::NotImp));
        }
        if header.counts.queries != 1 {
            return Err(refused(ResponseCode::FormErr));
        }
        let message = Message::from_vec(bytes).map_err(|_| refused(ResponseCode::FormErr))?;
        let Some(asked) = message.queries.into_iter().next() else {
            return Err(refused(ResponseCode::FormErr));
        };
        let can_take = message.edns.as_ref().map(Edns::max_payload);
        let query = Query {
            metadata: message.metadata,
            asked,
            limit: match transport {
                Transport::Udp => can_take.map_or(PLAIN_BYTES_MAX, |bytes| {
                    bytes.clamp(PLAIN_BYTES_MAX, DATAGRAM_BYTES_MAX)
                }),
                Transport::Tcp => u16::MAX,
            },
            edns: message.edns,
            bytes: bytes.to_vec(),
        };
        let is_newer = query.edns.as_ref().is_some_and(|edns| edns.version() > 0);
        if is_newer {
            return Err(Some(query.failed(ResponseCode::BADVERS)));
        }
        let is_transfer = matches!(
            query.asked.query_type,
            RecordType::AXFR | RecordType::IXFR | RecordType::OPT
        );
        let is_internet = matches!(query.asked.query_class, DNSClass::IN | DNSClass::ANY);
        match is_transfer || !is_internet {
            true => Err(Some(query.failed(ResponseCode::Refused))),
            false => Ok(query),
        }
    }

    /// Answers, as far as that can be done here.
    pub fn answer(&self, index: &Index, zone: &Zone) -> Outcome {
        let question = Question {
            name: self.asked.name.clone(),
            kind: self.asked.query_type,
            turn: usize::from(self.metadata.id),
            records_max: (usize::from(self.limit) / RECORD_BYTES_MIN).min(RECORDS_MAX),
        };
        match answer::answer(index, zone, &question) {
            None => Outcome::Forward,
            Some(answer) => match answer.leads_to.clone() {
                None => Outcome::Reply(self.told(answer)),
                Some(target) => Outcome::Follow(Box::new(Follow {
                    answer,
                    asked: Asked::query(target, self.asked.query_type),
                })),
            },
        }
    }

    /// The reply that it can't be answered.
    pub fn failed(&self, code: ResponseCode) -> Vec<u8> {
        encoded(self.reply(code), self.limit)
    }

    /// Whether a name is the zone's, or below it.
    pub fn is_inside(&self, zone: &Zone) -> bool {
        zone.name.zone_of(&self.asked.name)
    }

    /// As it came, with another id: for a resolver.
    pub fn forwarded(&self, id: u16) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        set_id(&mut bytes, id);
        bytes
    }

    /// What the client is told of a resolver's reply; none: that is no reply to it.
    pub fn relayed(&self, id: u16, mut reply: Vec<u8>) -> Option<Vec<u8>> {
        is_reply(&reply, id, &self.asked).then_some(())?;
        if reply.len() > usize::from(self.limit) {
            let mut message = self.reply(ResponseCode::NoError);
            message.metadata.truncation = true;
            return Some(encoded(message, self.limit));
        }
        set_id(&mut reply, self.metadata.id);
        Some(reply)
    }

    /// What the client is told of an answer whose end somebody else knows: without their reply,
    /// that it failed.
    pub fn joined(&self, follow: Follow, reply: Option<Message>) -> Vec<u8> {
        let mut answer = follow.answer;
        match reply {
            Some(reply) => {
                answer.code = match reply.metadata.response_code {
                    code @ (ResponseCode::NoError | ResponseCode::NXDomain) => code,
                    _ => ResponseCode::ServFail,
                };
                let theirs = reply.answers.into_iter().take(RECORDS_MAX);
                answer.records.extend(theirs);
            }
            None => answer.code = ResponseCode::ServFail,
        }
        self.told(answer)
    }

    fn reply(&self, code: ResponseCode) -> Message {
        let mut message = Message::response(self.metadata.id, self.metadata.op_code);
        message.metadata = Metadata::response_from_request(&self.metadata);
        message.metadata.recursion_available = true;
        message.metadata.response_code = code;
        message.add_query(self.asked.clone());
        if self.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(DATAGRAM_BYTES_MAX);
            message.set_edns(edns);
        }
        message
    }

    fn told(&self, answer: Answer) -> Vec<u8> {
        let mut message = self.reply(answer.code);
        // What follows another name's end is not known here first hand.
        message.metadata.authoritative = answer.leads_to.is_none();
        message.metadata.truncation = answer.is_cut;
        message.answers = answer.records;
        message.authorities = answer.authority.into_iter().collect();
        message.additionals = answer.additional;
        encoded(message, self.limit)
    }
}

impl Follow {
    /// The question for a resolver.
    pub fn question(&self, id: u16) -> Vec<u8> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(self.asked.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(DATAGRAM_BYTES_MAX);
        message.set_edns(edns);
        encoded(message, PLAIN_BYTES_MAX)
    }

    /// A resolver's reply; none: that is no reply to it.
    pub fn read(&self, id: u16, reply: &[u8]) -> Option<Message> {
        is_reply(reply, id, &self.asked).then_some(())?;
        Message::from_vec(reply).ok()
    }

    /// The name that is asked for.
    pub fn target(&self) -> &Name {
        &self.asked.name
    }
}

/// Whether a resolver's message replies to a question.
fn is_reply(bytes: &[u8], id: u16, asked: &Asked) -> bool {
    let mut decoder = BinDecoder::new(bytes);
    let Ok(header) = Header::read(&mut decoder) else {
        return false;
    };
    header.metadata.message_type == MessageType::Response
        && header.metadata.id == id
        && header.counts.queries == 1
        && Asked::read(&mut decoder).is_ok_and(|it| it == *asked)
}

/// The id is what a message begins with.
fn set_id(message: &mut [u8], id: u16) {
    if let Some(first) = message.first_chunk_mut() {
        *first = id.to_be_bytes();
    }
}

/// The message in at most so many bytes.
fn encoded(mut message: Message, limit: u16) -> Vec<u8> {
    loop {
        let mut bytes = Vec::with_capacity(usize::from(PLAIN_BYTES_MAX));
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(limit);
        let written = emit_message_parts(
            &message.metadata,
            &mut message.queries.iter(),
            &mut message.answers.iter(),
            &mut message.authorities.iter(),
            &mut message.additionals.iter(),
            message.edns.as_ref(),
            None,
            &mut encoder,
        );
        let fits = written.is_ok_and(|header| {
            header.metadata.truncation == message.metadata.truncation
                && usize::from(header.counts.answers) == message.answers.len()
                && usize::from(header.counts.additionals)
                    == message.additionals.len() + usize::from(message.edns.is_some())
        });
        if fits {
            return bytes;
        }
        // A question, and a word about the message, always fit; so this comes to an end.
        if !message.additionals.is_empty() {
            message.additionals.clear();
        } else if !message.answers.is_empty() {
            message.metadata.truncation = true;
            message.answers.truncate(message.answers.len() / 2);
        } else if !message.authorities.is_empty() {
            message.metadata.truncation = true;
            message.authorities.clear();
        } else {
            return bytes;
        }
    }
}
