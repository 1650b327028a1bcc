//! Connections to ports of a pod that runs at this node.

use std::{collections::BTreeMap, sync::Arc};

use atoll_world::{net::Stream, task};
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};

use crate::{
    api::Ends,
    core::streams::{ConnectionId, Forward, PIECE_BYTES_MAX},
    driver::agent::runtime::Runtime,
};

/// So many connections one session may have open.
const CONNECTIONS_MAX: usize = 256;
/// So much of one connection waits to be written.
const PIECES_MAX: usize = 8;
/// So much waits to be said, of all connections together.
const SAID_MAX: usize = 32;

/// What one connection is handed. Its end is the end of what the client sends.
type Pieces = mpsc::Sender<Bytes>;

/// Begins a session.
pub(super) fn forward<R: Runtime>(runtime: R, pod: Arc<Value>) -> Ends<Forward, Forward> {
    let (heard, mut hears) = mpsc::channel(SAID_MAX);
    let (says, said) = mpsc::channel(SAID_MAX);
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
                    let connecting = {
                        let (runtime, pod) = (runtime.clone(), pod.clone());
                        async move { runtime.connect(pod, port).await }
                    };
                    let says = says.clone();
                    task::spawn(async move {
                        match connecting.await {
                            Ok(stream) => connection(id, stream, takes, says).await,
                            Err(why) => {
                                let why =
                                    format!("failed to connect to port {port} of the pod: {why}");
                                let _ = says.send(Forward::Failed(id, why)).await;
                            }
                        }
                    });
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

async fn connection(
    id: ConnectionId,
    stream: Stream,
    mut takes: mpsc::Receiver<Bytes>,
    says: mpsc::Sender<Forward>,
) {
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
