//! The wires of exec and port-forward: whatever a client sends, they don't fall over, keep to
//! their bounds, and mean the same however the bytes are cut.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;

use crate::core::streams::{
    ConnectionId, Conversation, Forward, FromContainer, PIECE_BYTES_MAX, Phase, ToContainer,
    channels::Coding,
    exec::{ChannelExec, EndForm, SpdyExec},
    forward::{CONNECTIONS_MAX, ChannelForward, SpdyForward},
    options::{Ports, Streams},
    spdy::{Event, STREAMS_MAX, Session, SpdyError},
    status,
};

const ALL: Streams = Streams {
    stdin: true,
    stdout: true,
    stderr: true,
    tty: false,
};

/// Bytes of a client that speaks SPDY: to a session alone, to a process, to ports. The first
/// byte tells how the rest is cut.
pub fn streams_spdy(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let cut = usize::from(*cut).max(1);
    assert_eq!(session(bytes, cut), session(bytes, bytes.len().max(1)));
    let mut exec = SpdyExec::new(EndForm::Status, true, ALL);
    process(&mut exec, bytes.chunks(cut));
    let mut forward = SpdyForward::default();
    ports(&mut forward, bytes.chunks(cut));
}

/// Messages of channels, each behind a byte that is its length. The first byte chooses how they
/// are written.
pub fn streams_channels(bytes: &[u8]) {
    let Some((choice, mut bytes)) = bytes.split_first() else {
        return;
    };
    let mut messages = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (message, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        messages.push(message);
        bytes = rest;
    }
    let (coding, end_form) = match choice & 1 {
        0 => (Coding::Binary, EndForm::Status),
        _ => (Coding::Base64, EndForm::Text),
    };
    let mut exec = ChannelExec::new(coding, end_form, choice & 2 > 0, ALL);
    process(&mut exec, messages.iter().copied());
    let mut forward = ChannelForward::new(coding, &Ports(vec![80, 443]));
    ports(&mut forward, messages.into_iter());
}

/// What happens, with neighbouring pieces of data as one, and what is answered.
fn session(bytes: &[u8], cut: usize) -> (Vec<Event>, Option<SpdyError>, Vec<u8>) {
    let (mut session, mut events, mut sent) = (Session::default(), Vec::new(), Vec::new());
    let mut failed = None;
    for piece in bytes.chunks(cut) {
        session.feed(piece);
        loop {
            let event = match session.event() {
                Ok(None) => break,
                Ok(Some(event)) => event,
                Err(error) => {
                    assert_eq!(failed, None, "it fails once");
                    failed = Some(error);
                    continue;
                }
            };
            if let Event::Opened(stream, _) = &event {
                session.accept(*stream);
            }
            assert!(session.streams() <= STREAMS_MAX);
            match (events.last_mut(), event) {
                (Some(Event::Data(last, told)), Event::Data(stream, more)) if *last == stream => {
                    *told = [&told[..], &more[..]].concat().into();
                }
                (_, event) => events.push(event),
            }
        }
        sent.extend(session.transmit().unwrap_or_default());
    }
    (events, failed, sent)
}

/// A process that says what it hears.
fn process<'a, C>(exec: &mut C, messages: impl Iterator<Item = &'a [u8]>)
where
    C: Conversation<Heard = ToContainer, Said = FromContainer>,
{
    for message in messages {
        exec.receive(Bytes::copy_from_slice(message));
        loop {
            let heard = match exec.hear() {
                Ok(Some(heard)) => heard,
                Ok(None) => break,
                Err(_) => return,
            };
            if let ToContainer::Stdin(bytes) = heard {
                assert!(!bytes.is_empty() && bytes.len() <= PIECE_BYTES_MAX);
                if exec.phase() == Phase::Talking {
                    exec.say(FromContainer::Stdout(bytes));
                }
            }
        }
        while exec.transmit().is_some() {}
    }
    if exec.phase() == Phase::Talking {
        let ended: Value = status::exited(1);
        exec.say(FromContainer::Ended(ended));
        assert_eq!(exec.phase(), Phase::Ended);
    }
}

/// Ports that say what they hear; every third connection breaks.
fn ports<'a, C>(forward: &mut C, messages: impl Iterator<Item = &'a [u8]>)
where
    C: Conversation<Heard = Forward, Said = Forward>,
{
    let mut open: BTreeSet<ConnectionId> = BTreeSet::new();
    for message in messages {
        forward.receive(Bytes::copy_from_slice(message));
        loop {
            let heard = match forward.hear() {
                Ok(Some(heard)) => heard,
                Ok(None) => break,
                Err(_) => return,
            };
            match heard {
                Forward::Open(id, _) => {
                    assert!(open.insert(id), "each has an id of its own");
                    if id.0 % 3 == 2 {
                        open.remove(&id);
                        forward.say(Forward::Failed(id, "refused".to_owned()));
                    }
                }
                Forward::Data(id, bytes) => {
                    assert!(open.contains(&id) && bytes.len() <= PIECE_BYTES_MAX);
                    forward.say(Forward::Data(id, bytes));
                }
                Forward::End(id) => {
                    assert!(open.remove(&id));
                    forward.say(Forward::End(id));
                }
                Forward::Failed(id, _) => assert!(open.remove(&id)),
            }
            assert!(open.len() <= CONNECTIONS_MAX);
        }
        while forward.transmit().is_some() {}
    }
    if forward.phase() == Phase::Talking {
        forward.end();
        assert_eq!(forward.phase(), Phase::Ended);
    }
}
