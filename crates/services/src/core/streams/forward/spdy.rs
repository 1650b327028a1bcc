//! Port-forward over SPDY, plain or in messages of a WebSocket: for each connection the client
//! opens a stream for its error and one for its data, with the headers `streamType`, `port` and
//! `requestID`, which is the same for both.
//!
//! Invariants: a connection begins with its stream of data and is over when the port ended it,
//! one side broke it, or the client reset it; after that nothing is heard of it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::{
    Broken, ConnectionId, Conversation, Forward, Phase,
    spdy::{Event, Headers, ResetStatus, STREAMS_MAX, Session, StreamId},
};

/// The most connections that a client has open at once.
pub const CONNECTIONS_MAX: usize = STREAMS_MAX / 2;
/// The most bytes of a request's id. kubectl's are decimal numbers.
const REQUEST_BYTES_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Error,
    Data,
}

/// The streams of a connection.
#[derive(Default)]
struct Pair {
    request: String,
    error: Option<StreamId>,
    data: Option<StreamId>,
}

/// A conversation about ports over SPDY.
#[derive(Default)]
pub struct SpdyForward {
    session: Session,
    pairs: BTreeMap<ConnectionId, Pair>,
    requests: BTreeMap<String, ConnectionId>,
    streams: BTreeMap<StreamId, (ConnectionId, Role)>,
    connections: u64,
    has_ended: bool,
    has_left: bool,
}

/// What the headers of a stream ask for.
fn asked(stream: StreamId, headers: &Headers) -> Option<(Role, u16, String)> {
    let role = match headers.get("streamtype")?.as_str() {
        "error" => Role::Error,
        "data" => Role::Data,
        _ => return None,
    };
    let port = headers.get("port")?.parse().ok().filter(|port| *port > 0)?;
    let request = match headers.get("requestid").filter(|id| !id.is_empty()) {
        Some(id) if id.len() > REQUEST_BYTES_MAX => return None,
        Some(id) => id.clone(),
        // Clients that name no request open both streams one after the other.
        None if role == Role::Error => stream.0.to_string(),
        None => stream.0.checked_sub(2)?.to_string(),
    };
    Some((role, port, request))
}

impl SpdyForward {
    /// The connection of a request, which begins if it is new; none if there are too many.
    fn pair(&mut self, request: &str) -> Option<ConnectionId> {
        if let Some(id) = self.requests.get(request) {
            return Some(*id);
        }
        if self.pairs.len() >= CONNECTIONS_MAX {
            return None;
        }
        let id = ConnectionId(self.connections);
        self.connections += 1;
        self.requests.insert(request.to_owned(), id);
        let pair = Pair {
            request: request.to_owned(),
            ..Pair::default()
        };
        self.pairs.insert(id, pair);
        Some(id)
    }

    fn open(&mut self, stream: StreamId, headers: &Headers) -> Option<Forward> {
        let opened = self.try_open(stream, headers);
        let Some((id, role, port)) = opened else {
            self.session.reset(stream, ResetStatus::REFUSED_STREAM);
            return None;
        };
        self.streams.insert(stream, (id, role));
        self.session.accept(stream);
        (role == Role::Data).then_some(Forward::Open(id, port))
    }

    fn try_open(
        &mut self,
        stream: StreamId,
        headers: &Headers,
    ) -> Option<(ConnectionId, Role, u16)> {
        let (role, port, request) = asked(stream, headers)?;
        let id = self.pair(&request)?;
        let pair = self.pairs.get_mut(&id)?;
        let place = match role {
            Role::Error => &mut pair.error,
            Role::Data => &mut pair.data,
        };
        if place.is_some() {
            return None;
        }
        *place = Some(stream);
        Some((id, role, port))
    }

    fn take(&mut self, event: Event) -> Option<Forward> {
        match event {
            Event::Opened(stream, headers) => self.open(stream, &headers),
            Event::Data(stream, bytes) => match self.streams.get(&stream)? {
                (id, Role::Data) => Some(Forward::Data(*id, bytes)),
                _ => None,
            },
            Event::Finished(stream) => match self.streams.get(&stream)? {
                (id, Role::Data) => Some(Forward::End(*id)),
                _ => None,
            },
            Event::Reset(stream, _) => {
                let (id, role) = self.streams.remove(&stream)?;
                self.reset(id, role)
            }
            Event::GoneAway => {
                self.has_left = true;
                None
            }
        }
    }

    /// The client reset a stream of a connection.
    fn reset(&mut self, id: ConnectionId, role: Role) -> Option<Forward> {
        let pair = self.pairs.get_mut(&id)?;
        match role {
            Role::Error => {
                pair.error = None;
                if pair.data.is_none() {
                    self.forget(id);
                }
                None
            }
            Role::Data => {
                pair.data = None;
                self.finish(id);
                let message = "the client reset the connection".to_owned();
                Some(Forward::Failed(id, message))
            }
        }
    }

    /// Ends both streams of a connection.
    fn finish(&mut self, id: ConnectionId) {
        if let Some(pair) = self.forget(id) {
            for stream in [pair.data, pair.error].into_iter().flatten() {
                self.session.finish(stream);
            }
        }
    }

    fn forget(&mut self, id: ConnectionId) -> Option<Pair> {
        let pair = self.pairs.remove(&id)?;
        self.requests.remove(&pair.request);
        for stream in [pair.data, pair.error].into_iter().flatten() {
            self.streams.remove(&stream);
        }
        Some(pair)
    }

    #[cfg(test)]
    pub(super) fn open_count(&self) -> usize {
        assert_eq!(self.streams.len(), 2 * self.pairs.len());
        assert_eq!(self.requests.len(), self.pairs.len());
        self.pairs.len()
    }

    fn stream(&self, id: ConnectionId, role: Role) -> Option<StreamId> {
        let pair = self.pairs.get(&id)?;
        match role {
            Role::Error => pair.error,
            Role::Data => pair.data,
        }
    }
}

impl Conversation for SpdyForward {
    type Heard = Forward;
    type Said = Forward;

    fn receive(&mut self, message: Bytes) {
        self.session.feed(&message);
    }

    fn hear(&mut self) -> Result<Option<Forward>, Broken> {
        while let Some(event) = self.session.event()? {
            if let Some(heard) = self.take(event) {
                return Ok(Some(heard));
            }
        }
        Ok(None)
    }

    fn say(&mut self, said: Forward) {
        match said {
            Forward::Open(..) => {}
            Forward::Data(id, bytes) => {
                if let Some(stream) = self.stream(id, Role::Data) {
                    self.session.send(stream, &bytes);
                }
            }
            Forward::End(id) => self.finish(id),
            Forward::Failed(id, message) => {
                if let Some(stream) = self.stream(id, Role::Error) {
                    self.session.send(stream, message.as_bytes());
                }
                self.finish(id);
            }
        }
    }

    fn end(&mut self) {
        while let Some((id, _)) = self.pairs.first_key_value() {
            self.finish(*id);
        }
        self.session.go_away();
        self.has_ended = true;
    }

    fn phase(&self) -> Phase {
        match (self.has_left, self.has_ended) {
            (true, _) => Phase::Left,
            (_, true) => Phase::Ended,
            _ => Phase::Talking,
        }
    }

    fn transmit(&mut self) -> Option<Bytes> {
        self.session.transmit()
    }

    fn ping(&mut self) {
        self.session.ping();
    }
}
