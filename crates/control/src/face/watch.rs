//! The Watch service: pumps requests into a [`Watches`] and its answers out.
//!
//! Everything that watches do is decided behind [`Watches`]. Here only who asks is looked at
//! again for every watch, because a stream may outlive a token.

use tonic::{Request, Response, Status, Streaming};

use super::{
    Face,
    caller::{Caller, OwnedCaller, anonymous, complete, header},
    generate::{Answers, Out, generate},
    status::rpc_text,
};
use crate::{
    api::{ControlApi, Standing, Watches},
    core::error::Error,
    proto::etcdserverpb::{self as pb, watch_request::RequestUnion, watch_server::Watch},
};

/// The id of a watch that was never made.
const NO_WATCH: i64 = -1;

/// The answer to a request for a watch that is refused.
fn refusal(standing: &Standing, reason: String) -> pb::WatchResponse {
    pb::WatchResponse {
        header: header(standing, 0),
        watch_id: NO_WATCH,
        created: true,
        canceled: true,
        cancel_reason: reason,
        ..Default::default()
    }
}

async fn serve<C: ControlApi>(
    face: Face<C>,
    caller: OwnedCaller,
    mut requests: Streaming<pb::WatchRequest>,
    out: Out<pb::WatchResponse>,
) -> Result<(), Status> {
    let identity = face.identity(caller.borrow(), &face.control.standing());
    let mut watches = face.control.watch(identity.unwrap_or_else(|_| anonymous()));
    // A client that has said all it wants still listens.
    let mut asking = true;
    loop {
        tokio::select! {
            biased;
            request = requests.message(), if asking && watches.has_room() => match request {
                Ok(Some(request)) => {
                    if let Some(refusal) = handle(&face, &caller, &mut watches, request).await? {
                        out.send(refusal).await;
                    }
                }
                Ok(None) => asking = false,
                Err(status) if status.code() == tonic::Code::Cancelled => {
                    return Err(Error::WatchCanceled.into());
                }
                Err(status) => return Err(status),
            },
            mut response = watches.next() => {
                let standing = face.control.standing();
                response.header = complete(response.header, &standing);
                out.send(response).await;
            }
        }
    }
}

/// Hands one request on. Answers why it is refused, if it is.
///
/// # Errors
/// The stream has to end.
async fn handle<C: ControlApi>(
    face: &Face<C>,
    caller: &OwnedCaller,
    watches: &mut C::Watches,
    request: pb::WatchRequest,
) -> Result<Option<pb::WatchResponse>, Error> {
    let creates = matches!(request.request_union, Some(RequestUnion::CreateRequest(_)));
    let standing = face.control.standing();
    if creates {
        match face.identity(caller.borrow(), &standing) {
            Ok(identity) => watches.identify(identity),
            Err(error) => return Ok(Some(refusal(&standing, rpc_text(error)))),
        }
    }
    match watches.request(request).await {
        Err(error) if creates => Ok(Some(refusal(&standing, rpc_text(error)))),
        Err(error) => Err(error),
        Ok(()) => Ok(None),
    }
}

#[tonic::async_trait]
impl<C: ControlApi> Watch for Face<C> {
    type WatchStream = Answers<pb::WatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (metadata, extensions, requests) = request.into_parts();
        let caller = Caller::new(metadata.as_ref(), &extensions);
        self.enter(caller, false)?;
        let required = caller.requires_leader();
        let (face, caller) = (self.clone(), caller.to_owned());
        Ok(Response::new(generate(move |out| async move {
            let leadership = face.leadership.clone();
            let work = serve(face, caller, requests, out);
            leadership.hold(required, work).await
        })))
    }
}
