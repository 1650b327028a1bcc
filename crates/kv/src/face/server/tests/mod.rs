//! Connections over pipes in memory, with a fake of hot data behind them.

mod acl;
mod clients;
mod cluster;
mod fake;
mod node;
mod pipeline;
mod pubsub;
mod reading;
mod waiting;

use std::{net::SocketAddr, time::Duration};

use atoll_world::{clock, task};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::watch,
};

use super::*;
use crate::{face::session, memory::MemorySettings};
use fake::Fake;

/// So many bytes a pipe holds.
const PIPE_BYTES: usize = 4096;

/// Nothing that is awaited here takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings() -> ServerSettings {
    ServerSettings::new(session::Settings {
        auth_required: false,
        cluster: false,
    })
}

/// A server, and what its node has in hand.
struct Node {
    server: Server<Fake>,
    fake: Fake,
    hub: Hub,
    memory: Memory,
    stop: watch::Sender<bool>,
}

impl Node {
    fn new(settings: ServerSettings) -> Self {
        Node::with(settings, Arc::new(NoPasswords))
    }

    fn with(settings: ServerSettings, identity: Arc<dyn Identity>) -> Self {
        let hub = Hub::default();
        let fake = Fake::new(hub.clone());
        let memory = Memory::new(MemorySettings::default());
        let server = Server::new(
            fake.clone(),
            hub.clone(),
            memory.clone(),
            identity,
            settings,
        );
        let stop = watch::channel(false).0;
        Node {
            server,
            fake,
            hub,
            memory,
            stop,
        }
    }

    fn connect(&self) -> Client {
        self.connect_to(self.server.clone())
    }

    fn connect_to(&self, server: Server<Fake>) -> Client {
        let (stream, served) = tokio::io::duplex(PIPE_BYTES);
        let mut stopped = self.stop.subscribe();
        let serving = task::spawn(async move {
            let peer = SocketAddr::from(([127, 0, 0, 1], 1000));
            let local = SocketAddr::from(([127, 0, 0, 1], 6379));
            let shutdown = async move {
                let _ = stopped.wait_for(|stopped| *stopped).await;
            };
            server.serve_connection(served, peer, local, shutdown).await
        });
        Client { stream, serving }
    }
}

/// The other end of a connection.
struct Client {
    stream: DuplexStream,
    serving: task::JoinHandle<Result<(), ConnectionError>>,
}

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Is sent exactly this.
    async fn expect(&mut self, text: &str) {
        let mut read = vec![0; text.len()];
        let all = self.stream.read_exact(&mut read);
        if let Err(error) = clock::timeout(PATIENCE, all).await.unwrap() {
            panic!("{error} instead of {text:?}");
        }
        assert_eq!(String::from_utf8_lossy(&read), text);
    }

    async fn ask(&mut self, request: &str, reply: &str) {
        self.send(format!("{request}\r\n")).await;
        self.expect(reply).await;
    }

    /// One line, without its end.
    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let byte = clock::timeout(PATIENCE, self.stream.read_u8());
            line.push(byte.await.unwrap().unwrap());
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }

    /// One string.
    async fn bulk(&mut self) -> String {
        let length = self.line().await;
        let length = length.strip_prefix('$').unwrap().parse().unwrap();
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await.unwrap();
        self.expect("\r\n").await;
        String::from_utf8(bytes).unwrap()
    }

    /// Is sent nothing more but the end; says why.
    async fn end(mut self) -> Result<(), ConnectionError> {
        let mut rest = Vec::new();
        let read = clock::timeout(PATIENCE, self.stream.read_to_end(&mut rest));
        read.await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
        self.serving.await.unwrap()
    }
}
