//! Health, as `grpc.health.v1` has it: whoever answers serves. Whether what is behind it does, its calls tell; the
//! host's own health is at its admin address.

use axum::{extract::Request, response::Response as HttpResponse};
use futures::stream;
use tonic::{Response, Status, async_trait};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

use super::{MAX_BYTES, Services};

struct Serving(&'static Services);

pub(super) async fn serve(services: &'static Services, request: Request) -> HttpResponse {
    let server = HealthServer::new(Serving(services)).max_decoding_message_size(MAX_BYTES);
    super::call(server, request).await
}

#[async_trait]
impl Health for Serving {
    async fn check(
        &self,
        call: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = call.into_inner().service;
        if !name.is_empty() && !self.0.named(&name) {
            return Err(Status::not_found("there is no such service"));
        }
        Ok(Response::new(HealthCheckResponse {
            status: ServingStatus::Serving.into(),
        }))
    }

    type WatchStream = stream::Empty<Result<HealthCheckResponse, Status>>;

    /// A call does not last for ever here. Clients take this for healthy.
    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("ask with Check, again and again"))
    }
}
