//! Stories of connections: bytes in, bytes out, with everything behind the sessions in memory.
//!
//! ```text
//! > SET a 1            what the first connection sends, as one types it
//! +OK                  all it is sent, each line end a space; nothing, if nothing
//! b> GET a             what the connection `b` sends
//! $1 1
//! ```

mod acl;
mod client;
mod cluster;
mod command;
mod condition;
mod connection;
mod keyspace;
mod pipeline;
mod pubsub;
mod transaction;
mod world;

use bytes::{Bytes, BytesMut};

use super::*;
use crate::face::resp::{Limits, Parser};
use world::World;

const OPEN: Settings = Settings {
    auth_required: false,
    cluster: false,
};

const LOCKED: Settings = Settings {
    auth_required: true,
    cluster: false,
};

/// A session of these settings, where some may log in and then do everything.
fn session(id: u64, settings: Settings) -> Session {
    Session::new(id, settings).with_acl(world::acl())
}

/// Tells a story on connections of these settings.
fn story_with(settings: Settings, text: &str) {
    story_in(World::default(), settings, text);
}

fn story_in(mut world: World, settings: Settings, text: &str) {
    let mut clients: Vec<(String, Client)> = Vec::new();
    let mut lines = text.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (who, sent) = request(line).expect("who sends what");
        let expected = lines.next_if(|line| !line.is_empty() && request(line).is_none());
        let place = clients.iter().position(|(name, _)| name == who);
        let place = place.unwrap_or_else(|| {
            // Numbers from 3 on, as a Redis gives them.
            let mut client = Client::new(clients.len() as u64 + 3, settings);
            if let Some(acl) = &world.acl {
                client.session = Session::new(client.session.id, settings).with_acl(acl.clone());
            }
            if let Some(condition) = &world.condition {
                client.session = client.session.with_condition(condition.clone());
            }
            clients.push((who.to_owned(), client));
            clients.len() - 1
        });
        let client = &mut clients[place].1;
        client.send(sent, &mut world);
        assert_eq!(client.take(), expected.unwrap_or_default(), "{line}");
    }
}

/// Who sends what, if this is such a line.
fn request(line: &str) -> Option<(&str, &str)> {
    line.split_once("> ")
        .filter(|(who, _)| who.bytes().all(|byte| byte.is_ascii_lowercase()))
}

fn story(text: &str) {
    story_with(OPEN, text);
}

/// A connection and what is before and behind its session.
struct Client {
    session: Session,
    parser: Parser,
    received: BytesMut,
    sent: BytesMut,
    closed: bool,
}

impl Client {
    fn new(id: u64, settings: Settings) -> Self {
        Client {
            session: session(id, settings),
            parser: Parser::new(Limits::default()),
            received: BytesMut::new(),
            sent: BytesMut::new(),
            closed: false,
        }
    }

    /// One request after the other.
    fn send(&mut self, line: &str, world: &mut World) {
        self.received.extend_from_slice(line.as_bytes());
        self.received.extend_from_slice(b"\r\n");
        while !self.closed {
            let known = self.session.is_authenticated();
            let Some(words) = self.parser.next(&mut self.received, known).unwrap() else {
                return;
            };
            let mut step = self.session.handle(words, &mut self.sent);
            loop {
                step = match step {
                    Step::Done => break,
                    Step::Close => {
                        self.closed = true;
                        break;
                    }
                    Step::Ask(ask, ticket) => {
                        let heard = world.answer(ask, &self.session);
                        self.session.finish(ticket, heard, &mut self.sent)
                    }
                };
            }
        }
    }

    /// Everything it was sent since last time.
    fn take(&mut self) -> String {
        let mut text = String::from_utf8_lossy(&self.sent.split())
            .trim_end()
            .replace("\r\n", " ");
        if std::mem::take(&mut self.closed) {
            text.push_str(" (closed)");
        }
        text
    }

    /// What a message looks like to it.
    fn hear(&mut self, message: &Message<'_>) -> String {
        self.session.deliver(message, &mut self.sent);
        self.take()
    }
}
