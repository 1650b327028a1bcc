//! The Tokens service: what an administrator does with join tokens.

use tonic::{Request, Response, Status};

use super::Face;
use crate::{
    api::ControlApi,
    driver::tokens::{self, TokenError},
    proto::cluster::{
        CreateTokenRequest, CreateTokenResponse, ListTokensRequest, ListTokensResponse,
        RevokeTokenRequest, RevokeTokenResponse, tokens_server::Tokens,
    },
};

/// How many nodes may join with one token.
const USES_MAX: u32 = 1_000;

/// How long a token may be good for: a year, in seconds.
const TTL_S_MAX: u64 = 31_536_000;

impl From<TokenError> for Status {
    fn from(error: TokenError) -> Status {
        match error {
            TokenError::NotGood => Status::not_found(error.to_string()),
            TokenError::TooMany => Status::resource_exhausted(error.to_string()),
            TokenError::Cluster(error) => error.into(),
        }
    }
}

#[tonic::async_trait]
impl<C: ControlApi> Tokens for Face<C> {
    async fn create(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        self.administer(&request)?;
        let CreateTokenRequest { uses, ttl_s } = request.into_inner();
        if !(1..=USES_MAX).contains(&uses) || !(1..=TTL_S_MAX).contains(&ttl_s) {
            return Err(Status::invalid_argument(format!(
                "a token has 1 to {USES_MAX} uses and is good for 1 to {TTL_S_MAX} seconds"
            )));
        }
        let keyring = self.control.keyring().ok_or_else(|| {
            Status::failed_precondition("this node has no certificates, so that none can join it")
        })?;
        let fingerprint = keyring.fingerprint().to_string();
        let (token, facts) = tokens::create(&self.control, &fingerprint, uses, ttl_s).await?;
        Ok(Response::new(CreateTokenResponse {
            token: token.reveal(),
            facts: Some(facts),
        }))
    }

    async fn list(
        &self,
        request: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensResponse>, Status> {
        self.administer(&request)?;
        Ok(Response::new(ListTokensResponse {
            tokens: tokens::list(&self.control).await?,
        }))
    }

    async fn revoke(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        self.administer(&request)?;
        tokens::revoke(&self.control, &request.get_ref().id).await?;
        Ok(Response::new(RevokeTokenResponse {}))
    }
}
