//! `imp.messaging.v1.Messages`: what became of messages.

use imp_api::proto::imp::messaging::v1 as proto;
use imp_api::proto::imp::messaging::v1::messages_server::Messages;
use imp_core::time::UnixMillis;
use tonic::{Request, Response, Status};

use super::Calls;
use crate::error::Error;
use crate::service::messages::ListMessages;
use crate::store::outbox::{
    FullMessage, StoredAttempt, StoredMessage, attempt_state_name, message_state_name,
};

#[tonic::async_trait]
impl Messages for Calls {
    async fn get_message(
        &self,
        request: Request<proto::GetMessageRequest>,
    ) -> Result<Response<proto::GetMessageResponse>, Status> {
        let FullMessage { stored, attempts, .. } =
            self.services()?.messages.get(&request.into_inner().id).await?;
        Ok(Response::new(with_attempts(message(stored), attempts)))
    }

    async fn list_messages(
        &self,
        request: Request<proto::ListMessagesRequest>,
    ) -> Result<Response<proto::ListMessagesResponse>, Status> {
        let proto::ListMessagesRequest { limit, cursor, state, pubkey, service } = request.into_inner();
        let request = ListMessages { limit, cursor, state, pubkey, service };
        let page = self.services()?.messages.list(request).await?;
        Ok(Response::new(proto::ListMessagesResponse {
            messages: page.messages.into_iter().map(message).collect(),
            next_cursor: page.next.map(int),
        }))
    }

    async fn retry_message(
        &self,
        request: Request<proto::RetryMessageRequest>,
    ) -> Result<Response<proto::RetryMessageResponse>, Status> {
        let services = self.services().map_err(Error::of_send)?;
        let id = services.messages.retry(&request.into_inner().id).await?;
        Ok(Response::new(proto::RetryMessageResponse { id: id.to_string() }))
    }
}

fn message(stored: StoredMessage) -> proto::Message {
    let StoredMessage { message, state, failure, ended, tally, .. } = stored;
    proto::Message {
        id: message.id.to_string(),
        state: message_state_name(state).to_owned(),
        error: failure.map(|failure| failure.text).unwrap_or_default(),
        service_type: message.service.name().to_owned(),
        pubkey: message.recipient.to_string(),
        reply_to_id: message.reply_to,
        amount: int(message.amount_sat),
        fee_msat: int(tally.fee.0),
        bytes: int(message.body_bytes),
        parts: message.parts.into(),
        parts_settled: tally.parts_settled.into(),
        attempt_count: tally.attempts,
        accepted_ms: time(message.accepted),
        ended_ms: ended.map(time),
        keep_until_ms: message.keep_until.map(time),
    }
}

fn with_attempts(message: proto::Message, attempts: Vec<StoredAttempt>) -> proto::GetMessageResponse {
    proto::GetMessageResponse {
        id: message.id,
        state: message.state,
        error: message.error,
        service_type: message.service_type,
        pubkey: message.pubkey,
        reply_to_id: message.reply_to_id,
        amount: message.amount,
        fee_msat: message.fee_msat,
        bytes: message.bytes,
        parts: message.parts,
        parts_settled: message.parts_settled,
        attempt_count: message.attempt_count,
        accepted_ms: message.accepted_ms,
        ended_ms: message.ended_ms,
        keep_until_ms: message.keep_until_ms,
        attempts: attempts.into_iter().map(attempt).collect(),
    }
}

fn attempt(stored: StoredAttempt) -> proto::Attempt {
    let StoredAttempt { attempt, reason, fee, ended } = stored;
    proto::Attempt {
        payment_hash: attempt.hash.to_string(),
        part: attempt.part.into(),
        state: attempt_state_name(attempt.state).to_owned(),
        error: reason.unwrap_or_default(),
        amount_msat: int(attempt.amount.0),
        fee_msat: fee.map(|fee| int(fee.0)),
        begun_ms: time(attempt.begun),
        ended_ms: ended.map(time),
    }
}

fn time(time: UnixMillis) -> i64 {
    int(time.0)
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
