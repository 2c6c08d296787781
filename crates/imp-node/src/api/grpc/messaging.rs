//! `messaging.Messaging`.

use imp_api::proto::messaging::messaging_server::Messaging;
use imp_api::proto::messaging::{SendMessageRequest, SendMessageResponse};
use imp_core::record::Service;
use tonic::{Request, Response, Status};

use super::Calls;
use super::idempotency::call_key;
use crate::service::messaging::SendMessage;
use crate::store::outbox::message_state_name;

const SEND_MESSAGE: &str = "messaging.Messaging/SendMessage";

#[tonic::async_trait]
impl Messaging for Calls {
    async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let services = self.sending(Service::Message)?;
        let (metadata, _, mut message) = request.into_parts();
        let field = message.idempotency_key.take();
        let key = call_key(SEND_MESSAGE, &metadata, field.as_deref(), &message)?;
        let SendMessageRequest { msg, pubkey, amount, reply_to_id, keep_secs, .. } = message;
        let keep_secs = keep_secs.unwrap_or(0);
        let request = SendMessage { msg, pubkey, amount, reply_to_id, keep_secs, key };
        let sent = services.messaging.send(request).await?;
        let state = (keep_secs > 0).then(|| message_state_name(sent.state).to_owned());
        Ok(Response::new(SendMessageResponse { id: sent.id.to_string(), state }))
    }
}
