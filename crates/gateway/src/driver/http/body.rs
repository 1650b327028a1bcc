//! Bodies on their way. Nothing is kept: each side is asked for more only when the other one
//! took what there was.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::{access::Entry, pool::Lease};
use crate::{core::breaker::Permit, driver::guarded::Busy};

/// The body of a request on its way to an endpoint.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// None.
    Empty,
    /// The client's.
    Streamed {
        /// Where it comes from.
        body: Incoming,
        /// Set when the client broke it off.
        is_broken: Arc<AtomicBool>,
    },
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Outgoing::Empty => Poll::Ready(None),
            Outgoing::Streamed { body, is_broken } => {
                let polled = Pin::new(body).poll_frame(context);
                if matches!(polled, Poll::Ready(Some(Err(_)))) {
                    is_broken.store(true, Ordering::Relaxed);
                }
                polled
            }
        }
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
