//! Endpoints that tests bring: some speak HTTP by a library, some just bytes.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use atoll_world::{
    net::{self, Stream},
    task::{self, JoinHandle},
};
use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    rt::Executor,
    service::service_fn,
};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Clone, Copy)]
pub(crate) struct Spawner;

impl<F> Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(task::spawn(future));
    }
}

/// One that listens until it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Served {
    /// How many connections came.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Has every connection served by this.
pub(crate) async fn serve<F, Fut>(serve: F) -> Served
where
    F: Fn(Stream, usize) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    accept(move |incoming, number| serve(incoming.plain(), number)).await
}

/// Has every connection served by this, as it was accepted.
pub(crate) async fn accept<F, Fut>(serve: F) -> Served
where
    F: Fn(net::Incoming, usize) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = net::listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let accepting = task::spawn(async move {
        loop {
            let incoming = listener.accept().await;
            let number = counted.fetch_add(1, Ordering::SeqCst);
            drop(task::spawn(serve(incoming, number)));
        }
    });
    Served {
        address,
        connections,
        accepting,
    }
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = net::listen("127.0.0.1:0").await.unwrap();
    listener.local_address()
}

/// Sends back what comes.
pub(crate) async fn echo() -> Served {
    serve(|mut stream, _| async move {
        let mut buffer = vec![0; 4_096];
        while let Ok(read) = stream.read(&mut buffer).await {
            if read == 0 || stream.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        let _ = stream.shutdown().await;
    })
    .await
}

/// Greets with a name, and then sends back what comes.
pub(crate) async fn greet(name: &'static str) -> Served {
    serve(move |mut stream, _| async move {
        let _ = stream.write_all(name.as_bytes()).await;
        let mut buffer = vec![0; 4_096];
        while let Ok(read) = stream.read(&mut buffer).await {
            if read == 0 || stream.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    })
    .await
}

/// Speaks HTTP/1.1 and HTTP/2 by a library.
pub(crate) async fn http<F, Fut, B>(answer: F) -> Served
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    serve(move |stream, _| answer_http(stream, answer.clone())).await
}

/// As [`http`], under TLS.
pub(crate) async fn https<F, Fut, B>(acceptor: net::TlsAcceptor, answer: F) -> Served
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    accept(move |incoming, _| {
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        async move {
            if let Ok(stream) = incoming.handshake(&acceptor).await {
                answer_http(stream, answer).await;
            }
        }
    })
    .await
}

async fn answer_http<F, Fut, B>(stream: Stream, answer: F)
where
    F: Fn(Request<Incoming>) -> Fut + Send + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service_fn(move |request| {
        let answering = answer(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let builder = auto::Builder::new(Spawner);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let _ = serving.await;
}

/// Reads a head of HTTP/1.1 and nothing behind it.
pub(crate) async fn read_head(stream: &mut Stream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}
