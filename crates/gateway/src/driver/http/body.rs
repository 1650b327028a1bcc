//! Bodies on their way. Nothing is kept: each side is asked for more only when the other one
//! took what there was.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::{access::Entry, pool::Lease};
use crate::{core::breaker::Permit, driver::guarded::Busy};

/// What became of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing bad.
    Good,
    /// The client broke it off.
    Broken,
    /// It is longer than the route takes.
    TooLong,
}

/// The fate of a body, for who sent it on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched(Arc<AtomicU8>);

impl Watched {
    fn set(&self, fate: Fate) {
        self.0.store(fate as u8, Ordering::Relaxed);
    }

    pub(super) fn fate(&self) -> Fate {
        match self.0.load(Ordering::Relaxed) {
            0 => Fate::Good,
            1 => Fate::Broken,
            _ => Fate::TooLong,
        }
    }
}

/// Why a body ended too early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The client's fault, or the network's.
    #[error("{0}")]
    Client(#[source] hyper::Error),
    /// It is longer than the route takes.
    #[error("the body is too long")]
    TooLong,
}

/// The body of a request on its way to an endpoint.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// None.
    Empty,
    /// The client's.
    Streamed {
        /// Where it comes from.
        body: Incoming,
        /// As many bytes may still come.
        left: u64,
        /// Set when it ends badly.
        watched: Watched,
    },
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Outgoing::Streamed {
            body,
            left,
            watched,
        } = self.get_mut()
        else {
            return Poll::Ready(None);
        };
        let Some(came) = ready!(Pin::new(body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let passed = came.map_err(BodyError::Client).and_then(|frame| {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            *left = left.checked_sub(bytes).ok_or(BodyError::TooLong)?;
            Ok(frame)
        });
        if let Err(error) = &passed {
            watched.set(match error {
                BodyError::Client(_) => Fate::Broken,
                BodyError::TooLong => Fate::TooLong,
            });
        }
        Poll::Ready(Some(passed))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Empty => true,
            Outgoing::Streamed { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Empty => SizeHint::with_exact(0),
            Outgoing::Streamed { body, .. } => body.size_hint(),
        }
    }
}

/// What a request holds until its answer has ended.
#[derive(Debug)]
pub(super) struct Open {
    /// Its connection is in use.
    pub(super) _busy: Busy,
    /// It counts among the gateway's requests.
    pub(super) _request: Permit,
    /// Its line in the access log, if there is one.
    pub(super) entry: Option<Box<Entry>>,
}

/// What a request holds of a cluster until its answer has ended.
#[derive(Debug)]
pub(super) struct Held {
    /// It counts among the cluster's requests.
    pub(super) _request: Permit,
    /// It counts among the endpoint's.
    pub(super) _open: Permit,
}

/// The body of an answer on its way to the client.
#[derive(Debug)]
pub(super) struct Answer {
    kind: Kind,
    open: Option<Open>,
}

#[derive(Debug)]
enum Kind {
    Text(Full<Bytes>),
    Streamed {
        body: Incoming,
        /// The connection it comes on, to be kept once the body has ended.
        lease: Option<Lease>,
        _held: Held,
    },
}

impl Answer {
    /// The gateway's own words.
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        Answer {
            kind: Kind::Text(Full::new(text.into())),
            open: None,
        }
    }

    /// An endpoint's.
    pub(super) fn streamed(body: Incoming, mut lease: Option<Lease>, held: Held) -> Self {
        if body.is_end_stream() {
            give_back(&mut lease);
        }
        Answer {
            kind: Kind::Streamed {
                body,
                lease,
                _held: held,
            },
            open: None,
        }
    }

    /// Holds this until the answer has ended.
    pub(super) fn holding(mut self, open: Open) -> Self {
        self.open = Some(open);
        self
    }
}

fn give_back(lease: &mut Option<Lease>) {
    if let Some(lease) = lease.take() {
        lease.give_back();
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = match &mut this.kind {
            Kind::Text(text) => Pin::new(text)
                .poll_frame(context)
                .map_err(|never| match never {}),
            Kind::Streamed { body, lease, .. } => {
                let polled = Pin::new(&mut *body).poll_frame(context);
                match &polled {
                    Poll::Ready(Some(Ok(_))) if !body.is_end_stream() => {}
                    Poll::Ready(Some(Ok(_)) | None) => give_back(lease),
                    Poll::Ready(Some(Err(_))) => *lease = None,
                    Poll::Pending => {}
                }
                polled
            }
        };
        let entry = this.open.as_mut().and_then(|open| open.entry.as_mut());
        if let (Some(entry), Poll::Ready(Some(frame))) = (entry, &polled) {
            entry.passed(frame.as_ref().ok());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Text(text) => text.is_end_stream(),
            Kind::Streamed { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Text(text) => text.size_hint(),
            Kind::Streamed { body, .. } => body.size_hint(),
        }
    }
}
