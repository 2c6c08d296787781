use imp_api::proto::vpn::vpn_server::Vpn;
use imp_api::proto::vpn::*;
use tonic::{Request, Response, Status};

use super::{Echo, sent};

#[tonic::async_trait]
impl Vpn for Echo {
    async fn request_quote(
        &self,
        request: Request<RequestQuoteRequest>,
    ) -> Result<Response<RequestQuoteResponse>, Status> {
        self.answer(request, sent(|id| RequestQuoteResponse { id })).await
    }

    async fn accept_contract(
        &self,
        request: Request<AcceptContractRequest>,
    ) -> Result<Response<AcceptContractResponse>, Status> {
        self.answer(request, sent(|id| AcceptContractResponse { id })).await
    }

    async fn refresh_contract(
        &self,
        request: Request<RefreshContractRequest>,
    ) -> Result<Response<RefreshContractResponse>, Status> {
        self.answer(request, sent(|id| RefreshContractResponse { id })).await
    }
}
