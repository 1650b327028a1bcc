use proptest::prelude::*;

use super::*;

const HEAD_BYTES_MAX: usize = 8_192;

fn inspect(bytes: &[u8]) -> Result<Phase, Fault> {
    let mut inspector = Inspector::new(HEAD_BYTES_MAX);
    match inspector.inspect(bytes, Upgrade::Waiting) {
        Ok(()) => Ok(inspector.phase()),
        Err(refusal) => Err(refusal.fault),
    }
}

/// Requests, and what is found in them.
fn table() -> Vec<(&'static str, Result<Phase, Fault>)> {
    use Phase::{Between, Body, Head, Opaque};
    vec![
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(Between)),
        (
            "\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            Ok(Between),
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\n", Ok(Head)),
        (
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            Ok(Between),
        ),
        ("POST / HTTP/1.1\r\ncontent-length:\t3 \r\n\r\nab", Ok(Body)),
        (
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\nGET / HTTP/1.1\r\n",
            Ok(Head),
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            Ok(Between),
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nX: y\r\n",
            Ok(Body),
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\nGET",
            Ok(Head),
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\n\n", Ok(Opaque)),
        ("PRI * HTTP/2.0\r\n", Ok(Head)),
        ("PROPFIND / HTTP/1.1\r\n\r\n", Ok(Between)),
        (
            "PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            Err(Fault::Preface),
        ),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Err(Fault::BareLf)),
        ("PUT / HTTP/1.1\nHost: a\r\n\r\n", Err(Fault::BareLf)),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", Err(Fault::BareLf)),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", Err(Fault::BareLf)),
        ("\nGET / HTTP/1.1\r\n\r\n", Err(Fault::BareLf)),
        (
            "GET / HTTP/1.1\r\nX: a\rContent-Length: 3\r\n\r\n",
            Err(Fault::BareCr),
        ),
        ("GET / HTTP/1.1\r\r\n\r\n", Err(Fault::BareCr)),
        ("GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", Err(Fault::Folded)),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Err(Fault::Folded)),
        (
            "GET / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            Err(Fault::LengthTwice),
        ),
        (
            "GET / HTTP/1.1\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\n",
            Err(Fault::LengthTwice),
        ),
        (
            "GET / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n",
            Err(Fault::Length),
        ),
        (
            "GET / HTTP/1.1\r\nContent-Length: +3\r\n\r\n",
            Err(Fault::Length),
        ),
        (
            "GET / HTTP/1.1\r\nContent-Length: -3\r\n\r\n",
            Err(Fault::Length),
        ),
        (
            "GET / HTTP/1.1\r\nContent-Length: 0x3\r\n\r\n",
            Err(Fault::Length),
        ),
        (
            "GET / HTTP/1.1\r\nContent-Length:\r\n\r\n",
            Err(Fault::Length),
        ),
        (
            "GET / HTTP/1.1\r\nContent-Length: 18446744073709551617\r\n\r\n",
            Err(Fault::Length),
        ),
        (
            "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            Err(Fault::Encoding),
        ),
        (
            "GET / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
            Err(Fault::Encoding),
        ),
        (
            "GET / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
            Err(Fault::Encoding),
        ),
        (
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            Err(Fault::Encoding),
        ),
        (
            "GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            Err(Fault::LengthAndEncoding),
        ),
        (
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
            Err(Fault::LengthAndEncoding),
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            Err(Fault::ChunkSize),
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n",
            Err(Fault::ChunkSize),
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\n",
            Err(Fault::ChunkSize),
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\n",
            Err(Fault::ChunkSize),
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\n",
            Err(Fault::ChunkSize),
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1_0\r\n",
            Err(Fault::ChunkSize),
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            Err(Fault::ChunkSize),
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\n",
            Err(Fault::BareLf),
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n",
            Err(Fault::BareLf),
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            Err(Fault::ChunkEnd),
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\n",
            Err(Fault::ChunkEnd),
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n",
            Err(Fault::BareLf),
        ),
        ("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", Ok(Between)),
        (
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\nx",
            Err(Fault::BeforeUpgrade),
        ),
    ]
}

#[test]
fn what_could_be_understood_in_two_ways_is_refused() {
    for (request, expected) in table() {
        assert_eq!(inspect(request.as_bytes()), expected, "{request:?}");
    }
}

#[test]
fn nothing_but_http2_where_that_was_agreed_on() {
    assert_eq!(
        Inspector::http2().inspect(PREFACE, Upgrade::Waiting),
        Ok(())
    );
    for other in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/1.1\r\n"] {
        let refusal = Inspector::http2().inspect(other.as_bytes(), Upgrade::Waiting);
        let refusal = refusal.unwrap_err();
        assert_eq!((refusal.fault, refusal.is_head), (Fault::Preface, false));
    }
}

#[test]
fn it_makes_no_difference_how_the_bytes_are_cut() {
    for (request, expected) in table() {
        let bytes = request.as_bytes();
        let mut inspector = Inspector::new(HEAD_BYTES_MAX);
        let mut result = Ok(());
        for byte in bytes {
            result = inspector.inspect(std::slice::from_ref(byte), Upgrade::Waiting);
            if result.is_err() {
                break;
            }
        }
        let result = result.map(|()| inspector.phase()).map_err(|it| it.fault);
        assert_eq!(result, expected, "{request:?}");
    }
}

#[test]
fn a_refused_head_is_never_passed_to_its_end() {
    for (request, expected) in table() {
        let mut inspector = Inspector::new(HEAD_BYTES_MAX);
        let Err(refusal) = inspector.inspect(request.as_bytes(), Upgrade::Waiting) else {
            continue;
        };
        assert_eq!(expected, Err(refusal.fault));
        let passed = &request[..refusal.passed_bytes];
        let ends = passed.matches("\n\r\n").count() + passed.matches("\n\n").count();
        if !refusal.is_head {
            assert!(ends >= 1, "{request:?}");
        } else {
            assert!(
                !passed.trim_start_matches(['\r', '\n']).contains("\n\r\n"),
                "{request:?}"
            );
        }
    }
}

#[test]
fn upgrades_become_tunnels_or_not() {
    let request = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    let mut inspector = Inspector::new(HEAD_BYTES_MAX);
    inspector.inspect(request, Upgrade::Waiting).unwrap();
    inspector.inspect(b"\n\n\r\0", Upgrade::Tunnel).unwrap();
    assert_eq!(inspector.phase(), Phase::Opaque);

    let mut inspector = Inspector::new(HEAD_BYTES_MAX);
    inspector.inspect(request, Upgrade::Waiting).unwrap();
    inspector.inspect(request, Upgrade::Declined).unwrap();
    // What became of an earlier one says nothing about the next.
    let both = [&request[..], b"x"].concat();
    let refusal = inspector.inspect(&both, Upgrade::Declined).unwrap_err();
    assert_eq!(refusal.fault, Fault::BeforeUpgrade);

    let mut inspector = Inspector::new(HEAD_BYTES_MAX);
    inspector.inspect(request, Upgrade::Waiting).unwrap();
    let refusal = inspector
        .inspect(b"GET / HTTP/1.1\n", Upgrade::Declined)
        .unwrap_err();
    assert_eq!(refusal.fault, Fault::BareLf);
}

#[test]
fn memory_is_bounded() {
    let long = "a".repeat(1_000);
    let mut inspector = Inspector::new(HEAD_BYTES_MAX);
    let refused = (0..1_000).find_map(|_| {
        assert!(inspector.line.len() <= 2 * HEAD_BYTES_MAX);
        inspector.inspect(long.as_bytes(), Upgrade::Waiting).err()
    });
    assert_eq!(refused.map(|it| it.fault), Some(Fault::HeadTooLong));

    let mut inspector = Inspector::new(HEAD_BYTES_MAX);
    let head = b"P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;";
    inspector.inspect(head, Upgrade::Waiting).unwrap();
    let refused =
        (0..1_000).find_map(|_| inspector.inspect(long.as_bytes(), Upgrade::Waiting).err());
    assert_eq!(refused.map(|it| it.fault), Some(Fault::ChunkedTooLong));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_and_cuts_don_t_matter(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "\r\n", "\n", "\r", "Content-Length: 2\r\n",
                "Transfer-Encoding: chunked\r\n", "Upgrade: x\r\n", "2\r\n", "ab", "0\r\n", " ", "SM", "P",
            ]), 0..20),
        cuts in prop::collection::vec(1usize..9, 1..9),
    ) {
        let bytes = pieces.concat().into_bytes();
        let mut whole = Inspector::new(HEAD_BYTES_MAX);
        let expected = whole.inspect(&bytes, Upgrade::Waiting).map_err(|it| (it.fault, it.passed_bytes));
        let mut cut = Inspector::new(HEAD_BYTES_MAX);
        let mut shown = 0;
        let mut result = Ok(());
        for length in cuts.iter().cycle() {
            let end = (shown + length).min(bytes.len());
            result = cut
                .inspect(&bytes[shown..end], Upgrade::Waiting)
                .map_err(|it| (it.fault, shown + it.passed_bytes));
            shown = end;
            if result.is_err() || shown == bytes.len() {
                break;
            }
        }
        let fault = |result: Result<(), (Fault, usize)>| result.map_err(|(fault, _)| fault);
        prop_assert_eq!(fault(result), fault(expected));
        prop_assert_eq!(cut.phase(), whole.phase());
    }
}
