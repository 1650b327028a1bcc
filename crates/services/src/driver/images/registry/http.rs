//! One request, one connection: a pull is a handful of requests, mostly for large things.

use std::{sync::Arc, time::Duration};

use atoll_world::{
    clock,
    net::{self, Stream},
    task,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request,
    body::Incoming,
    client::conn::http1,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT},
    http::response::Parts,
};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::{Client, RegistryError, url::Url};

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// How long an answer may take to begin.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long nothing may come of a body.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The head of an answer, bytes, and the fields in it.
const HEAD_BYTES_MAX: usize = 256 << 10;
const FIELDS_MAX: usize = 256;
const AGENT: HeaderValue = HeaderValue::from_static(concat!("atoll/", env!("CARGO_PKG_VERSION")));
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// What goes with a request.
#[derive(Default)]
pub(super) struct Ask<'a> {
    /// Which media types are understood.
    pub(super) accept: Option<&'a str>,
    /// Who asks.
    pub(super) authorization: Option<HeaderValue>,
}

/// The answer to a request; the connection ends with it.
pub(super) struct Answer {
    /// Who was asked.
    pub(super) url: Url,
    /// Status and fields.
    pub(super) head: Parts,
    body: Incoming,
    _connection: Connection,
}

struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// Gets something.
    pub(super) async fn get(&self, url: &Url, ask: Ask<'_>) -> Result<Answer, RegistryError> {
        let mut request = Request::new(Full::default());
        if let Some(accept) = ask.accept.and_then(|it| HeaderValue::from_str(it).ok()) {
            request.headers_mut().insert(ACCEPT, accept);
        }
        if let Some(authorization) = ask.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        self.send(url, request).await
    }

    /// Sends a form.
    pub(super) async fn post(&self, url: &Url, form: String) -> Result<Answer, RegistryError> {
        let mut request = Request::new(Full::from(form));
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(CONTENT_TYPE, FORM);
        self.send(url, request).await
    }

    async fn send(
        &self,
        url: &Url,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Answer, RegistryError> {
        let address = || RegistryError::Address(url.to_string(), "it is no URL");
        *request.uri_mut() = url.path.parse().map_err(|_| address())?;
        let host = HeaderValue::from_str(&url.authority()).map_err(|_| address())?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(USER_AGENT, AGENT);
        let broken = |source| RegistryError::Broken {
            url: url.to_string(),
            source,
        };
        let stream = self.connect(url).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX).max_headers(FIELDS_MAX);
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(broken)?;
        let connection = Connection(task::spawn(connection).abort_handle());
        let answer = clock::timeout(ANSWER_MAX, sender.send_request(request)).await;
        let answer = answer.map_err(|_| RegistryError::Silent(url.to_string()))?;
        let (head, body) = answer.map_err(broken)?.into_parts();
        Ok(Answer {
            url: url.clone(),
            head,
            body,
            _connection: connection,
        })
    }

    async fn connect(&self, url: &Url) -> Result<Stream, RegistryError> {
        let address = url.address();
        Ok(match url.is_tls {
            false => net::connect(&address, CONNECT_MAX).await?,
            true => {
                let tls = Arc::clone(&self.tls);
                net::connect_tls(&address, &url.host, tls, CONNECT_MAX).await?
            }
        })
    }
}

impl Answer {
    /// The next piece of the body; none at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let frame = clock::timeout(SILENCE_MAX, self.body.frame()).await;
            let frame = frame.map_err(|_| RegistryError::Silent(self.url.to_string()))?;
            let frame = frame.transpose().map_err(|source| RegistryError::Broken {
                url: self.url.to_string(),
                source,
            })?;
            match frame.map(hyper::body::Frame::into_data) {
                None => return Ok(None),
                Some(Ok(piece)) => return Ok(Some(piece)),
                Some(Err(_)) => {}
            }
        }
    }

    /// The whole body.
    pub(super) async fn whole(&mut self, bytes_max: usize) -> Result<Vec<u8>, RegistryError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > bytes_max {
                return Err(RegistryError::TooLong(self.url.to_string()));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}
