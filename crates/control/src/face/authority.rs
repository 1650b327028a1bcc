//! The Authority service: looking at the cluster's authority, and replacing it.

use tonic::{Request, Response, Status};

use super::Face;
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
    async fn authority_status(&self) -> Answer {
        Ok(Response::new(rotation::status(&self.control).await?))
    }
}

#[tonic::async_trait]
impl<C: ControlApi> Authority for Face<C> {
    async fn status(&self, request: Request<AuthorityStatusRequest>) -> Answer {
        self.administer(&request)?;
        self.authority_status().await
    }

    async fn rotate(&self, request: Request<RotateAuthorityRequest>) -> Answer {
        self.administer(&request)?;
        rotation::rotate(&self.control).await?;
        self.authority_status().await
    }

    async fn finish(&self, request: Request<FinishAuthorityRequest>) -> Answer {
        self.administer(&request)?;
        rotation::finish(&self.control, request.get_ref().force).await?;
        self.authority_status().await
    }

    async fn abort(&self, request: Request<AbortAuthorityRequest>) -> Answer {
        self.administer(&request)?;
        rotation::abort(&self.control).await?;
        self.authority_status().await
    }
}
