//! The gRPC health service (grpc.health.v1). As with etcd, a process that answers is serving;
//! whether the cluster does is what `/readyz` tells.

use std::convert::Infallible;

use axum::http::{Request, Response as HttpResponse};
use futures_util::{Stream, StreamExt, stream};
use tonic::{Request as GrpcRequest, Response, Status, codegen::Service};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

struct Serving;

fn answer(service: &str) -> Result<HealthCheckResponse, Status> {
    match service {
        "" => Ok(HealthCheckResponse {
            status: ServingStatus::Serving as i32,
        }),
        _ => Err(Status::not_found("unknown service")),
    }
}

#[tonic::async_trait]
impl Health for Serving {
    type WatchStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: GrpcRequest<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        answer(&request.into_inner().service).map(Response::new)
    }

    async fn watch(
        &self,
        request: GrpcRequest<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        // Watching a service that is not there is not an error: it may appear.
        let first = answer(&request.into_inner().service).unwrap_or(HealthCheckResponse {
            status: ServingStatus::ServiceUnknown as i32,
        });
        let forever = stream::iter([Ok(first)]).chain(stream::pending());
        Ok(Response::new(Box::pin(forever)))
    }
}

pub(crate) async fn serve(
    request: Request<tonic::body::Body>,
) -> Result<HttpResponse<tonic::body::Body>, Infallible> {
    HealthServer::new(Serving).call(request).await
}
