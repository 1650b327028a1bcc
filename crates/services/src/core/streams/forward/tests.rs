use bytes::Bytes;
use proptest::prelude::*;

use super::{super::*, *};
use crate::core::streams::{
    channels::Coding,
    options::Ports,
    spdy::testing::{Client, Sent, data, reset},
};

const A: ConnectionId = ConnectionId(0);
const B: ConnectionId = ConnectionId(1);

fn heard<C: Conversation<Heard = Forward>>(conversation: &mut C, bytes: &[u8]) -> Vec<Forward> {
    conversation.receive(Bytes::copy_from_slice(bytes));
    std::iter::from_fn(|| conversation.hear().unwrap()).collect()
}

fn bytes(id: ConnectionId, bytes: &'static [u8]) -> Forward {
    Forward::Data(id, Bytes::from_static(bytes))
}

fn failed(id: ConnectionId, message: &str) -> Forward {
    Forward::Failed(id, message.to_owned())
}

fn pair(client: &mut Client, port: &str, request: &str) -> Vec<u8> {
    let open = |kind| client.open(&[("streamtype", kind), ("port", port), ("requestid", request)]);
    ["error", "data"].into_iter().flat_map(open).collect()
}

fn sent(client: &mut Client, forward: &mut SpdyForward) -> Vec<Sent> {
    let sent = forward.transmit().unwrap_or_default();
    let mut sent = client.read(sent);
    sent.retain(|sent| !matches!(sent, Sent::Reply(..)));
    sent
}

#[test]
fn spdy_carries_connections() {
    let (mut client, mut forward) = (Client::default(), SpdyForward::default());
    let first = pair(&mut client, "80", "0");
    assert_eq!(heard(&mut forward, &first), [Forward::Open(A, 80)]);
    let second = pair(&mut client, "443", "1");
    assert_eq!(heard(&mut forward, &second), [Forward::Open(B, 443)]);
    assert_eq!(
        heard(&mut forward, &data(3, b"get", false)),
        [bytes(A, b"get")]
    );
    assert_eq!(heard(&mut forward, &data(7, b"", true)), [Forward::End(B)]);
    // Clients end the stream of errors at once, as they write nothing there.
    assert_eq!(heard(&mut forward, &data(1, b"", true)), []);

    forward.say(bytes(B, b"b"));
    forward.say(bytes(A, b"a"));
    forward.say(Forward::End(A));
    forward.say(bytes(A, b"late"));
    forward.say(failed(B, "no route"));
    assert_eq!(
        sent(&mut client, &mut forward),
        [
            Sent::Data(7, b"b".to_vec()),
            Sent::Data(3, b"a".to_vec()),
            Sent::Fin(3),
            Sent::Fin(1),
            Sent::Data(5, b"no route".to_vec()),
            Sent::Fin(7),
            Sent::Fin(5),
        ]
    );
    assert_eq!(heard(&mut forward, &data(3, b"late", false)), []);
    assert_eq!(heard(&mut forward, &reset(3)), []);
    // A request's id may be used again.
    let third = pair(&mut client, "80", "0");
    let c = ConnectionId(2);
    assert_eq!(heard(&mut forward, &third), [Forward::Open(c, 80)]);
    forward.end();
    assert_eq!(forward.phase(), Phase::Ended);
    assert_eq!(
        sent(&mut client, &mut forward),
        [Sent::Fin(11), Sent::Fin(9), Sent::GoAway(11, 0)]
    );
}

#[test]
fn a_client_may_reset_a_connection() {
    let (mut client, mut forward) = (Client::default(), SpdyForward::default());
    let first = pair(&mut client, "80", "0");
    heard(&mut forward, &first);
    let reset = heard(&mut forward, &reset(3));
    assert_eq!(reset, [failed(A, "the client reset the connection")]);
    assert_eq!(sent(&mut client, &mut forward), [Sent::Fin(1)]);
    forward.say(bytes(A, b"late"));
    forward.say(failed(A, "late"));
    assert_eq!(sent(&mut client, &mut forward), []);
}

#[test]
fn old_clients_name_no_request() {
    let (mut client, mut forward) = (Client::default(), SpdyForward::default());
    for id in [A, B] {
        let error = client.open(&[("streamtype", "error"), ("port", "80")]);
        assert_eq!(heard(&mut forward, &error), []);
        let opened = client.open(&[("streamtype", "data"), ("port", "80")]);
        assert_eq!(heard(&mut forward, &opened), [Forward::Open(id, 80)]);
    }
    forward.say(failed(B, "x"));
    assert_eq!(
        sent(&mut client, &mut forward)[0],
        Sent::Data(5, b"x".to_vec())
    );
}

#[test]
fn streams_that_mean_nothing_are_refused() {
    let (mut client, mut forward) = (Client::default(), SpdyForward::default());
    let long = "1".repeat(65);
    let cases: [&[(&str, &str)]; 7] = [
        &[],
        &[("streamtype", "data")],
        &[("streamtype", "data"), ("port", "0"), ("requestid", "0")],
        &[
            ("streamtype", "data"),
            ("port", "65536"),
            ("requestid", "0"),
        ],
        &[("streamtype", "stdin"), ("port", "1"), ("requestid", "0")],
        &[("port", "1"), ("requestid", "0")],
        &[("streamtype", "data"), ("port", "1"), ("requestid", &long)],
    ];
    for headers in cases {
        let opened = client.open(headers);
        assert_eq!(heard(&mut forward, &opened), []);
        let told = sent(&mut client, &mut forward);
        assert!(matches!(told[..], [Sent::Reset(_, 3)]), "{headers:?}");
    }
    let first = pair(&mut client, "80", "0");
    let again = pair(&mut client, "80", "0");
    assert_eq!(heard(&mut forward, &first).len(), 1);
    assert_eq!(heard(&mut forward, &again), []);
    assert_eq!(sent(&mut client, &mut forward).len(), 2);
}

#[test]
fn there_are_not_too_many_connections() {
    let (mut client, mut forward) = (Client::default(), SpdyForward::default());
    for number in 0..CONNECTIONS_MAX {
        // One way only and over at once, so that SPDY itself forgets it.
        let stream = u32::try_from(2 * number + 1).unwrap();
        let request = number.to_string();
        let headers = [
            ("streamtype", "data"),
            ("port", "1"),
            ("requestid", &request),
        ];
        let opened = client.open_as(stream, 3, &headers);
        assert_eq!(heard(&mut forward, &opened).len(), 2);
    }
    let stream = u32::try_from(2 * CONNECTIONS_MAX + 1).unwrap();
    let headers = [("streamtype", "data"), ("port", "1"), ("requestid", "x")];
    let one_more = client.open_as(stream, 0, &headers);
    assert_eq!(heard(&mut forward, &one_more), []);
    assert_eq!(sent(&mut client, &mut forward), [Sent::Reset(stream, 3)]);
    forward.say(Forward::End(A));
    let one_more = client.open_as(stream + 2, 0, &headers);
    assert_eq!(heard(&mut forward, &one_more).len(), 1);
}

#[test]
fn channels_carry_connections() {
    let mut forward = ChannelForward::new(Coding::Binary, &Ports(vec![80, 8080]));
    let opened = [Forward::Open(A, 80), Forward::Open(B, 8080)];
    assert_eq!(heard(&mut forward, b""), opened);
    // Ports, the low byte first.
    let first: Vec<Bytes> = std::iter::from_fn(|| forward.transmit()).collect();
    let ports = [
        &b"\0\x50\0"[..],
        b"\x01\x50\0",
        b"\x02\x90\x1f",
        b"\x03\x90\x1f",
    ];
    assert_eq!(first, ports);
    assert_eq!(heard(&mut forward, b"\x02hi"), [bytes(B, b"hi")]);
    for message in [&b"\x02"[..], b"\x01x", b"\x04x", b"\xffx"] {
        assert_eq!(heard(&mut forward, message), []);
    }
    forward.say(bytes(B, b"yo"));
    forward.say(failed(B, "no"));
    assert_eq!(heard(&mut forward, b"\x02late"), []);
    forward.say(bytes(B, b"late"));
    assert_eq!(forward.phase(), Phase::Talking);
    forward.say(Forward::End(A));
    assert_eq!(forward.phase(), Phase::Ended);
    let told: Vec<Bytes> = std::iter::from_fn(|| forward.transmit()).collect();
    assert_eq!(told, [&b"\x02yo"[..], b"\x03no"]);
}

proptest! {
    /// Whatever is said about whatever connection, nothing is left of those that are over.
    #[test]
    fn connections_leave_nothing_behind(steps in prop::collection::vec((0..6u8, 0..8u64), 0..80)) {
        let (mut client, mut forward) = (Client::default(), SpdyForward::default());
        let mut open = Vec::new();
        for (number, (step, at)) in (0u32..).zip(steps) {
            let stream = 4 * u32::try_from(at).unwrap() + 3;
            let id = ConnectionId(at);
            let frames = match step {
                0 => pair(&mut client, "80", &number.to_string()),
                1 => data(stream, b"x", false),
                2 => data(stream, b"x", true),
                3 => reset(stream),
                4 => {
                    forward.say(Forward::End(id));
                    open.retain(|it| *it != id);
                    continue;
                }
                _ => {
                    forward.say(failed(id, "x"));
                    open.retain(|it| *it != id);
                    continue;
                }
            };
            for heard in heard(&mut forward, &frames) {
                match heard {
                    Forward::Open(id, _) => open.push(id),
                    Forward::Data(id, _) | Forward::End(id) => prop_assert!(open.contains(&id)),
                    Forward::Failed(id, _) => open.retain(|it| *it != id),
                }
            }
            prop_assert_eq!(forward.open_count(), open.len());
        }
    }
}
