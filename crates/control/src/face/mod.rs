//! The etcd v3 face: gRPC, its JSON gateway and the HTTP pages beside it, on one listener.
//!
//! A connection comes in through [`serve_connection`]; the [`Router`] tells gRPC from HTTP.
//! Each RPC goes the same way: the checks that need no body ([`caller`]), the checks of the
//! request itself ([`check`], in etcd's order, with etcd's texts), the identity, then one call
//! of [`ControlApi`], then the header. Nothing here decides anything: rights are checked again
//! where a command is applied.
//!
//! Invariants:
//! * every code and text that a client may match on comes from [`core::error`](crate::core::error)
//!   through [`status`], or is beside the check that raises it;
//! * what a client controls is bounded by [`Limits`];
//! * a stream holds no task of its own: it ends with the client's request, and a client that
//!   does not read stops its own stream only.

mod auth;
mod authority;
mod body;
pub(crate) mod browser;
mod caller;
mod certificates;
pub(crate) mod check;
mod cluster;
mod deadline;
mod drains;
mod election;
pub(crate) mod gateway;
mod generate;
mod guest;
mod health;
mod kv;
mod leader;
mod lease;
mod limits;
mod lock;
mod locks;
mod maintenance;
mod pages;
mod queue;
mod router;
mod serve;
mod status;
mod tokens;
pub(crate) mod unary;
mod watch;

pub use body::FaceBody;
pub use caller::Connection;
pub use guest::{Answer, Answering, Guest};
pub use limits::Limits;
pub use router::{Metrics, Router, router, router_with};
pub use serve::{ConnectionError, serve_connection, serve_requests};
pub use status::rpc_text;

use std::sync::Arc;

use crate::{api::ControlApi, proto::etcdserverpb::AtollFigure};

/// What every service shares. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Face<C> {
    pub(crate) control: C,
    pub(crate) limits: Arc<Limits>,
    pub(crate) leadership: leader::Leadership,
    pub(crate) guests: Arc<[Guest]>,
    pub(crate) figures: Figures,
}

/// What other rooms of the node tell of themselves, for whoever asks for the node's status.
pub type Figures = Arc<dyn Fn() -> Vec<AtollFigure> + Send + Sync>;

/// Takes the answer out of a reply. A command that is answered with another one's reply is a
/// bug of ours.
macro_rules! reply {
    ($reply:expr, $kind:ident) => {
        match $reply {
            crate::api::Reply::$kind(response) => response,
            other => panic!(
                concat!("wanted a reply to ", stringify!($kind), ", got {:?}"),
                other
            ),
        }
    };
}
pub(crate) use reply;

/// Methods of a generated service that take one message and answer one message, each by a
/// method of [`Face`] that takes the caller and the message.
macro_rules! methods {
    ($($method:ident: $request:ty => $response:ty, $by:ident;)*) => {
        $(
            #[allow(clippy::type_complexity, clippy::type_repetition_in_bounds)]
            fn $method<'life0, 'async_trait>(
                &'life0 self,
                request: tonic::Request<$request>,
            ) -> std::pin::Pin<Box<
                dyn Future<Output = Result<tonic::Response<$response>, tonic::Status>>
                    + Send
                    + 'async_trait,
            >>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(async move {
                    let (metadata, extensions, message) = request.into_parts();
                    let caller = crate::face::caller::Caller::new(metadata.as_ref(), &extensions);
                    Ok(tonic::Response::new(self.$by(caller, message).await?))
                })
            }
        )*
    };
}
pub(crate) use methods;

impl<C: ControlApi> Face<C> {
    pub(crate) fn new(control: C, limits: Limits) -> Self {
        let leadership = leader::Leadership::watch(control.clone(), limits.leader_check_interval);
        Face {
            control,
            limits: Arc::new(limits),
            leadership,
            guests: Arc::new([]),
            figures: Arc::new(Vec::new),
        }
    }

    fn with_guests(self, guests: Vec<Guest>, figures: Figures) -> Self {
        Face {
            guests: guests.into(),
            figures,
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
