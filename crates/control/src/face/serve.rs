//! Serves one connection: HTTP/1.1 and HTTP/2 on the same port, with bounds on how long a
//! client may take and on how much it may have open.

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use atoll_world::task;
use axum::http::{Request, Response};
use bytes::Bytes;
use hyper::{
    body::{Body, Incoming},
    rt::Executor,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{Connection, Limits, router::Router};
use crate::api::ControlApi;

/// What tells HTTP/2 from HTTP/1.1: the length of HTTP/2's preface, in bytes.
const PREFACE_BYTES: usize = 24;

/// Why a connection ended, if not because one side was done with it.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke: {0}")]
pub struct ConnectionError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Spawns what HTTP/2 needs through the world, so that a simulated crash takes it along.
#[derive(Clone, Copy)]
struct Spawner;

impl<F> Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(task::spawn(future));
    }
}

/// A stream whose first bytes have to come in time. Later silences are for the protocols'
/// own timers.
struct Prompt<I> {
    io: I,
    deadline: Option<Pin<Box<Sleep>>>,
    awaited_bytes: usize,
}

impl<I: AsyncRead + Unpin> AsyncRead for Prompt<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.io).poll_read(context, buffer);
        if let Some(deadline) = &mut this.deadline {
            let bytes = buffer.filled().len() - before;
            this.awaited_bytes = this.awaited_bytes.saturating_sub(bytes);
            if this.awaited_bytes == 0 {
                this.deadline = None;
            } else if deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Prompt<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Serves a connection until the client is done with it. After `shutdown` no new request is
/// taken; those that are open are answered first, which for watches is never: drop the future
/// to cut them off.
///
/// # Errors
/// When the connection broke, or the client did not keep to the protocol or to the limits.
pub async fn serve_connection<I, C>(
    io: I,
    router: Router<C>,
    connection: Connection,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ConnectionError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    C: ControlApi,
{
    let limits = router.limits().clone();
    let connection = Arc::new(connection);
    let answer = move |request| router.clone().answer(request, connection.clone());
    serve_requests(io, &limits, answer, shutdown).await
}

/// The same, for whoever answers single requests: within the limits of what a client may have
/// open, and of how long it may take.
///
/// # Errors
/// When the connection broke, or the client did not keep to the protocol or to the limits.
pub async fn serve_requests<I, F, A, B>(
    io: I,
    limits: &Limits,
    answer: F,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ConnectionError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> A + Send + 'static,
    A: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = auto::Builder::new(Spawner);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .max_buf_size(limits.http1_buffer_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        // gRPC has no use for it, and it would be written for every answer.
        .auto_date_header(false)
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_header_list_size(limits.header_list_bytes_max)
        .initial_connection_window_size(limits.receive_window_bytes)
        .initial_stream_window_size(limits.receive_window_bytes)
        .max_send_buf_size(limits.send_buffer_bytes_max)
        .max_pending_accept_reset_streams(limits.pending_resets_max)
        .max_local_error_reset_streams(limits.error_resets_max)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    let service = service_fn(answer);
    let io = TokioIo::new(Prompt {
        io,
        deadline: Some(Box::pin(tokio::time::sleep(limits.header_read_timeout))),
        awaited_bytes: PREFACE_BYTES,
    });
    let mut serving = pin!(builder.serve_connection_with_upgrades(io, service));
    let served = tokio::select! {
        biased;
        served = serving.as_mut() => served,
        () = shutdown => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    served.map_err(ConnectionError)
}
