use imp_api::proto::signing::signing_server::Signing;
use imp_api::proto::signing::*;
use tonic::{Request, Response, Status};

use super::Echo;

#[tonic::async_trait]
impl Signing for Echo {
    async fn sign_message(&self, request: Request<SignRequest>) -> Result<Response<SignResponse>, Status> {
        self.answer(request, |request| Ok(SignResponse { signature: format!("over {:?}", request.msg) }))
            .await
    }

    async fn verify_signature(
        &self,
        request: Request<VerifyRequest>,
    ) -> Result<Response<VerifyResponse>, Status> {
        self.answer(request, |request| Ok(VerifyResponse { result: request.msg == request.signature })).await
    }
}
