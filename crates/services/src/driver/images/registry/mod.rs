//! What is asked of a registry (OCI Distribution Specification 1.1, "Pull").
//!
//! A session is for one repository and one login. It asks without a credential first, and then
//! as the registry says. Invariants:
//! - a credential goes to the registry it is for, and to the token service that the registry
//!   names; never to where an answer redirects;
//! - without TLS nothing is said but on this machine;
//! - what comes is counted as it comes, and given up when it is more than it should be, or when
//!   nothing comes for a while.

mod auth;
mod http;
pub(super) mod trust;
mod url;

use std::sync::Arc;

use atoll_world::task;
use bytes::BytesMut;
use hyper::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderValue, LOCATION},
};
use parking_lot::Mutex;
use rustls::ClientConfig;

use self::{
    http::{Answer, Ask},
    url::Url,
};
use super::{ImageError, store::BlobWriter};
use crate::core::image::{
    DOCUMENT_BYTES_MAX, Descriptor, Digest, Login, Reference, manifest::ACCEPT,
};

/// An answer is followed elsewhere so many times.
const REDIRECTS_MAX: usize = 5;
/// Content is written in pieces of at least so many bytes.
const PIECE_BYTES: usize = 256 << 10;

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry's name, or where an answer leads, can't be asked.
    #[error("{0:?} can't be asked: {1}")]
    Address(String, &'static str),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] atoll_world::net::NetError),
    /// The connection broke, or what came is no HTTP.
    #[error("{url}: {source}")]
    Broken {
        /// Who was asked.
        url: String,
        /// What happened.
        source: hyper::Error,
    },
    /// Nothing came for a while.
    #[error("{0} does not answer any more")]
    Silent(String),
    /// The login is not good, or not good enough, or there is none.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require \
         authorization: {why}"
    )]
    Denied {
        /// What was asked for.
        repository: String,
        /// What is wrong.
        why: String,
    },
    /// There is no such manifest or blob.
    #[error("{0}: not found")]
    NotFound(String),
    /// Another answer than was asked for.
    #[error("unexpected status from GET request to {url}: {status}")]
    Status {
        /// Who was asked.
        url: String,
        /// The answer.
        status: StatusCode,
    },
    /// There is more of it than there should be.
    #[error("{0} sends more than it should")]
    TooLong(String),
    /// It redirects again and again.
    #[error("{0} redirects too often")]
    Redirects(String),
}

/// Asks registries.
pub(super) struct Client {
    tls: Arc<ClientConfig>,
}

impl Client {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Client {
        Client { tls }
    }

    /// For one repository, as somebody or as nobody.
    pub(super) fn session<'a>(
        &'a self,
        name: &'a Reference,
        login: Option<&'a Login>,
    ) -> Result<Session<'a>, RegistryError> {
        Ok(Session {
            client: self,
            origin: Url::of_registry(name.registry_host())?,
            name,
            login,
            authorization: Mutex::default(),
        })
    }
}

/// Asks for what is in one repository.
pub(super) struct Session<'a> {
    client: &'a Client,
    origin: Url,
    name: &'a Reference,
    login: Option<&'a Login>,
    /// What was good the last time.
    authorization: Mutex<Option<HeaderValue>>,
}

impl Session<'_> {
    /// A manifest or an index, by a tag or a digest, and what it is sent as.
    pub(super) async fn manifest(
        &self,
        version: &str,
    ) -> Result<(Vec<u8>, Option<String>), RegistryError> {
        let path = format!("/v2/{}/manifests/{version}", self.name.repository());
        let accept = ACCEPT.join(", ");
        let mut answer = self.get(&path, Some(&accept)).await?;
        let media_type = answer.head.headers.get(CONTENT_TYPE);
        let media_type = media_type.and_then(|it| it.to_str().ok());
        // What comes behind a semicolon tells how it is written.
        let media_type = media_type.and_then(|it| it.split(';').next());
        let media_type = media_type.map(|it| it.trim().to_owned());
        Ok((answer.whole(DOCUMENT_BYTES_MAX).await?, media_type))
    }

    /// A small blob.
    pub(super) async fn document(&self, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
        let mut answer = self.get(&self.blob_path(digest), None).await?;
        answer.whole(DOCUMENT_BYTES_MAX).await
    }

    /// Fetches a blob; what is returned is whole and has its digest.
    pub(super) async fn blob(
        &self,
        mut writer: BlobWriter,
        blob: &Descriptor,
    ) -> Result<BlobWriter, ImageError> {
        let mut answer = self.get(&self.blob_path(&blob.digest), None).await?;
        let mut piece = BytesMut::new();
        loop {
            let next = answer.next().await?;
            let is_over = next.is_none();
            piece.extend_from_slice(&next.unwrap_or_default());
            if writer.bytes() + piece.len() as u64 > blob.size {
                return Err(RegistryError::TooLong(answer.url.to_string()).into());
            }
            if is_over || piece.len() >= PIECE_BYTES {
                let ready = piece.split().freeze();
                writer = task::blocking(move || {
                    writer.write(&ready)?;
                    Ok::<_, ImageError>(writer)
                })
                .await?;
            }
            if is_over {
                writer.check(blob)?;
                return Ok(writer);
            }
        }
    }

    fn blob_path(&self, digest: &Digest) -> String {
        format!("/v2/{}/blobs/{digest}", self.name.repository())
    }

    /// Asks the registry, follows where it leads, and shows who is asking if it wants to know.
    async fn get(&self, path: &str, accept: Option<&str>) -> Result<Answer, RegistryError> {
        let own = self.origin.with_path(path);
        let mut url = own.clone();
        let mut has_shown = false;
        let mut redirects = 0;
        loop {
            let is_own = url.is_same_origin(&self.origin);
            let authorization = self.authorization.lock().clone();
            let ask = Ask {
                accept,
                authorization: authorization.filter(|_| is_own),
            };
            let answer = self.client.get(&url, ask).await?;
            let status = answer.head.status;
            if status == StatusCode::UNAUTHORIZED && is_own && !has_shown {
                has_shown = true;
                let shown = self.authorize(&answer).await?;
                *self.authorization.lock() = Some(shown);
            } else if status.is_redirection() {
                redirects += 1;
                if redirects > REDIRECTS_MAX {
                    return Err(RegistryError::Redirects(own.to_string()));
                }
                url = redirected(&url, &answer)?;
            } else {
                return self.judged(answer, &own);
            }
        }
    }

    fn judged(&self, answer: Answer, own: &Url) -> Result<Answer, RegistryError> {
        match answer.head.status {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound(own.to_string())),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(self.denied(status.to_string()))
            }
            status => Err(RegistryError::Status {
                url: answer.url.to_string(),
                status,
            }),
        }
    }

    fn denied(&self, why: String) -> RegistryError {
        RegistryError::Denied {
            repository: self.name.name(),
            why,
        }
    }
}

/// Where an answer leads.
fn redirected(from: &Url, answer: &Answer) -> Result<Url, RegistryError> {
    let location = answer.head.headers.get(LOCATION);
    let location = location.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let to = match location.starts_with('/') && !location.starts_with("//") {
        true => from.with_path(location),
        false => Url::read(location)?,
    };
    from.may_lead_to(&to)?;
    Ok(to)
}
