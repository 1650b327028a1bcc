//! The Authority service: looking at the cluster's authority, and replacing it.

use tonic::{Request, Response, Status};

use super::{Face, caller::Caller};
use crate::{
    api::ControlApi,
    driver::rotation::{self, RotationError},
    proto::cluster::{
        AbortAuthorityRequest, AuthorityStatusRequest, AuthorityStatusResponse,
        FinishAuthorityRequest, RotateAuthorityRequest, authority_server::Authority,
    },
};

impl From<RotationError> for Status {
    fn from(error: RotationError) -> Status {
        match error {
            RotationError::Cluster(error) => error.into(),
            RotationError::Pki(error) => Status::internal(error.to_string()),
            RotationError::Changed => Status::aborted(error.to_string()),
            error => Status::failed_precondition(error.to_string()),
        }
    }
}

type Answer = Result<Response<AuthorityStatusResponse>, Status>;

impl<C: ControlApi> Face<C> {
    fn authority_admin<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let caller = Caller::new(request.metadata().as_ref(), request.extensions());
        let standing = self.enter(caller, false)?;
        self.admin(caller, &standing)?;
        Ok(())
    }

    async fn authority_status(&self) -> Answer {
        Ok(Response::new(rotation::status(&self.control).await?))
    }
}

#[tonic::async_trait]
impl<C: ControlApi> Authority for Face<C> {
    async fn status(&self, request: Request<AuthorityStatusRequest>) -> Answer {
        self.authority_admin(&request)?;
        self.authority_status().await
    }

    async fn rotate(&self, request: Request<RotateAuthorityRequest>) -> Answer {
        self.authority_admin(&request)?;
        rotation::rotate(&self.control).await?;
        self.authority_status().await
    }

    async fn finish(&self, request: Request<FinishAuthorityRequest>) -> Answer {
        self.authority_admin(&request)?;
        rotation::finish(&self.control, request.get_ref().force).await?;
        self.authority_status().await
    }

    async fn abort(&self, request: Request<AbortAuthorityRequest>) -> Answer {
        self.authority_admin(&request)?;
        rotation::abort(&self.control).await?;
        self.authority_status().await
    }
}
