//! Answer streams written as straight-line code.
//!
//! The code runs inside the stream that it feeds: nobody polls the stream, nobody runs the
//! code; drop the stream, and the code is dropped with it. So a client that does not read
//! holds back its own stream and nothing else, and one that goes away leaves nothing behind.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::Stream;
use tokio::sync::mpsc;
use tonic::Status;

/// Messages that the code may be ahead of the client.
const AHEAD_MAX: usize = 4;

/// Where the code puts its answers.
pub(crate) struct Out<T>(mpsc::Sender<T>);

impl<T> Out<T> {
    /// Waits until there is room. The stream outlives the code, so this cannot fail.
    pub(crate) async fn send(&self, message: T) {
        // The receiver is in the same struct as the future that holds us.
        let _ = self.0.send(message).await;
    }
}

type Code = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// The stream of what some code sends, ended by its result.
pub(crate) struct Answers<T> {
    receiver: mpsc::Receiver<T>,
    code: Option<Code>,
    failed: Option<Status>,
}

/// A stream of what `code` sends.
pub(crate) fn generate<T, F>(code: impl FnOnce(Out<T>) -> F) -> Answers<T>
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(AHEAD_MAX);
    Answers {
        receiver,
        code: Some(Box::pin(code(Out(sender)))),
        failed: None,
    }
}

impl<T> Stream for Answers<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Poll::Ready(received) = this.receiver.poll_recv(context) {
                return Poll::Ready(match received {
                    Some(message) => Some(Ok(message)),
                    None => this.failed.take().map(Err),
                });
            }
            // The channel is empty but open, so the code has not ended.
            let Some(code) = this.code.as_mut() else {
                return Poll::Ready(this.failed.take().map(Err));
            };
            match code.as_mut().poll(context) {
                Poll::Ready(result) => {
                    this.failed = result.err();
                    this.code = None;
                }
                // It may have sent something before it had to wait.
                Poll::Pending => {
                    return match this.receiver.poll_recv(context) {
                        Poll::Ready(Some(message)) => Poll::Ready(Some(Ok(message))),
                        Poll::Ready(None) | Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn code_runs_no_further_ahead_than_the_client_reads() {
        let done = Arc::new(AtomicUsize::new(0));
        let counted = done.clone();
        let mut answers = generate(move |out| async move {
            for number in 0..100 {
                out.send(number).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Err(Status::aborted("over"))
        });
        assert_eq!(done.load(Ordering::Relaxed), 0);
        for read in 0..100 {
            assert_eq!(answers.next().await.unwrap().unwrap(), read);
            assert!(done.load(Ordering::Relaxed) <= read + 1 + AHEAD_MAX);
        }
        assert_eq!(answers.next().await.unwrap().unwrap_err().message(), "over");
        assert!(answers.next().await.is_none());
    }
}
