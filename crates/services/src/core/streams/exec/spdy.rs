//! Exec and attach over SPDY: a stream each for how it ended, standard input, standard output,
//! standard error and the sizes of the terminal, as the header `streamType` tells.

use bytes::Bytes;

use super::{
    super::{
        Broken, Conversation, FromContainer, Phase, ToContainer,
        options::Streams,
        resize::Resizes,
        spdy::{Event, Headers, ResetStatus, Session, StreamId},
    },
    EndForm, lost,
};

/// What a stream is for; its place in the table of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Error,
    Stdin,
    Stdout,
    Stderr,
    Resize,
}

const ROLES: [(&str, Role); 5] = [
    ("error", Role::Error),
    ("stdin", Role::Stdin),
    ("stdout", Role::Stdout),
    ("stderr", Role::Stderr),
    ("resize", Role::Resize),
];

/// A conversation about a process over SPDY.
pub struct SpdyExec {
    session: Session,
    end_form: EndForm,
    streams: Streams,
    has_resize: bool,
    open: [Option<StreamId>; ROLES.len()],
    resizes: Resizes,
    has_ended: bool,
    has_left: bool,
}

impl SpdyExec {
    /// Begins it. `has_resize`: clients of the protocol send sizes (since version 3).
    pub fn new(end_form: EndForm, has_resize: bool, streams: Streams) -> Self {
        SpdyExec {
            session: Session::default(),
            end_form,
            streams,
            has_resize,
            open: [None; ROLES.len()],
            resizes: Resizes::default(),
            has_ended: false,
            has_left: false,
        }
    }

    /// Whether the client opens such a stream.
    fn expects(&self, role: Role) -> bool {
        match role {
            Role::Error => true,
            Role::Stdin => self.streams.stdin,
            Role::Stdout => self.streams.stdout,
            Role::Stderr => self.streams.stderr,
            Role::Resize => self.streams.tty && self.has_resize,
        }
    }

    fn is_open(&self) -> bool {
        let is_there = |(_, role): &(&str, Role)| self.open[*role as usize].is_some();
        ROLES
            .iter()
            .all(|role| is_there(role) || !self.expects(role.1))
    }

    fn role(&self, stream: StreamId) -> Option<Role> {
        let is_it = |(_, role): &&(&str, Role)| self.open[*role as usize] == Some(stream);
        ROLES.iter().find(is_it).map(|(_, role)| *role)
    }

    fn open(&mut self, stream: StreamId, headers: &Headers) {
        let name = headers.get("streamtype").map(String::as_str);
        let role = ROLES.iter().find(|(known, _)| Some(*known) == name);
        match role {
            Some((_, role)) if self.open[*role as usize].is_none() => {
                self.open[*role as usize] = Some(stream);
                self.session.accept(stream);
            }
            _ => self.session.reset(stream, ResetStatus::REFUSED_STREAM),
        }
    }

    fn take(&mut self, event: Event) -> Option<ToContainer> {
        match event {
            Event::Opened(stream, headers) => {
                self.open(stream, &headers);
                None
            }
            Event::Data(stream, bytes) => match self.role(stream)? {
                Role::Stdin => Some(ToContainer::Stdin(bytes)),
                Role::Resize => {
                    let (width, height) = self.resizes.read(&bytes)?;
                    Some(ToContainer::Resize { width, height })
                }
                _ => None,
            },
            Event::Finished(stream) | Event::Reset(stream, _) => {
                let is_stdin = self.role(stream) == Some(Role::Stdin);
                is_stdin.then_some(ToContainer::StdinEnd)
            }
            Event::GoneAway => {
                self.has_left = true;
                None
            }
        }
    }

    fn send(&mut self, role: Role, bytes: &[u8]) {
        if let Some(stream) = self.open[role as usize] {
            self.session.send(stream, bytes);
        }
    }
}

impl Conversation for SpdyExec {
    type Heard = ToContainer;
    type Said = FromContainer;

    fn receive(&mut self, message: Bytes) {
        self.session.feed(&message);
    }

    fn hear(&mut self) -> Result<Option<ToContainer>, Broken> {
        while let Some(event) = self.session.event()? {
            if let Some(heard) = self.take(event) {
                return Ok(Some(heard));
            }
        }
        Ok(None)
    }

    fn say(&mut self, said: FromContainer) {
        if self.phase() != Phase::Talking {
            return;
        }
        match said {
            FromContainer::Stdout(bytes) => self.send(Role::Stdout, &bytes),
            FromContainer::Stderr(bytes) => self.send(Role::Stderr, &bytes),
            FromContainer::Ended(status) => {
                if let Some(end) = self.end_form.write(&status) {
                    self.send(Role::Error, end.as_bytes());
                }
                for stream in self.open.into_iter().flatten() {
                    self.session.finish(stream);
                }
                self.has_ended = true;
            }
        }
    }

    fn end(&mut self) {
        self.say(FromContainer::Ended(lost()));
    }

    fn phase(&self) -> Phase {
        match (self.has_left, self.has_ended, self.is_open()) {
            (true, ..) => Phase::Left,
            (_, true, _) => Phase::Ended,
            (.., true) => Phase::Talking,
            (.., false) => Phase::Opening,
        }
    }

    fn transmit(&mut self) -> Option<Bytes> {
        self.session.transmit()
    }

    fn ping(&mut self) {
        self.session.ping();
    }
}
