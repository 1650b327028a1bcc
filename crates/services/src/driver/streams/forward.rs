//! Connections to ports of a pod that runs at this node.

use std::{collections::BTreeMap, time::Duration};

use atoll_world::{net, task};
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};

use crate::{
    api::Ends,
    core::{
        ports,
        streams::{ConnectionId, Forward, PIECE_BYTES_MAX},
    },
};

/// So many connections one session may have open.
const CONNECTIONS_MAX: usize = 256;
/// So much of one connection waits to be written.
const PIECES_MAX: usize = 8;
/// So much waits to be said, of all connections together.
const SAID_MAX: usize = 32;
/// How long a program may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What one connection is handed. Its end is the end of what the client sends.
type Pieces = mpsc::Sender<Bytes>;

/// Begins a session.
pub(super) fn forward(pod: &Value) -> Ends<Forward, Forward> {
    let (heard, mut hears) = mpsc::channel(SAID_MAX);
    let (says, said) = mpsc::channel(SAID_MAX);
    let pod = pod.clone();
    task::spawn(async move {
        let mut open: BTreeMap<ConnectionId, Pieces> = BTreeMap::new();
        while let Some(told) = hears.recv().await {
            // What ended by itself is known by nobody who takes any more.
            open.retain(|_, pieces| !pieces.is_closed());
            match told {
                Forward::Open(id, port) => {
                    if open.len() >= CONNECTIONS_MAX {
                        let why = format!("there are {CONNECTIONS_MAX} connections already");
                        if says.send(Forward::Failed(id, why)).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    let (pieces, takes) = mpsc::channel(PIECES_MAX);
                    open.insert(id, pieces);
                    let addresses = addresses(&pod, port);
                    task::spawn(connection(id, addresses, port, takes, says.clone()));
                }
                Forward::Data(id, bytes) => {
                    if let Some(pieces) = open.get(&id)
                        && pieces.send(bytes).await.is_err()
                    {
                        open.remove(&id);
                    }
                }
                Forward::End(id) | Forward::Failed(id, _) => {
                    open.remove(&id);
                }
            }
        }
    });
    Ends { heard, said }
}

/// Where a port of a pod may be: a program that shares the machine's network may listen on
/// loopback only.
fn addresses(pod: &Value, port: u16) -> Vec<String> {
    let port = ports::real(pod, port);
    let at = |host: &str| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let pod_ip = pod["status"]["podIP"].as_str().filter(|ip| !ip.is_empty());
    let shares = pod["status"]["podIP"] == pod["status"]["hostIP"];
    let mut all = Vec::new();
    if shares {
        all.push(at("127.0.0.1"));
    }
    all.extend(pod_ip.map(at));
    all
}

async fn connection(
    id: ConnectionId,
    addresses: Vec<String>,
    port: u16,
    mut takes: mpsc::Receiver<Bytes>,
    says: mpsc::Sender<Forward>,
) {
    let mut stream = Err("the pod has no address yet".to_owned());
    for address in &addresses {
        let connected = net::connect(address, CONNECT_MAX).await;
        stream = connected.map_err(|error| error.to_string());
        if stream.is_ok() {
            break;
        }
    }
    let stream = match stream {
        Ok(stream) => stream,
        Err(why) => {
            let why = format!("failed to connect to port {port} of the pod: {why}");
            let _ = says.send(Forward::Failed(id, why)).await;
            return;
        }
    };
    let (mut reads, mut writes) = tokio::io::split(stream);
    let writing = async {
        while let Some(bytes) = takes.recv().await {
            if writes.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // The client sends nothing more; what the program answers may still come.
        let _ = writes.shutdown().await;
        std::future::pending().await
    };
    let reading = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE_BYTES_MAX);
            match reads.read_buf(&mut buffer).await {
                Ok(1..) => {
                    while !buffer.is_empty() {
                        let piece = buffer.split_to(buffer.len().min(PIECE_BYTES_MAX)).freeze();
                        if says.send(Forward::Data(id, piece)).await.is_err() {
                            return;
                        }
                    }
                }
                _ => return,
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
        // The session is over.
        () = says.closed() => return,
    }
    let _ = says.send(Forward::End(id)).await;
}
