//! What became of the messages that this node sent.

use std::sync::Arc;

use imp_api::error::Code;
use imp_core::delivery::MessageState;
use imp_core::id::MessageId;
use imp_core::record::Service;

use super::pubkey;
use crate::error::Error;
use crate::listing;
use crate::outbox::Outbox;
use crate::store::OutboxStore;
use crate::store::outbox::{FullMessage, MessagePage, MessageQuery, message_state_name};

/// The services that send messages.
const SENDING: [Service; 4] = [Service::Federate, Service::Message, Service::Socket, Service::Vpn];

/// The states of a message.
const STATES: [MessageState; 5] = [
    MessageState::Queued,
    MessageState::Sending,
    MessageState::Settled,
    MessageState::Failed,
    MessageState::Unknown,
];

/// Which messages to list, as the caller wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListMessages {
    /// How many at most, up to 1,000; 0 for 100.
    pub limit: i64,
    /// The cursor of the page before; 0 for the newest.
    pub cursor: i64,
    /// States, separated by commas; nothing for every one.
    pub state: String,
    /// The recipient's public key; nothing for every one.
    pub pubkey: String,
    /// Services, separated by commas; nothing for every one.
    pub service: String,
}

/// The messages that this node sent.
#[derive(Clone)]
pub struct Messages {
    store: Arc<dyn OutboxStore>,
    outbox: Outbox,
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Messages")
    }
}

impl Messages {
    /// The messages in this store, which this outbox sends.
    pub fn new(store: Arc<dyn OutboxStore>, outbox: Outbox) -> Self {
        Self { store, outbox }
    }

    /// A message by its id, as the caller wrote it.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what is no id, `NOT_FOUND` for a message that this node never took in, or has let go.
    pub async fn get(&self, id: &str) -> Result<FullMessage, Error> {
        let id = message_id(id)?;
        self.store.full_message(id).await?.ok_or_else(|| {
            let text = format!("there is no message {id}: this node never took it in, or has let it go");
            Error::new(Code::NotFound, "MESSAGE_NOT_FOUND", text)
        })
    }

    /// Some messages, newest first.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a field that makes no sense.
    pub async fn list(&self, request: ListMessages) -> Result<MessagePage, Error> {
        Ok(self.store.list_messages(query(request)?).await?)
    }

    /// Sends what is missing of a message: see [`Outbox::retry`].
    pub async fn retry(&self, id: &str) -> Result<MessageId, Error> {
        let id = message_id(id).map_err(Error::of_send)?;
        Ok(self.outbox.retry(id).await?.id)
    }
}

fn message_id(text: &str) -> Result<MessageId, Error> {
    MessageId::from_canonical(&text.to_ascii_lowercase())
        .ok_or_else(|| Error::invalid("id", format!("{text:?} is no UUID")))
}

fn query(request: ListMessages) -> Result<MessageQuery, Error> {
    let recipient = (!request.pubkey.is_empty()).then(|| pubkey(&request.pubkey)).transpose()?;
    Ok(MessageQuery {
        before: listing::cursor(request.cursor)?.map(i64::cast_unsigned),
        limit: listing::rows(request.limit)?,
        states: listing::names("state", &request.state, &STATES, message_state_name)?,
        recipient,
        services: listing::names("service", &request.service, &SENDING, Service::name)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_list_are_checked_by_name() {
        let bad = [
            ("limit", ListMessages { limit: -1, ..ListMessages::default() }),
            ("limit", ListMessages { limit: 1001, ..ListMessages::default() }),
            ("cursor", ListMessages { cursor: -1, ..ListMessages::default() }),
            ("state", ListMessages { state: "settled,done".to_owned(), ..ListMessages::default() }),
            ("pubkey", ListMessages { pubkey: "02".to_owned(), ..ListMessages::default() }),
            ("service", ListMessages { service: "sign".to_owned(), ..ListMessages::default() }),
            ("service", ListMessages { service: "lightning".to_owned(), ..ListMessages::default() }),
        ];
        for (field, request) in bad {
            let error = query(request.clone()).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{request:?}");
            assert!(error.to_string().starts_with(field), "{error}");
        }
        let good = ListMessages {
            state: " queued, failed ".to_owned(),
            service: "vpn,message".to_owned(),
            ..ListMessages::default()
        };
        let query = query(good).unwrap();
        assert_eq!((query.states.len(), query.services.len(), query.limit, query.before), (2, 2, 100, None));
    }
}
