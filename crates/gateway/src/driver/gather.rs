//! What the streams of one HTTP/2 connection have to send goes out together.
//!
//! Answers come one by one, and each wakes the connection's task, which would send it at once:
//! a record of TLS and a system call for each small answer. Here it waits once until the
//! runtime has polled what else was ready, and then sends everything. Where nothing else is
//! ready, it goes on at once.

use std::task::{Context, Poll};

#[cfg(test)]
mod tests;

/// So much is worth a system call of its own.
const LARGE_BYTES: usize = 4096;

/// When a connection sends.
#[derive(Debug)]
pub(crate) struct Gather {
    /// It carries several requests at a time. Others never wait.
    is_shared: bool,
    /// Others had their turn since the last flush.
    has_waited: bool,
}

impl Gather {
    /// For a connection that carries several requests at a time, or one.
    pub(crate) fn new(is_shared: bool) -> Self {
        Gather {
            is_shared,
            has_waited: false,
        }
    }

    /// Whether so many bytes go out now; if not, the task is polled again after all that are
    /// ready.
    pub(crate) fn poll(&mut self, context: &Context<'_>, bytes: usize) -> Poll<()> {
        let is_small = bytes < LARGE_BYTES;
        if !self.is_shared || !is_small || std::mem::replace(&mut self.has_waited, true) {
            return Poll::Ready(());
        }
        // A task that wakes itself goes behind all that are ready.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// What was to go out has gone, if that is done.
    pub(crate) fn flushed<T>(&mut self, polled: Poll<T>) -> Poll<T> {
        self.has_waited &= polled.is_pending();
        polled
    }
}
