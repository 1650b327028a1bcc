//! One connection: which streams are open, and what may still come on each.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    SpdyError,
    frame::{Frame, FrameReader, FrameWriter, ResetStatus, StreamId},
    headers::{Deflater, Headers, Inflater},
};

/// The most streams that a client has open at once: two for each forwarded connection.
pub const STREAMS_MAX: usize = 1_024;

/// What the client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It opened a stream, and waits for [`Session::accept`] or [`Session::reset`].
    Opened(StreamId, Headers),
    /// It sent bytes.
    Data(StreamId, Bytes),
    /// It sends nothing more on the stream.
    Finished(StreamId),
    /// Nothing more goes over the stream, either way.
    Reset(StreamId, ResetStatus),
    /// It is about to leave.
    GoneAway,
}

#[derive(Clone, Copy, Default)]
struct Stream {
    is_received: bool,
    is_sent: bool,
}

/// The server's side of a connection.
pub struct Session {
    reader: FrameReader,
    writer: FrameWriter,
    inflater: Inflater,
    deflater: Deflater,
    streams: BTreeMap<StreamId, Stream>,
    /// The last stream that was opened.
    last: u32,
    /// What follows from the same frame as the event before.
    next: Option<Event>,
    has_failed: bool,
}

impl Default for Session {
    fn default() -> Self {
        Session {
            reader: FrameReader::default(),
            writer: FrameWriter::default(),
            inflater: Inflater::new(),
            deflater: Deflater::new(),
            streams: BTreeMap::new(),
            last: 0,
            next: None,
            has_failed: false,
        }
    }
}

impl Session {
    /// Takes bytes. Ask [`Session::event`] until it has none before more are fed.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !self.has_failed {
            self.reader.feed(bytes);
        }
    }

    /// What the client did next.
    ///
    /// # Errors
    /// The connection can't go on.
    pub fn event(&mut self) -> Result<Option<Event>, SpdyError> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        while !self.has_failed {
            let read = self.reader.next().and_then(|frame| match frame {
                Some(frame) => self.take(frame).map(Some),
                None => Ok(None),
            });
            match read {
                Ok(None) => break,
                Ok(Some(None)) => {}
                Ok(Some(event)) => return Ok(event),
                Err(error) => {
                    self.has_failed = true;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn take(&mut self, frame: Frame) -> Result<Option<Event>, SpdyError> {
        Ok(match frame {
            Frame::SynStream {
                stream,
                fin,
                unidirectional,
                block,
            } => {
                let headers = self.inflater.read(&block)?;
                self.open(stream, unidirectional, fin, headers)
            }
            Frame::Headers { stream, fin, block } => {
                self.inflater.read(&block)?;
                match fin {
                    true => self.finish_received(stream),
                    false => None,
                }
            }
            Frame::RstStream { stream, status } => {
                let was_open = self.streams.remove(&stream).is_some();
                was_open.then_some(Event::Reset(stream, status))
            }
            Frame::Ping { id } => {
                // Those with even numbers are answers to our own.
                if id % 2 == 1 {
                    self.writer.ping(id);
                }
                None
            }
            Frame::GoAway => Some(Event::GoneAway),
            Frame::Data { stream, bytes, fin } => self.take_data(stream, bytes, fin),
        })
    }

    fn open(
        &mut self,
        stream: StreamId,
        unidirectional: bool,
        fin: bool,
        headers: Headers,
    ) -> Option<Event> {
        if stream.0.is_multiple_of(2) || stream.0 <= self.last {
            let was_open = self.streams.contains_key(&stream);
            let status = ResetStatus::PROTOCOL_ERROR;
            self.reset(stream, status);
            return was_open.then_some(Event::Reset(stream, status));
        }
        self.last = stream.0;
        if self.streams.len() >= STREAMS_MAX {
            self.reset(stream, ResetStatus::REFUSED_STREAM);
            return None;
        }
        let state = Stream {
            is_received: false,
            is_sent: unidirectional,
        };
        self.streams.insert(stream, state);
        if fin {
            self.next = self.finish_received(stream);
        }
        Some(Event::Opened(stream, headers))
    }

    /// Data for a stream that is no more was sent before the client knew.
    fn take_data(&mut self, stream: StreamId, bytes: Bytes, fin: bool) -> Option<Event> {
        let is_awaited = |stream: &Stream| !stream.is_received;
        if !self.streams.get(&stream).is_some_and(is_awaited) {
            return None;
        }
        let finished = match fin {
            true => self.finish_received(stream),
            false => None,
        };
        if bytes.is_empty() {
            return finished;
        }
        self.next = finished;
        Some(Event::Data(stream, bytes))
    }

    fn finish_received(&mut self, stream: StreamId) -> Option<Event> {
        let state = self.streams.get_mut(&stream)?;
        if state.is_received {
            return None;
        }
        state.is_received = true;
        self.forget(stream);
        Some(Event::Finished(stream))
    }

    fn forget(&mut self, stream: StreamId) {
        let is_over = |state: &Stream| state.is_received && state.is_sent;
        if self.streams.get(&stream).is_some_and(is_over) {
            self.streams.remove(&stream);
        }
    }

    /// Takes a stream that was opened. Clients drop data that comes before.
    pub fn accept(&mut self, stream: StreamId) {
        let block = self.deflater.write(&Headers::new());
        self.writer.syn_reply(stream, &block);
    }

    /// Ends a stream both ways.
    pub fn reset(&mut self, stream: StreamId, status: ResetStatus) {
        self.streams.remove(&stream);
        self.writer.rst_stream(stream, status);
    }

    /// Sends bytes; nowhere, if the stream is no more.
    pub fn send(&mut self, stream: StreamId, bytes: &[u8]) {
        if self.streams.get(&stream).is_some_and(|it| !it.is_sent) {
            self.writer.data(stream, bytes);
        }
    }

    /// Says that nothing more is sent on the stream.
    pub fn finish(&mut self, stream: StreamId) {
        if let Some(state) = self.streams.get_mut(&stream)
            && !state.is_sent
        {
            state.is_sent = true;
            self.writer.fin(stream);
            self.forget(stream);
        }
    }

    /// Asks for a sign of life, which is not waited for.
    pub fn ping(&mut self) {
        self.writer.ping(2);
    }

    /// Says goodbye: after what went well, or after an error of the client.
    pub fn go_away(&mut self) {
        const OK: u32 = 0;
        const PROTOCOL_ERROR: u32 = 1;
        let status = if self.has_failed { PROTOCOL_ERROR } else { OK };
        self.writer.go_away(self.last, status);
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// What is to be sent.
    pub fn transmit(&mut self) -> Option<Bytes> {
        (!self.writer.is_empty()).then(|| self.writer.take())
    }
}
