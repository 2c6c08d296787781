//! `messaging.Messaging`.

use imp_api::proto::messaging::messaging_server::Messaging;
use imp_api::proto::messaging::{SendMessageRequest, SendMessageResponse};
use imp_core::record::Service;
use tonic::{Request, Response, Status};

use super::Calls;
use crate::service::messaging::SendMessage;

#[tonic::async_trait]
impl Messaging for Calls {
    async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let SendMessageRequest { msg, pubkey, amount, reply_to_id, .. } = request.into_inner();
        let services = self.sending(Service::Message)?;
        let id = services.messaging.send(SendMessage { msg, pubkey, amount, reply_to_id }).await?;
        Ok(Response::new(SendMessageResponse { id: id.to_string(), state: None }))
    }
}
