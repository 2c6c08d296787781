use imp_api::error::StatusBody;
use imp_api::proto::federate::federate_server::Federate;
use imp_api::proto::federate::*;
use imp_api::proto::signing::signing_server::Signing;
use imp_api::proto::signing::*;
use imp_api::proto::socket::socket_server::Socket;
use imp_api::proto::socket::*;
use imp_api::proto::vpn::vpn_server::Vpn;
use imp_api::proto::vpn::*;
use tonic::{Request, Response, Status};

use super::Echo;

/// The id of whatever these services send.
fn sent<Q, A>(answer: impl FnOnce(String) -> A) -> impl FnOnce(Q) -> Result<A, StatusBody> {
    move |_| Ok(answer("m1".to_owned()))
}

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

#[tonic::async_trait]
impl Federate for Echo {
    async fn request_federate(
        &self,
        request: Request<RequestFederateRequest>,
    ) -> Result<Response<RequestFederateResponse>, Status> {
        self.answer(request, sent(|id| RequestFederateResponse { id })).await
    }

    async fn leave_federation(
        &self,
        request: Request<LeaveFederationRequest>,
    ) -> Result<Response<LeaveFederationResponse>, Status> {
        self.answer(request, sent(|id| LeaveFederationResponse { id })).await
    }
}

#[tonic::async_trait]
impl Socket for Echo {
    async fn send_socket(
        &self,
        request: Request<SendSocketRequest>,
    ) -> Result<Response<SendSocketResponse>, Status> {
        self.answer(request, sent(|id| SendSocketResponse { id })).await
    }

    async fn start_socket(
        &self,
        request: Request<StartSocketRequest>,
    ) -> Result<Response<StartSocketResponse>, Status> {
        self.answer(request, |_| {
            Ok(StartSocketResponse {
                protocol: "udp".into(),
                ip: "127.0.0.1".into(),
                port1: ":20000".into(),
                port2: ":20001".into(),
            })
        })
        .await
    }

    async fn stop_socket(
        &self,
        request: Request<StopSocketRequest>,
    ) -> Result<Response<StopSocketResponse>, Status> {
        self.answer(request, |_| Ok(StopSocketResponse {})).await
    }
}

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
