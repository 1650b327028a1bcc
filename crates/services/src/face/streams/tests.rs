mod bounds;

use std::time::Duration;

use atoll_world::clock;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::*;
use crate::core::streams::{
    ConnectionId,
    negotiate::{Offer, Purpose, negotiate},
    spdy::testing::{Client, Sent, data},
    status::exited,
};

const ALL: Streams = Streams {
    stdin: true,
    stdout: true,
    stderr: true,
    tty: false,
};
/// What a connection holds on its way, in bytes.
const BETWEEN_BYTES: usize = 4 * 1024;

/// The other side of a session.
struct Other<H, S> {
    heard: mpsc::Receiver<H>,
    said: mpsc::Sender<S>,
}

fn ends<H, S>() -> (Ends<H, S>, Other<H, S>) {
    let (heard, hearing) = mpsc::channel(1);
    let (saying, said) = mpsc::channel(1);
    let other = Other {
        heard: hearing,
        said: saying,
    };
    (Ends { heard, said }, other)
}

fn protocol(purpose: Purpose, upgrade: &str, name: &str) -> Protocol {
    let offer = Offer {
        connection: vec!["Upgrade"],
        upgrade,
        key: "dGhlIHNhbXBsZSBub25jZQ==",
        version: "13",
        subprotocols: vec![name],
        stream_versions: vec![name],
        headers: 0,
    };
    negotiate(&offer, purpose).unwrap()
}

fn channels() -> Protocol {
    protocol(Purpose::Exec, "websocket", "v5.channel.k8s.io")
}

fn spdy() -> Protocol {
    protocol(Purpose::Exec, "SPDY/3.1", "v4.channel.k8s.io")
}

async fn socket(io: DuplexStream) -> WebSocketStream<DuplexStream> {
    WebSocketStream::from_raw_socket(io, Role::Client, None).await
}

fn message(bytes: &[u8]) -> Message {
    Message::Binary(Bytes::copy_from_slice(bytes))
}

fn stdout(length: usize) -> FromContainer {
    FromContainer::Stdout(vec![b'x'; length].into())
}

/// All streams of a process over SPDY.
fn opened(client: &mut Client) -> Vec<u8> {
    let kinds = ["error", "stdin", "stdout", "stderr"];
    let open = |kind| client.open(&[("streamtype", kind)]);
    kinds.into_iter().flat_map(open).collect()
}

/// Whatever was sent over SPDY until now or so.
async fn read(client: &mut Client, io: &mut DuplexStream) -> Vec<Sent> {
    let mut bytes = Vec::new();
    let all = io.read_to_end(&mut bytes);
    let _ = clock::timeout(Duration::from_millis(10), all).await;
    client.read(bytes.into())
}

#[tokio::test(start_paused = true)]
async fn a_process_is_served_over_a_websocket() {
    let (here, there) = duplex(BETWEEN_BYTES);
    let (ends, mut other) = ends();
    let (protocol, patience) = (channels(), Patience::default());
    let serving = exec(there, &protocol, ALL, ends, &patience);
    let client = async {
        let mut socket = socket(here).await;
        socket.send(message(b"\0hi")).await.unwrap();
        socket.send(message(&[255, 0])).await.unwrap();
        let mut got = Vec::new();
        while let Some(Ok(next)) = socket.next().await {
            got.push(next);
        }
        got
    };
    let process = async {
        let hi = Bytes::from_static(b"hi");
        assert_eq!(other.heard.recv().await, Some(ToContainer::Stdin(hi)));
        assert_eq!(other.heard.recv().await, Some(ToContainer::StdinEnd));
        other.said.send(stdout(3)).await.unwrap();
        let end = FromContainer::Ended(exited(7));
        other.said.send(end).await.unwrap();
        assert_eq!(other.heard.recv().await, None);
    };
    let (served, got, ()) = tokio::join!(serving, client, process);
    served.unwrap();
    assert_eq!(got[..2], [message(b"\x01"), message(b"\x01xxx")]);
    let Message::Binary(end) = &got[2] else {
        panic!("{got:?}");
    };
    let status: Value = serde_json::from_slice(&end[1..]).unwrap();
    assert_eq!((end[0], status), (3, exited(7)));
    let Message::Close(Some(close)) = &got[3] else {
        panic!("{got:?}");
    };
    assert_eq!(u16::from(close.code), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_process_is_served_over_spdy() {
    let (mut here, there) = duplex(BETWEEN_BYTES);
    let (ends, mut other) = ends();
    let (protocol, patience) = (spdy(), Patience::default());
    let serving = exec(there, &protocol, ALL, ends, &patience);
    let client = async {
        let mut client = Client::default();
        // What is said waits for the streams.
        other.said.send(stdout(3)).await.unwrap();
        let early = FromContainer::Ended(exited(0));
        let late = other.said.send(early);
        here.write_all(&opened(&mut client)).await.unwrap();
        late.await.unwrap();
        let got = read(&mut client, &mut here).await;
        drop(here);
        got
    };
    let (served, got) = tokio::join!(serving, client);
    served.unwrap();
    let status = exited(0).to_string().into_bytes();
    assert_eq!(
        got[4..],
        [
            Sent::Data(5, b"xxx".to_vec()),
            Sent::Data(1, status),
            Sent::Fin(1),
            Sent::Fin(3),
            Sent::Fin(5),
            Sent::Fin(7),
        ]
    );
    assert_eq!(other.heard.recv().await, None);
}

/// kubectl sends SPDY in messages, cut anywhere.
#[tokio::test(start_paused = true)]
async fn ports_are_served_through_a_tunnel() {
    let (here, there) = duplex(BETWEEN_BYTES);
    let (ends, mut other) = ends();
    let name = "SPDY/3.1+portforward.k8s.io";
    let protocol = protocol(Purpose::PortForward, "websocket", name);
    let (ports, patience) = (Ports::default(), Patience::default());
    let serving = forward(there, &protocol, &ports, ends, &patience);
    let client = async {
        let (mut spdy, mut socket) = (Client::default(), socket(here).await);
        let mut frames = Vec::new();
        for kind in ["error", "data"] {
            let headers = [("streamtype", kind), ("port", "80"), ("requestid", "0")];
            frames.extend(spdy.open(&headers));
        }
        frames.extend(data(3, b"get", false));
        for piece in frames.chunks(7) {
            socket.send(message(piece)).await.unwrap();
        }
        let mut got = Vec::new();
        while let Some(Ok(Message::Binary(bytes))) = socket.next().await {
            got.extend(spdy.read(bytes));
        }
        got
    };
    let port = async {
        let id = ConnectionId(0);
        assert_eq!(other.heard.recv().await, Some(Forward::Open(id, 80)));
        let mut got = Vec::new();
        while got != b"get" {
            match other.heard.recv().await {
                Some(Forward::Data(_, bytes)) => got.extend_from_slice(&bytes),
                other => panic!("{other:?}"),
            }
        }
        let found = Bytes::from_static(b"found");
        other.said.send(Forward::Data(id, found)).await.unwrap();
        other.said.send(Forward::End(id)).await.unwrap();
        // Nobody will say anything more.
        drop(other.said);
    };
    let (served, got, ()) = tokio::join!(serving, client, port);
    served.unwrap();
    assert_eq!(
        got[2..],
        [
            Sent::Data(3, b"found".to_vec()),
            Sent::Fin(3),
            Sent::Fin(1),
            Sent::GoAway(3, 0),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_lost_is_told() {
    let (ends, other) = ends();
    let (here, there) = duplex(BETWEEN_BYTES);
    let (protocol, patience) = (channels(), Patience::default());
    let serving = exec(there, &protocol, ALL, ends, &patience);
    drop(other);
    let client = async {
        let mut socket = socket(here).await;
        socket.next().await.unwrap().unwrap();
        socket.next().await.unwrap().unwrap()
    };
    let (served, told) = tokio::join!(serving, client);
    served.unwrap();
    let told = String::from_utf8(told.into_data().into()).unwrap();
    assert!(
        told.contains("the connection to the container was lost"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_breaks_the_protocol_is_told() {
    let cases: [(&[u8], u16); 2] = [(&[255], 1002), (&[0x80; 4], 1002)];
    for (number, (bytes, code)) in cases.into_iter().enumerate() {
        let (ends, mut other) = ends();
        let (mut here, there) = duplex(BETWEEN_BYTES);
        let (protocol, patience) = (channels(), Patience::default());
        let serving = exec(there, &protocol, ALL, ends, &patience);
        let client = async {
            if number == 1 {
                // No frame at all: it is neither masked nor of a known kind.
                here.write_all(bytes).await.unwrap();
            }
            let mut socket = socket(here).await;
            if number == 0 {
                socket.send(message(bytes)).await.unwrap();
            }
            let mut last = None;
            while let Some(Ok(next)) = socket.next().await {
                last = Some(next);
            }
            last
        };
        let (served, last) = tokio::join!(serving, client);
        assert!(served.is_err());
        let Some(Message::Close(Some(close))) = last else {
            panic!("{last:?}");
        };
        assert_eq!(u16::from(close.code), code);
        assert_eq!(other.heard.recv().await, None);
    }
}
