//! The whole face over connections in memory, against a small control plane of its own.

mod auth;
mod bad_input;
mod fake;
mod gateway;
mod kv;
mod pages;
mod recipes;
mod state;
mod streams;

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use self::fake::Fake;
use super::{Connection, Limits, Router, router, serve_connection};

const PIPE_BYTES: usize = 64 << 10;

struct Node {
    fake: Fake,
    router: Router<Fake>,
    connection: Connection,
}

impl Node {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let fake = Fake::new();
        let metrics = Arc::new(|| "atoll_up 1\n".to_owned());
        Node {
            router: router(fake.clone(), limits, metrics),
            fake,
            connection: Connection {
                loopback: true,
                ..Default::default()
            },
        }
    }

    /// The client's end of a new connection.
    fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        let (router, connection) = (self.router.clone(), self.connection.clone());
        drop(atoll_world::task::spawn(serve_connection(
            server,
            router,
            connection,
            std::future::pending(),
        )));
        client
    }

    async fn channel(&self) -> Channel {
        let mut stream = Some(self.connect());
        Endpoint::from_static("http://localhost")
            .connect_with_connector(service_fn(move |_| {
                let stream = stream.take();
                async move {
                    stream
                        .map(TokioIo::new)
                        .ok_or(std::io::ErrorKind::NotConnected.into())
                        as std::io::Result<_>
                }
            }))
            .await
            .unwrap()
    }
}

fn fails<T: std::fmt::Debug>(
    result: Result<tonic::Response<T>, tonic::Status>,
    error: crate::core::error::Error,
) {
    let status = result.unwrap_err();
    let wanted = tonic::Status::from(error);
    assert_eq!(
        (status.code(), status.message()),
        (wanted.code(), wanted.message())
    );
}
