//! Packets: as they are written, and what is none.

use std::io::Read;

use rustix::net::{Shutdown, shutdown, socketpair};

use super::*;
use crate::golden::golden;

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

/// A shim and the node that asks it may be of different versions.
#[test]
fn packets_are_written_as_they_were() {
    let which = Which {
        stdin: true,
        stdout: true,
        stderr: false,
    };
    let ask = |ask: Ask| Request {
        key: "k".to_owned(),
        ask,
    };
    let exec = Ask::Exec {
        argv: vec!["sh".to_owned(), "-c".to_owned()],
        tty: true,
        which,
    };
    let requests = [ask(exec), ask(Ask::Attach { which })];
    let events = [
        Event::Started,
        Event::Attached {
            tty: true,
            stdin: false,
        },
        Event::Refused {
            code: 127,
            message: "m".to_owned(),
        },
        Event::Full { max: 3 },
        Event::Invalid {
            message: "m".to_owned(),
        },
        Event::Exited {
            code: 137,
            signal: Some(9),
        },
        Event::CutOff,
    ];
    let mut written = Vec::new();
    let mut add = |json: String| written.extend_from_slice(format!("{json}\n").as_bytes());
    for request in &requests {
        add(serde_json::to_string(request).unwrap());
    }
    add(serde_json::to_string(&Note::InputEnded).unwrap());
    for event in &events {
        add(serde_json::to_string(event).unwrap());
    }
    let stored = golden("shim-packets-1.txt", &written);
    let lines: Vec<&[u8]> = stored.split(|byte| *byte == b'\n').collect();
    for (request, line) in requests.iter().zip(&lines) {
        assert_eq!(serde_json::from_slice::<Request>(line).unwrap(), *request);
    }
    for (event, line) in events.iter().zip(&lines[3..]) {
        assert_eq!(serde_json::from_slice::<Event>(line).unwrap(), *event);
    }
}

#[test]
fn descriptors_come_along() {
    let (ours, theirs) = pair();
    let (mut reader, writer) = io::pipe().unwrap();
    send(&ours, &Event::CutOff, &[writer.as_fd()]).unwrap();
    send(&ours, &Event::Started, &[]).unwrap();
    drop(writer);
    let (event, along) = receive::<Event>(&theirs).unwrap().unwrap();
    assert_eq!((event, along.len()), (Event::CutOff, 1));
    rustix::io::write(&along[0], b"through").unwrap();
    drop(along);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
    assert_eq!(
        receive::<Event>(&theirs).unwrap().unwrap().0,
        Event::Started
    );
    let none_now = receive::<Event>(&theirs).unwrap_err();
    assert_eq!(none_now.kind(), io::ErrorKind::WouldBlock);
    shutdown(&ours, Shutdown::Write).unwrap();
    assert!(receive::<Event>(&theirs).unwrap().is_none());
}

#[test]
fn what_is_no_packet_is_an_error() {
    let (ours, theirs) = pair();
    let too_long = vec![b'x'; PACKET_BYTES_MAX + 1];
    for wrong in [
        &b"\x02\"started\""[..],
        b"\x01",
        b"\x01\"other\"",
        &too_long,
    ] {
        rustix::io::write(&ours, wrong).unwrap();
        let error = receive::<Event>(&theirs).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    }
    let (reader, _writer) = io::pipe().unwrap();
    let four = [reader.as_fd(); DESCRIPTORS_MAX + 1];
    assert!(send(&ours, &Event::Started, &four).is_err());
    let message = "x".repeat(PACKET_BYTES_MAX);
    let error = send(&ours, &Event::Invalid { message }, &[]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
