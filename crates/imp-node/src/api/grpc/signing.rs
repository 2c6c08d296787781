//! `signing.Signing`.

use imp_api::proto::signing::signing_server::Signing;
use imp_api::proto::signing::{SignRequest, SignResponse, VerifyRequest, VerifyResponse};
use imp_core::record::Service;
use tonic::{Request, Response, Status};

use super::Calls;

#[tonic::async_trait]
impl Signing for Calls {
    async fn sign_message(&self, request: Request<SignRequest>) -> Result<Response<SignResponse>, Status> {
        self.active(Service::Sign)?;
        let signature = self.services()?.signing.sign(&request.get_ref().msg).await?;
        Ok(Response::new(SignResponse { signature }))
    }

    async fn verify_signature(
        &self,
        request: Request<VerifyRequest>,
    ) -> Result<Response<VerifyResponse>, Status> {
        self.active(Service::Sign)?;
        let VerifyRequest { msg, signature, pubkey } = request.into_inner();
        let result = self.services()?.signing.verify(&msg, &signature, pubkey.as_deref()).await?;
        Ok(Response::new(VerifyResponse { result }))
    }
}
