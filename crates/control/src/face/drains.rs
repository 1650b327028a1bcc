//! The Drains service: which nodes are to be empty.

use std::collections::BTreeSet;

use atoll_base::id::NodeId;
use tonic::{Request, Response, Status};

use super::Face;
use crate::{
    api::ControlApi,
    driver::drains::{self, DrainError},
    proto::cluster::{BeginDrainRequest, DrainsResponse, EndDrainRequest, drains_server::Drains},
};

impl From<DrainError> for Status {
    fn from(error: DrainError) -> Status {
        match error {
            DrainError::NoMember(_) => Status::not_found(error.to_string()),
            DrainError::Last(_) => Status::failed_precondition(error.to_string()),
            DrainError::Cluster(error) => error.into(),
        }
    }
}

fn answer(nodes: BTreeSet<NodeId>) -> Response<DrainsResponse> {
    let nodes = nodes.into_iter().map(|node| node.0).collect();
    Response::new(DrainsResponse { nodes })
}

#[tonic::async_trait]
impl<C: ControlApi> Drains for Face<C> {
    async fn begin(
        &self,
        request: Request<BeginDrainRequest>,
    ) -> Result<Response<DrainsResponse>, Status> {
        self.administer(&request)?;
        let node = NodeId(request.get_ref().node);
        Ok(answer(drains::begin(&self.control, node).await?))
    }

    async fn end(
        &self,
        request: Request<EndDrainRequest>,
    ) -> Result<Response<DrainsResponse>, Status> {
        self.administer(&request)?;
        let node = NodeId(request.get_ref().node);
        Ok(answer(drains::end(&self.control, node).await?))
    }
}
