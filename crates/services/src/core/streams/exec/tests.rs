use bytes::Bytes;
use serde_json::Value;

use super::{super::*, *};
use crate::core::streams::{
    channels::Coding,
    options::Streams,
    spdy::testing::{Client, Sent, data, reset},
    status::exited,
};

const ALL: Streams = Streams {
    stdin: true,
    stdout: true,
    stderr: true,
    tty: false,
};
const TERMINAL: Streams = Streams {
    stderr: false,
    tty: true,
    ..ALL
};

fn v5(streams: Streams) -> ChannelExec {
    ChannelExec::new(Coding::Binary, EndForm::Status, true, streams)
}

fn heard<C: Conversation>(conversation: &mut C, bytes: &[u8]) -> Vec<C::Heard> {
    conversation.receive(Bytes::copy_from_slice(bytes));
    std::iter::from_fn(|| conversation.hear().unwrap()).collect()
}

fn sent<C: Conversation>(conversation: &mut C) -> Vec<Bytes> {
    std::iter::from_fn(|| conversation.transmit()).collect()
}

fn stdin(bytes: &'static [u8]) -> ToContainer {
    ToContainer::Stdin(Bytes::from_static(bytes))
}

fn stdout(bytes: &'static [u8]) -> FromContainer {
    FromContainer::Stdout(Bytes::from_static(bytes))
}

fn stderr(bytes: &'static [u8]) -> FromContainer {
    FromContainer::Stderr(Bytes::from_static(bytes))
}

#[test]
fn channels_carry_a_process() {
    let mut exec = v5(ALL);
    assert_eq!(sent(&mut exec), [&[1][..]], "the sign that it is connected");
    assert_eq!(heard(&mut exec, b"\0hi"), [stdin(b"hi")]);
    assert_eq!(
        heard(&mut exec, b"\x04{\"Width\":80,\"Height\":24}\n"),
        [ToContainer::Resize {
            width: 80,
            height: 24
        }]
    );
    assert_eq!(heard(&mut exec, &[255, 0]), [ToContainer::StdinEnd]);
    // Nothing, an empty one, the ends of others, channels that are not for us.
    for message in [
        &b""[..],
        b"\0",
        b"\xff\x01",
        b"\xff\x04",
        b"\x01x",
        b"\x07x",
    ] {
        assert_eq!(heard(&mut exec, message), []);
    }
    exec.say(stdout(b"a"));
    exec.say(stdout(b""));
    exec.say(stderr(b"b"));
    assert_eq!(exec.phase(), Phase::Talking);
    exec.say(FromContainer::Ended(exited(3)));
    assert_eq!(exec.phase(), Phase::Ended);
    exec.say(stdout(b"late"));
    exec.end();
    let told = sent(&mut exec);
    assert_eq!(told[..2], [&b"\x01a"[..], b"\x02b"]);
    let (channel, status) = told[2].split_first().unwrap();
    let status: Value = serde_json::from_slice(status).unwrap();
    assert_eq!((*channel, status), (3, exited(3)));
    assert_eq!(told.len(), 3);
}

#[test]
fn a_large_message_is_heard_in_pieces() {
    let mut exec = v5(ALL);
    let mut message = vec![0; PIECE_BYTES_MAX + 2];
    message[1 + PIECE_BYTES_MAX] = 1;
    let pieces = heard(&mut exec, &message);
    let sizes: Vec<usize> = pieces
        .iter()
        .map(|piece| match piece {
            ToContainer::Stdin(bytes) => bytes.len(),
            _ => 0,
        })
        .collect();
    assert_eq!(sizes, [PIECE_BYTES_MAX, 1]);
    assert_eq!(pieces[1], stdin(b"\x01"));
}

#[test]
fn what_the_client_did_not_ask_for_is_not_carried() {
    let only_stderr = Streams {
        stderr: true,
        ..Streams::default()
    };
    let mut exec = v5(only_stderr);
    assert_eq!(heard(&mut exec, b"\0hi"), []);
    exec.say(stdout(b"a"));
    exec.say(stderr(b"b"));
    assert_eq!(sent(&mut exec), [&b"\x02"[..], b"\x02b"]);
}

#[test]
fn older_channels_have_no_end_and_tell_failures_in_words() {
    let mut exec = ChannelExec::new(Coding::Base64, EndForm::Text, false, ALL);
    assert_eq!(heard(&mut exec, b"0aGk="), [stdin(b"hi")]);
    assert_eq!(heard(&mut exec, &[255, 0]), []);
    exec.say(FromContainer::Ended(exited(0)));
    assert_eq!(sent(&mut exec), [&b"1"[..]]);
    let mut exec = ChannelExec::new(Coding::Binary, EndForm::Text, false, ALL);
    exec.end();
    let told = sent(&mut exec);
    let words = "\x03Internal error occurred: error executing command in container: the connection to the container was lost";
    assert_eq!(told[1], words);
}

#[test]
fn the_end_of_no_channel_breaks_it() {
    for message in [&[255][..], &[255, 0, 0]] {
        let mut exec = v5(ALL);
        exec.receive(Bytes::copy_from_slice(message));
        assert_eq!(exec.hear(), Err(Broken::Close(message.len())));
    }
}

fn open(client: &mut Client, kinds: &[&str]) -> Vec<u8> {
    let open = |kind: &&str| client.open(&[("streamtype", kind)]);
    kinds.iter().flat_map(open).collect()
}

fn sent_over_spdy(client: &mut Client, exec: &mut SpdyExec) -> Vec<Sent> {
    sent(exec)
        .into_iter()
        .flat_map(|bytes| client.read(bytes))
        .collect()
}

#[test]
fn spdy_carries_a_process() {
    let mut client = Client::default();
    let mut exec = SpdyExec::new(EndForm::Status, true, ALL);
    let streams = open(&mut client, &["error", "stdin", "stdout"]);
    assert_eq!(heard(&mut exec, &streams), []);
    assert_eq!(exec.phase(), Phase::Opening);
    let streams = open(&mut client, &["stderr", "stderr", "x"]);
    heard(&mut exec, &streams);
    assert_eq!(exec.phase(), Phase::Talking);
    let told = sent_over_spdy(&mut client, &mut exec);
    assert_eq!(told[4..], [Sent::Reset(9, 3), Sent::Reset(11, 3)]);

    assert_eq!(heard(&mut exec, &data(3, b"hi", false)), [stdin(b"hi")]);
    assert_eq!(heard(&mut exec, &data(1, b"?", true)), []);
    assert_eq!(
        heard(&mut exec, &data(3, b"", true)),
        [ToContainer::StdinEnd]
    );
    assert_eq!(heard(&mut exec, &reset(3)), [ToContainer::StdinEnd]);
    exec.say(stdout(b"a"));
    exec.say(stderr(b"b"));
    exec.say(FromContainer::Ended(exited(0)));
    exec.end();
    assert_eq!(exec.phase(), Phase::Ended);
    let status = exited(0).to_string().into_bytes();
    assert_eq!(
        sent_over_spdy(&mut client, &mut exec),
        [
            Sent::Data(5, b"a".to_vec()),
            Sent::Data(7, b"b".to_vec()),
            Sent::Data(1, status),
            Sent::Fin(1),
            Sent::Fin(5),
            Sent::Fin(7),
        ]
    );
}

#[test]
fn a_terminal_over_spdy_has_its_size() {
    let mut client = Client::default();
    let mut exec = SpdyExec::new(EndForm::Status, true, TERMINAL);
    let streams = open(&mut client, &["error", "stdin", "stdout"]);
    heard(&mut exec, &streams);
    assert_eq!(exec.phase(), Phase::Opening);
    let streams = open(&mut client, &["resize"]);
    heard(&mut exec, &streams);
    assert_eq!(exec.phase(), Phase::Talking);
    assert_eq!(
        heard(&mut exec, &data(7, b"{\"Width\":1,\"Height\":2}", false)),
        [ToContainer::Resize {
            width: 1,
            height: 2
        }]
    );
    // Version 2 has no sizes, and tells failures in words.
    let mut client = Client::default();
    let mut old = SpdyExec::new(EndForm::Text, false, TERMINAL);
    let streams = open(&mut client, &["error", "stdin", "stdout"]);
    heard(&mut old, &streams);
    assert_eq!(old.phase(), Phase::Talking);
    old.say(FromContainer::Ended(exited(2)));
    let told = sent_over_spdy(&mut client, &mut old);
    let words = b"command terminated with non-zero exit code: command terminated with exit code 2";
    assert!(told.contains(&Sent::Data(1, words.to_vec())));
}

#[test]
fn a_client_that_leaves_is_seen() {
    let mut exec = SpdyExec::new(EndForm::Status, true, ALL);
    heard(
        &mut exec,
        &[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    assert_eq!(exec.phase(), Phase::Left);
}
