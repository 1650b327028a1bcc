//! What the gateway says by itself.

use hyper::{
    Response, StatusCode,
    header::{
        ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};

use super::{body::Answer, send::SendError};
use crate::{core::fields::HostError, driver::stats::Stats};

/// Why a request is answered by the gateway.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It is not certain which host was asked for.
    #[error("bad request: {0}")]
    Host(#[from] HostError),
    /// The path leads elsewhere if escapes, dots or slashes in it are read another way.
    #[error("bad request: the path can be understood in two ways")]
    Path,
    /// CONNECT, which would be a tunnel to anywhere.
    #[error("method not allowed")]
    Method,
    /// No route.
    #[error("no route for this host and path")]
    NoRoute,
    /// More requests in a second than the cluster takes.
    #[error("too many requests")]
    Rate,
    /// The route's conditions can't be understood.
    #[error("this route is not set up as it should be")]
    BrokenRoute,
    /// It is to be asked there.
    #[error("this is served with TLS only")]
    Elsewhere(HeaderValue),
    /// Not from this address.
    #[error("forbidden")]
    Forbidden,
    /// Nobody said who asks, or nobody believes it; with what is asked for.
    #[error("unauthorized")]
    Unauthorized(HeaderValue),
    /// Too many passwords are being checked.
    #[error("too many logins at the same time")]
    Busy,
    /// More than the route takes.
    #[error("the request's body is too long")]
    BodyTooLarge,
    /// The endpoint wants to speak something else, unasked.
    #[error("the endpoint switched protocols unasked")]
    Switched,
    /// Nobody answered.
    #[error("{0}")]
    Send(#[from] SendError),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Host(_) | Refusal::Path | Refusal::Send(SendError::BadBody) => {
                StatusCode::BAD_REQUEST
            }
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::NoRoute => StatusCode::NOT_FOUND,
            Refusal::Rate => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Elsewhere(_) => StatusCode::PERMANENT_REDIRECT,
            Refusal::Forbidden => StatusCode::FORBIDDEN,
            Refusal::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Refusal::BodyTooLarge | Refusal::Send(SendError::BodyTooLarge) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Refusal::BrokenRoute
            | Refusal::Busy
            | Refusal::Send(SendError::NoEndpoint | SendError::Limited) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refusal::Switched
            | Refusal::Send(SendError::Unreachable | SendError::Distrusted | SendError::Broke(_)) => {
                StatusCode::BAD_GATEWAY
            }
            Refusal::Send(SendError::Timeout) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Counts it among its like.
    pub(super) fn count(&self, stats: &Stats) {
        match self {
            Refusal::Rate | Refusal::Busy | Refusal::Send(SendError::Limited) => {
                stats.limited.add_one();
            }
            Refusal::Path => stats.malformed.add_one(),
            Refusal::Unauthorized(_) => stats.unauthorized.add_one(),
            Refusal::Forbidden => stats.forbidden.add_one(),
            _ => {}
        }
    }

    /// The answer. What an endpoint did in detail is not told to clients.
    pub(super) fn answer(&self) -> Response<Answer> {
        let text = match self {
            Refusal::Send(SendError::Broke(_)) => "the endpoint broke off\n".to_owned(),
            other => format!("{other}\n"),
        };
        let mut response = Response::new(Answer::text(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        match self {
            Refusal::Rate => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Refusal::Elsewhere(location) => {
                headers.insert(LOCATION, location.clone());
            }
            Refusal::Unauthorized(challenge) => {
                headers.insert(WWW_AUTHENTICATE, challenge.clone());
            }
            Refusal::Method => {
                let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
                headers.insert(ALLOW, HeaderValue::from_static(methods));
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            // What is left of the body can't be told from the next request.
            Refusal::BodyTooLarge | Refusal::Send(SendError::BadBody | SendError::BodyTooLarge) => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
