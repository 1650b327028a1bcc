//! The Certificates service: users' client certificates.

use tonic::{Request, Response, Status};

use super::{Face, caller::Caller};
use crate::{
    api::ControlApi,
    driver::certificates::{self, CertifyError, Wanted},
    proto::cluster::{
        IssueCertificateRequest, IssueCertificateResponse, certificates_server::Certificates,
    },
};

impl From<CertifyError> for Status {
    fn from(error: CertifyError) -> Status {
        match error {
            CertifyError::Cluster(error) => error.into(),
            CertifyError::NoAuthority => Status::failed_precondition(error.to_string()),
            CertifyError::NameTooLong
            | CertifyError::LifeTooLong { .. }
            | CertifyError::Request(_) => Status::invalid_argument(error.to_string()),
        }
    }
}

#[tonic::async_trait]
impl<C: ControlApi> Certificates for Face<C> {
    async fn issue(
        &self,
        request: Request<IssueCertificateRequest>,
    ) -> Result<Response<IssueCertificateResponse>, Status> {
        let caller = Caller::new(request.metadata().as_ref(), request.extensions());
        let standing = self.enter(caller, false)?;
        let identity = self.identity(caller, &standing)?;
        let IssueCertificateRequest {
            user,
            csr_pem,
            life_s,
        } = request.into_inner();
        let wanted = Wanted {
            user,
            csr_pem,
            life_s,
        };
        let life_max = self.limits.user_certificate_life;
        let issued = certificates::issue(&self.control, &identity, wanted, life_max).await?;
        Ok(Response::new(IssueCertificateResponse {
            certificate_pem: issued.certificate_pem,
            roots_pem: issued.roots_pem,
            expires_ms: issued.expires_ms,
        }))
    }
}
