use bytes::Bytes;
use proptest::prelude::*;

use super::{
    testing::{Client, Sent, control, data, reset},
    *,
};

/// What github.com/moby/spdystream writes for a port-forward: two streams, the end of the first,
/// a request, a ping, settings, a window, more headers, a reset, a stream that ends at once, a
/// goodbye.
const CLIENT: [&str; 11] = [
    "800300010000003e0000000100000000000078f9e3c6a7c202253a060606ce2248fc6482d22da30138e59514a526\
     e6420b17d65450d0430aea22709eb030b03000000000ffff",
    "800300010000001800000003000000000000225233a8644a44d70b000000ffff",
    "0000000101000000",
    "0000000300000012474554202f20485454502f312e300d0a0d0a",
    "800300060000000400000001",
    "800300040000000c000000010000000700010000",
    "8003000900000008000000030000000a",
    "800300080000001300000003022905e10a7041cc9004000000ffff",
    "80030003000000080000000300000005",
    "80030001010000140000000500000000000082f2b1e804000000ffff",
    "80030007000000080000000000000000",
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// All that happens, each stream accepted; neighbouring pieces of data as one.
fn events(session: &mut Session) -> Result<Vec<Event>, SpdyError> {
    let mut all = Vec::new();
    while let Some(event) = session.event()? {
        if let Event::Opened(stream, _) = &event {
            session.accept(*stream);
        }
        match (all.last_mut(), event) {
            (Some(Event::Data(last, told)), Event::Data(stream, bytes)) if *last == stream => {
                *told = [&told[..], &bytes[..]].concat().into();
            }
            (_, event) => all.push(event),
        }
    }
    Ok(all)
}

fn expected() -> Vec<Event> {
    let opened = |stream, kind| {
        let pairs = [("streamtype", kind), ("port", "8080"), ("requestid", "0")];
        Event::Opened(StreamId(stream), headers(&pairs))
    };
    vec![
        opened(1, "error"),
        opened(3, "data"),
        Event::Finished(StreamId(1)),
        Event::Data(StreamId(3), Bytes::from_static(b"GET / HTTP/1.0\r\n\r\n")),
        Event::Reset(StreamId(3), ResetStatus::CANCEL),
        Event::Opened(StreamId(5), headers(&[("streamtype", "data")])),
        Event::Finished(StreamId(5)),
        Event::GoneAway,
    ]
}

#[test]
fn frames_of_a_client_are_read() {
    let mut session = Session::default();
    session.feed(&bytes(&CLIENT.concat()));
    assert_eq!(events(&mut session), Ok(expected()));
    let sent = session.transmit().unwrap();
    let reply = |stream| Sent::Reply(stream, Headers::new());
    assert_eq!(
        Client::default().read(sent),
        [reply(1), reply(3), Sent::Ping(1), reply(5)]
    );
    // The error of the first connection and the stream of the second can still be written.
    assert_eq!(session.streams(), 2);
}

#[test]
fn what_is_sent_has_the_form_of_the_draft() {
    let mut session = Session::default();
    let mut client = Client::default();
    session.feed(&client.open(&[]));
    session.feed(&client.open(&[]));
    events(&mut session).unwrap();
    session.send(StreamId(1), b"hi");
    session.finish(StreamId(1));
    session.reset(StreamId(3), ResetStatus::CANCEL);
    session.ping();
    session.go_away();
    let frames = [
        "00000001000000026869",
        "0000000101000000",
        "80030003000000080000000300000005",
        "800300060000000400000002",
        "80030007000000080000000300000000",
    ];
    let frames = bytes(&frames.concat());
    let sent = session.transmit().unwrap();
    let (replies, rest) = sent.split_at(sent.len() - frames.len());
    assert_eq!(rest, frames);
    // What the compressor makes of no headers is for whoever reads it.
    let reply = |stream| Sent::Reply(stream, Headers::new());
    let replies = Bytes::copy_from_slice(replies);
    assert_eq!(client.read(replies), [reply(1), reply(3)]);
}

#[test]
fn large_data_passes_in_both_directions() {
    let mut session = Session::default();
    let mut client = Client::default();
    session.feed(&client.open(&[]));
    let large: Vec<u8> = (0..200_000u32).map(|at| at as u8).collect();
    session.feed(&data(1, &large, true));
    let mut received = Vec::new();
    while let Some(event) = session.event().unwrap() {
        match event {
            Event::Opened(stream, _) => session.accept(stream),
            Event::Data(_, piece) => {
                assert!(piece.len() <= crate::core::streams::PIECE_BYTES_MAX);
                received.extend_from_slice(&piece);
            }
            other => assert_eq!(other, Event::Finished(StreamId(1))),
        }
    }
    assert_eq!(received, large);
    session.send(StreamId(1), &large);
    session.finish(StreamId(1));
    assert_eq!(session.streams(), 0);
    session.send(StreamId(1), b"too late");
    let sent = client.read(session.transmit().unwrap());
    let sent: Vec<u8> = sent
        .into_iter()
        .flat_map(|sent| match sent {
            Sent::Data(1, bytes) => bytes,
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(sent, large);
}

#[test]
fn streams_that_may_not_be_are_reset() {
    let mut session = Session::default();
    let mut client = Client::default();
    for stream in [3, 3, 1, 4] {
        session.feed(&client.open_as(stream, 0, &[]));
    }
    let told = events(&mut session).unwrap();
    let broken = Event::Reset(StreamId(3), ResetStatus::PROTOCOL_ERROR);
    assert_eq!(told[1..], [broken]);
    let sent = client.read(session.transmit().unwrap());
    // A second stream 3 breaks the first, too.
    assert_eq!(
        sent[1..],
        [Sent::Reset(3, 1), Sent::Reset(1, 1), Sent::Reset(4, 1)]
    );
    let mut session = Session::default();
    let mut client = Client::default();
    for _ in 0..STREAMS_MAX + 1 {
        session.feed(&client.open(&[]));
    }
    assert_eq!(events(&mut session).unwrap().len(), STREAMS_MAX);
    let sent = client.read(session.transmit().unwrap());
    let refused = u32::try_from(2 * STREAMS_MAX + 1).unwrap();
    assert_eq!(sent.last(), Some(&Sent::Reset(refused, 3)));
    // The state of compression is as if it had been taken.
    session.feed(&reset(1));
    session.feed(&client.open(&[("a", "b")]));
    let last = events(&mut session).unwrap().pop();
    assert!(matches!(last, Some(Event::Opened(_, read)) if read == headers(&[("a", "b")])));
}

#[test]
fn what_comes_after_the_end_of_a_stream_is_dropped() {
    let mut session = Session::default();
    let mut client = Client::default();
    session.feed(&client.open(&[]));
    session.feed(&data(1, b"a", true));
    session.feed(&data(1, b"b", true));
    session.feed(&data(7, b"c", true));
    session.feed(&reset(7));
    session.feed(&client.open_as(9, 3, &[]));
    let told = events(&mut session).unwrap();
    let first = [
        Event::Opened(StreamId(1), Headers::new()),
        Event::Data(StreamId(1), Bytes::from_static(b"a")),
        Event::Finished(StreamId(1)),
        Event::Opened(StreamId(9), Headers::new()),
        Event::Finished(StreamId(9)),
    ];
    assert_eq!(told, first);
}

#[test]
fn a_broken_connection_stays_broken() {
    let cases = [
        (control(1, 0, &[0; 9]), SpdyError::Frame),
        (control(3, 0, &[0, 0, 0, 1]), SpdyError::Frame),
        (control(3, 0, &[0; 8]), SpdyError::Frame),
        (data(0, b"", false), SpdyError::Frame),
        (
            vec![0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1],
            SpdyError::Version(2),
        ),
        (
            vec![0x80, 3, 0, 1, 0, 0xff, 0, 0],
            SpdyError::FrameTooLarge(0xff_0000),
        ),
        (
            control(8, 0, &[0, 0, 0, 1, 1, 2, 3]),
            SpdyError::Compression,
        ),
        (control(2, 0, &[0, 0, 0, 1]), SpdyError::Headers),
    ];
    for (sent, error) in cases {
        let mut session = Session::default();
        session.feed(&sent);
        let told = events(&mut session);
        assert_eq!(told, Err(error), "{sent:02x?}");
        session.feed(&Client::default().open(&[]));
        assert_eq!(session.event(), Ok(None));
        session.go_away();
        let sent = Client::default().read(session.transmit().unwrap());
        assert_eq!(sent, [Sent::GoAway(0, 1)]);
    }
}

proptest! {
    #[test]
    fn it_does_not_matter_how_bytes_are_cut(cuts in prop::collection::vec(1..40usize, 1..50)) {
        let all = bytes(&CLIENT.concat());
        let mut session = Session::default();
        let mut told = Vec::new();
        let mut rest = &all[..];
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            session.feed(now);
            told.extend(events(&mut session).unwrap());
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let data: Vec<u8> = told.iter().flat_map(|event| match event {
            Event::Data(_, bytes) => bytes.to_vec(),
            _ => Vec::new(),
        }).collect();
        prop_assert_eq!(&data[..], b"GET / HTTP/1.0\r\n\r\n");
        told.retain(|event| !matches!(event, Event::Data(..)));
        let mut expected = expected();
        expected.retain(|event| !matches!(event, Event::Data(..)));
        prop_assert_eq!(told, expected);
    }
}
