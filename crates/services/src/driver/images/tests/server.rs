//! A registry on this machine, that does as it is told.

use std::{convert::Infallible, sync::Arc};

use atoll_world::{net, task};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use super::build::Blobs;
use crate::core::image::Digest;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What it does beside the usual.
#[derive(Clone, Default)]
pub(super) struct Ways {
    /// It wants this, and names its own token service, or wants a password (`Basic …`).
    pub(super) wants: Option<String>,
    /// Where its token service is said to be.
    pub(super) realm: Option<String>,
    /// What its token service wants.
    pub(super) login: Option<String>,
    /// Where blobs are.
    pub(super) blobs_at: Option<String>,
    /// These blobs come so.
    pub(super) faults: Vec<(Digest, Fault)>,
    /// What tags lead to: `repository:tag`.
    pub(super) tags: Vec<(String, Digest)>,
    /// Manifests are sent as that.
    pub(super) media_type: Option<&'static str>,
}

/// How a blob comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Only the first half, as if it were the whole.
    Short,
    /// The first half, and then the connection ends.
    Cut,
    /// With more behind it.
    Long,
    /// Other bytes of that length.
    Other,
    /// An error.
    Down,
}

/// A registry. It ends with the test.
#[derive(Clone)]
pub(super) struct Registry {
    /// `127.0.0.1:PORT`.
    pub(super) address: String,
    pub(super) ways: Arc<Mutex<Ways>>,
    blobs: Arc<Blobs>,
    /// What it was asked: path and query, and who asked.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Registry {
    pub(super) async fn start(blobs: Blobs, ways: Ways) -> Registry {
        let listener = net::listen("127.0.0.1:0").await.unwrap();
        let registry = Registry {
            address: listener.local_address().to_string(),
            ways: Arc::new(Mutex::new(ways)),
            blobs: Arc::new(blobs),
            asked: Arc::default(),
        };
        let own = registry.clone();
        drop(task::spawn(async move {
            loop {
                let stream = TokioIo::new(listener.accept().await.plain());
                let own = own.clone();
                let answer = service_fn(move |request| {
                    let own = own.clone();
                    async move { Ok::<_, Infallible>(own.answer(request).await) }
                });
                drop(task::spawn(
                    http1::Builder::new().serve_connection(stream, answer),
                ));
            }
        }));
        registry
    }

    /// How often something was asked that has this in it.
    pub(super) fn count(&self, part: &str) -> usize {
        let asked = self.asked.lock();
        asked.iter().filter(|(path, _)| path.contains(part)).count()
    }

    /// Who asked, each time.
    pub(super) fn shown(&self) -> Vec<String> {
        self.asked
            .lock()
            .iter()
            .map(|(_, shown)| shown.clone())
            .collect()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path_and_query().unwrap().as_str().to_owned();
        let shown = request.headers().get(AUTHORIZATION);
        let shown = shown.map_or("", |it| it.to_str().unwrap()).to_owned();
        let form = request.into_body().collect().await.unwrap().to_bytes();
        let form = String::from_utf8(form.to_vec()).unwrap();
        self.asked
            .lock()
            .push((format!("{path}{form}"), shown.clone()));
        let ways = self.ways.lock().clone();
        if let Some(asked) = path.strip_prefix("/token") {
            return token(&ways, &shown, &format!("{asked}{form}"));
        }
        if let Some(wanted) = &ways.wants
            && *wanted != shown
        {
            return self.challenge(wanted, ways.realm.as_deref());
        }
        if let Some((repository, version)) = path.split_once("/manifests/") {
            let repository = repository.trim_start_matches("/v2/");
            let name = format!("{repository}:{version}");
            let tagged = ways.tags.iter().find(|(tag, _)| *tag == name);
            let digest = tagged.map(|(_, digest)| *digest).or(version.parse().ok());
            let manifest = digest.and_then(|it| self.blobs.0.get(&it));
            return manifest.map_or(status(404), |manifest| {
                let kind = ways.media_type.unwrap_or("application/json; charset=utf-8");
                let mut answer = whole(manifest.clone());
                answer
                    .headers_mut()
                    .insert(CONTENT_TYPE, kind.parse().unwrap());
                answer
            });
        }
        let Some((_, digest)) = path.split_once("/blobs/") else {
            return status(404);
        };
        if let Some(at) = ways.blobs_at {
            let location = match at.as_str() {
                "itself" => path.clone(),
                at => format!("http://{at}{path}?sig=secret"),
            };
            let mut answer = status(307);
            answer
                .headers_mut()
                .insert(LOCATION, location.parse().unwrap());
            return answer;
        }
        let digest = digest.split('?').next().unwrap().parse().unwrap();
        let fault = ways.faults.iter().find(|(of, _)| *of == digest);
        self.blob(&digest, fault.map(|(_, fault)| *fault))
    }

    fn blob(&self, digest: &Digest, fault: Option<Fault>) -> Response<Body> {
        let Some(content) = self.blobs.0.get(digest) else {
            return status(404);
        };
        let half = content[..content.len() / 2].to_vec();
        match fault {
            None => whole(content.clone()),
            Some(Fault::Short) => whole(half),
            Some(Fault::Long) => whole([content.as_slice(), b"more"].concat()),
            Some(Fault::Other) => whole(vec![0; content.len()]),
            Some(Fault::Down) => status(503),
            Some(Fault::Cut) => {
                let pieces = [
                    Ok(Frame::data(Bytes::from(half))),
                    Err(std::io::Error::other("cut")),
                ];
                let stream = futures_util::stream::iter(pieces);
                Response::new(StreamBody::new(stream).boxed_unsync())
            }
        }
    }

    fn challenge(&self, wanted: &str, realm: Option<&str>) -> Response<Body> {
        let own = format!("http://{}/token", self.address);
        let realm = realm.unwrap_or(&own);
        let field = match wanted.starts_with("Basic") {
            true => "Basic realm=\"r\"".to_owned(),
            false => {
                format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:app:pull\"")
            }
        };
        let mut answer = status(401);
        answer
            .headers_mut()
            .insert(WWW_AUTHENTICATE, field.parse().unwrap());
        answer
    }
}

fn token(ways: &Ways, shown: &str, asked: &str) -> Response<Body> {
    let is_asked = asked.contains("service=s") && asked.contains("scope=repository%3Aapp%3Apull");
    let login = ways.login.clone().unwrap_or_default();
    let is_known = shown == login || asked.contains(&format!("refresh_token={login}"));
    match (is_asked, is_known) {
        (true, true) => {
            let wanted = ways.wants.clone().unwrap_or_default();
            let token = wanted.trim_start_matches("Bearer ").to_owned();
            whole(serde_json::json!({"token": token}).to_string().into_bytes())
        }
        (true, false) => status(401),
        (false, _) => status(400),
    }
}

fn whole(content: Vec<u8>) -> Response<Body> {
    let never = |never: Infallible| match never {};
    Response::new(Full::from(content).map_err(never).boxed_unsync())
}

fn status(code: u16) -> Response<Body> {
    let mut answer = whole(b"{}".to_vec());
    *answer.status_mut() = code.try_into().unwrap();
    answer
}
