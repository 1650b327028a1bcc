//! The Kubernetes API: HTTP over TLS.
//!
//! A request goes one way: path → who asks → may that one → body → one call of the driver →
//! answer, in the form that the client asked for. Nothing is decided here.
//!
//! Invariants: nobody without a credential gets past [`identity`]; bodies, queries and streams
//! are bounded; every error is a Status object.

mod body;
pub(crate) mod continuing;
mod identity;
mod images;
mod logs;
mod metrics;
mod objects;
pub(crate) mod offers;
pub(crate) mod options;
mod pages;
mod render;
mod reviews;
pub(crate) mod route;
mod scale;
mod select;
mod sessions;
mod streams;
mod watch;

use std::{convert::Infallible, sync::Arc};

use atoll_control::{
    api::ControlApi,
    face::{Connection, Guest},
};
use axum::{
    body::Body,
    http::{HeaderMap, Request, Response, header::ACCEPT},
};

use self::{
    identity::Right,
    options::Options,
    render::{Answer, Rendered},
    route::{Page, Target},
};
use crate::{
    api::{ImageShelves, Logs, Meter, Sessions},
    core::{
        discovery::{self, Endpoint},
        status::Failure,
    },
    driver::objects::Objects,
};

/// The API of this node. Clones are the same.
#[derive(Clone)]
pub struct Api<C> {
    objects: Objects<C>,
    logs: Arc<dyn Logs>,
    sessions: Arc<dyn Sessions>,
    meter: Arc<dyn Meter>,
    images: Arc<dyn ImageShelves>,
    offers: Guest,
    pages: Arc<pages::Pages>,
    intake: Arc<body::Intake>,
}

/// A request that may be answered.
pub(crate) struct Asked {
    options: Options,
    headers: HeaderMap,
    media_type: String,
    sent: body::Sent,
    rendered: Rendered,
    /// What it takes to have it answered on and on.
    right: Right,
}

impl<C: ControlApi> Api<C> {
    pub(crate) fn new(
        objects: Objects<C>,
        logs: Arc<dyn Logs>,
        sessions: Arc<dyn Sessions>,
        meter: Arc<dyn Meter>,
        images: Arc<dyn ImageShelves>,
        offers: Guest,
    ) -> Self {
        Api {
            objects,
            logs,
            sessions,
            meter,
            images,
            offers,
            pages: Arc::default(),
            intake: Arc::default(),
        }
    }

    /// Answers one request.
    pub async fn answer(
        self,
        request: Request<Body>,
        connection: Arc<Connection>,
    ) -> Result<Response<Body>, Infallible> {
        if offers::is_call(request.uri().path()) {
            let control = self.objects.store.control();
            return Ok(offers::answer(&self.offers, control, request, &connection).await);
        }
        let answered = self.try_answer(request, &connection).await;
        Ok(answered.unwrap_or_else(|failure| {
            if failure.code() >= 500 {
                tracing::debug!(%failure, "a request was not answered");
            }
            Answer::failure(&failure).into_response()
        }))
    }

    async fn try_answer(
        &self,
        request: Request<Body>,
        connection: &Connection,
    ) -> Result<Response<Body>, Failure> {
        let (parts, body) = request.into_parts();
        let target = route::parse(parts.uri.path())?;
        let control = self.objects.store.control();
        if let Target::Page(page @ (Page::Alive | Page::Ready | Page::Version)) = &target {
            // Whoever watches over a node asks these without a credential.
            let answer = self.answer_page(page, &parts.headers).await?;
            return Ok(answer.into_response());
        }
        identity::refuse_others(&parts.headers)?;
        let user = identity::identify(control, &parts.headers, connection)?;
        let options = Options::parse(parts.uri.query());
        let answer = match target {
            Target::Page(page) => self.answer_page(&page, &parts.headers).await?,
            Target::Review(review) => {
                let media_type = body::media_type(&parts.headers).to_owned();
                let sent = self.intake.read(body).await?;
                let review_of = body::parse(&media_type, &sent.bytes)?.object;
                reviews::answer(control, &user, review, &review_of)
            }
            Target::Images => {
                let method = &parts.method;
                self.answer_images(&user, method, &options, body).await?
            }
            Target::Measured(resource) => {
                let verb = objects::verb(&parts.method, &resource, &options)?;
                identity::permit(control, &user, verb, &resource)?;
                self.answer_measured(&resource, verb, &options).await?
            }
            Target::Objects(resource) => {
                let verb = objects::verb(&parts.method, &resource, &options)?;
                identity::permit(control, &user, verb, &resource)?;
                if let Some(part) = resource.subresource.filter(|part| part.is_session()) {
                    let right = Right::new(&user, verb, &resource);
                    return self.answer_session(parts, &resource, part, right).await;
                }
                let accept = parts.headers.get(ACCEPT).and_then(|it| it.to_str().ok());
                let endpoint = match verb.0 {
                    "watch" => Endpoint::Watch,
                    _ => Endpoint::Objects,
                };
                let wanted = discovery::negotiate(accept.unwrap_or_default(), endpoint)?;
                let rendered = Rendered::new(resource.version, wanted, &options)?;
                let asked = Asked {
                    media_type: body::media_type(&parts.headers).to_owned(),
                    headers: parts.headers,
                    sent: self.intake.read(body).await?,
                    options,
                    rendered,
                    right: Right::new(&user, verb, &resource),
                };
                self.answer_objects(asked, &resource, verb).await?
            }
        };
        Ok(answer.into_response())
    }
}
