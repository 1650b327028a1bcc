use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures_util::{FutureExt, task::noop_waker};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::*;
use crate::driver::idle::Idle;

const SILENCE_MS: u64 = 60_000;

/// Remembers each write.
#[derive(Clone, Default)]
struct Writes(Arc<Mutex<Vec<Vec<u8>>>>);

impl AsyncRead for Writes {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Writes {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn is_written(io: &mut Idle<Writes>, bytes: &[u8]) -> bool {
    let waker = noop_waker();
    let mut context = Context::from_waker(&waker);
    Pin::new(io).poll_write(&mut context, bytes).is_ready()
}

#[tokio::test]
async fn a_shared_connection_waits_once_before_each_flush() {
    let writes = Writes::default();
    let mut io = Idle::new(writes.clone(), SILENCE_MS, true);
    for _ in 0..2 {
        assert!(!is_written(&mut io, b"one"));
        assert!(is_written(&mut io, b"one and two"));
        assert!(is_written(&mut io, b"the rest of it"));
        io.flush().now_or_never().unwrap().unwrap();
    }
    assert_eq!(writes.0.lock().unwrap()[0], b"one and two");
}

#[tokio::test]
async fn much_and_what_is_alone_goes_at_once() {
    let mut shared = Idle::new(Writes::default(), SILENCE_MS, true);
    assert!(is_written(&mut shared, &[0; LARGE_BYTES]));
    let mut own = Idle::new(Writes::default(), SILENCE_MS, false);
    assert!(is_written(&mut own, b"one"));
}

#[tokio::test]
async fn whoever_is_ready_comes_first() {
    let order = Mutex::new(Vec::new());
    let mut io = Idle::new(Writes::default(), SILENCE_MS, true);
    let writing = async {
        io.write_all(b"all").await.unwrap();
        order.lock().unwrap().push("the connection");
    };
    let answering = poll_fn(|_| {
        order.lock().unwrap().push("a stream");
        Poll::Ready(())
    });
    tokio::join!(writing, answering);
    assert_eq!(order.into_inner().unwrap(), ["a stream", "the connection"]);
}
