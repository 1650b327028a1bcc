use std::future::poll_fn;

use futures_util::{FutureExt, task::noop_waker};
use tokio::io::AsyncWriteExt;

use super::*;

/// Remembers each write.
#[derive(Default)]
struct Writes(Vec<Vec<u8>>);

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
        self.get_mut().0.push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn is_written(io: &mut Gather<Writes>, bytes: &[u8]) -> bool {
    let waker = noop_waker();
    let mut context = Context::from_waker(&waker);
    Pin::new(io).poll_write(&mut context, bytes).is_ready()
}

#[test]
fn a_shared_connection_waits_once_before_each_flush() {
    let mut io = Gather::new(Writes::default(), true);
    for _ in 0..2 {
        assert!(!is_written(&mut io, b"one"));
        assert!(is_written(&mut io, b"one and two"));
        assert!(is_written(&mut io, b"the rest of it"));
        io.flush().now_or_never().unwrap().unwrap();
    }
    assert_eq!(io.io.0[0], b"one and two");
}

#[test]
fn much_and_what_is_alone_goes_at_once() {
    let mut shared = Gather::new(Writes::default(), true);
    assert!(is_written(&mut shared, &[0; LARGE_BYTES]));
    let mut own = Gather::new(Writes::default(), false);
    assert!(is_written(&mut own, b"one"));
}

#[tokio::test]
async fn whoever_is_ready_comes_first() {
    let order = std::sync::Mutex::new(Vec::new());
    let mut io = Gather::new(Writes::default(), true);
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
