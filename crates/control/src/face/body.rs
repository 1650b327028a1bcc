//! Bodies of answers: gRPC's short ones without a box, everything else as it comes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of any answer of the face.
#[derive(Default)]
pub struct FaceBody(Kind);

#[derive(Default)]
enum Kind {
    /// Nothing (more).
    #[default]
    Empty,
    /// One gRPC message, then the trailers that say it went well.
    Message(Bytes),
    /// Those trailers.
    WentWell,
    Grpc(tonic::body::Body),
    Page(axum::body::Body),
}

impl FaceBody {
    /// One gRPC message, frame and all, and the trailers of success.
    pub(crate) fn message(framed: Bytes) -> Self {
        FaceBody(Kind::Message(framed))
    }

    pub(crate) fn grpc(body: tonic::body::Body) -> Self {
        FaceBody(Kind::Grpc(body))
    }

    pub(crate) fn page(body: axum::body::Body) -> Self {
        FaceBody(Kind::Page(body))
    }
}

impl Body for FaceBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let kind = &mut self.get_mut().0;
        let frame =
            match kind {
                Kind::Empty => None,
                Kind::Message(framed) => {
                    let framed = std::mem::take(framed);
                    *kind = Kind::WentWell;
                    Some(Ok(Frame::data(framed)))
                }
                Kind::WentWell => {
                    *kind = Kind::Empty;
                    let mut trailers = HeaderMap::with_capacity(1);
                    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
                    Some(Ok(Frame::trailers(trailers)))
                }
                Kind::Grpc(body) => ready!(Pin::new(body).poll_frame(context))
                    .map(|frame| frame.map_err(Into::into)),
                Kind::Page(body) => ready!(Pin::new(body).poll_frame(context))
                    .map(|frame| frame.map_err(Into::into)),
            };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Message(_) | Kind::WentWell => false,
            Kind::Grpc(body) => body.is_end_stream(),
            Kind::Page(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty | Kind::WentWell => SizeHint::with_exact(0),
            Kind::Message(framed) => SizeHint::with_exact(framed.len() as u64),
            Kind::Grpc(body) => body.size_hint(),
            Kind::Page(body) => body.size_hint(),
        }
    }
}
