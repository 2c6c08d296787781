use imp_api::error::{Code, StatusBody};
use imp_api::proto::imp::messaging::v1::messages_server::Messages;
use imp_api::proto::imp::messaging::v1::*;
use imp_api::proto::messaging::messaging_server::Messaging;
use imp_api::proto::messaging::*;
use tonic::{Request, Response, Status};

use super::Echo;

/// The public key of a node that nothing can be sent to.
pub(crate) const UNREACHABLE: &str = "030000000000000000000000000000000000000000000000000000000000000000";

#[tonic::async_trait]
impl Messaging for Echo {
    async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        self.answer(request, |request| {
            if request.pubkey == UNREACHABLE {
                return Err(StatusBody::new(Code::Unavailable, "send failed: no route\nat all"));
            }
            Ok(SendMessageResponse { id: "m1".into(), state: request.keep_secs.map(|_| "queued".into()) })
        })
        .await
    }
}

/// Message number 1 is the oldest.
fn message(number: i64) -> Message {
    let message = Message {
        id: format!("m{number}"),
        state: "settled".into(),
        service_type: "message".into(),
        pubkey: "02ab".into(),
        amount: number,
        fee_msat: 1500,
        bytes: 1800,
        parts: 2,
        parts_settled: 2,
        attempt_count: 3,
        accepted_ms: 1_700_000_000_000,
        ended_ms: Some(1_700_000_001_250),
        ..Message::default()
    };
    match number {
        2 => Message {
            state: "failed".into(),
            error: "no route\x1b[2J".into(),
            reply_to_id: "r".into(),
            ..message
        },
        3 => Message {
            state: "queued".into(),
            parts_settled: 0,
            ended_ms: None,
            keep_until_ms: Some(1_700_086_400_000),
            ..message
        },
        _ => message,
    }
}

fn with_attempts(message: Message, attempts: Vec<Attempt>) -> GetMessageResponse {
    GetMessageResponse {
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
        attempts,
    }
}

#[tonic::async_trait]
impl Messages for Echo {
    async fn get_message(
        &self,
        request: Request<GetMessageRequest>,
    ) -> Result<Response<GetMessageResponse>, Status> {
        self.answer(request, |request| {
            let number = request.id.strip_prefix('m').and_then(|number| number.parse().ok());
            let number = number.ok_or_else(|| StatusBody::new(Code::NotFound, "there is no such message"))?;
            let failed = Attempt {
                payment_hash: "aa".into(),
                state: "failed".into(),
                error: "no route".into(),
                amount_msat: 1000,
                begun_ms: 1_700_000_000_000,
                ended_ms: Some(1_700_000_000_500),
                ..Attempt::default()
            };
            let settled = Attempt {
                payment_hash: "bb".into(),
                part: 1,
                state: "settled".into(),
                error: String::new(),
                fee_msat: Some(1500),
                ..failed.clone()
            };
            Ok(with_attempts(message(number), vec![failed, settled]))
        })
        .await
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        self.answer(request, |request| {
            let newest = if request.cursor == 0 { 3 } else { request.cursor - 1 };
            // A page is never larger than two messages here.
            let limit = if request.limit == 0 { 2 } else { request.limit.min(2) };
            let oldest = (newest + 1 - limit).max(1);
            Ok(ListMessagesResponse {
                messages: (oldest..=newest).rev().map(message).collect(),
                next_cursor: (oldest > 1).then_some(oldest),
            })
        })
        .await
    }

    async fn retry_message(
        &self,
        request: Request<RetryMessageRequest>,
    ) -> Result<Response<RetryMessageResponse>, Status> {
        self.answer(request, |request| Ok(RetryMessageResponse { id: request.id })).await
    }
}
