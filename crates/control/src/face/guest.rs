//! Services of other crates on the client listener: their calls come in through the same checks,
//! by gRPC and by the JSON gateway, and reach them with who has asked.

use std::{pin::Pin, sync::Arc};

use axum::http::{Request, Response};
use tonic::Status;

use super::{Face, caller::Caller};
use crate::{api::ControlApi, proto::internal::Identity};

/// An answer on its way.
pub type Answering = Pin<Box<dyn Future<Output = Response<tonic::body::Body>> + Send>>;

/// Answers one call; messages of more bytes than it is told are refused.
pub type Answer = Arc<dyn Fn(Request<tonic::body::Body>, usize) -> Answering + Send + Sync>;

/// A service of another crate. Each call has an [`Identity`] among its extensions: while
/// authentication is on, that of somebody who has logged in. What that one may do, the service
/// has to ask ([`ControlApi::permit`]).
#[derive(Clone)]
pub struct Guest {
    /// Its full name, as `package.Service`.
    pub service: &'static str,
    /// The descriptors of its .proto files, encoded.
    pub descriptors: &'static [u8],
    /// Paths of the JSON gateway, all below `/v1/`, and its methods behind them.
    pub paths: &'static [(&'static str, &'static str)],
    /// Answers.
    pub call: Answer,
}

impl<C: ControlApi> Face<C> {
    /// The checks that come before a guest is called.
    pub(crate) fn admit(
        &self,
        mut request: Request<tonic::body::Body>,
    ) -> Result<Request<tonic::body::Body>, Status> {
        let caller = Caller::new(request.headers(), request.extensions());
        let standing = self.enter(caller, false)?;
        let identity: Identity = self.logged_in(caller, &standing)?;
        request.extensions_mut().insert(identity);
        Ok(request)
    }
}
