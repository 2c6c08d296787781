//! A node without a daemon that speaks of contracts as it likes.

use imp_core::amount::Msat;
use imp_core::id::{MessageId, NodeId, Preimage};
use imp_core::record::{RecordTable, RecordType, Service};
use imp_core::vpn::{Payload, Request, Response};
use imp_core::wire::envelope::{Envelope, Header, ReplyTo};
use imp_lightning::fake::FakeNetwork;
use imp_lightning::{Keysend, LightningEvent, LightningNode, ReceivedKind, SendError};

use crate::inbox::{Stranger, header};
use crate::lab::wait_for;

/// What it was told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) reply_to: String,
    pub(super) amount: Msat,
    pub(super) response: Response,
}

pub(super) struct Talker {
    stranger: Stranger,
    pub(super) id: NodeId,
    pub(super) told: Vec<Told>,
    asked: Vec<Request>,
}

impl Talker {
    pub(super) fn new(network: &FakeNetwork, name: &str) -> Self {
        let stranger = Stranger::new(network, name);
        let id = stranger.node.id();
        Self { stranger, id, told: Vec::new(), asked: Vec::new() }
    }

    /// Pays so much for a text under the id `n`.
    pub(super) async fn say(&mut self, to: NodeId, n: u8, text: &str, amount_sat: u64) -> MessageId {
        self.answer(to, n, None, text, amount_sat).await
    }

    /// Likewise, where the other may be gone. Says whether the payment was begun.
    pub(super) async fn try_say(&mut self, to: NodeId, n: u8, text: &str, amount_sat: u64) -> bool {
        self.pay(to, n, None, text, amount_sat).await.is_ok()
    }

    /// Likewise, as the answer to a message.
    pub(super) async fn answer(
        &mut self,
        to: NodeId,
        n: u8,
        reply_to: Option<&str>,
        text: &str,
        amount_sat: u64,
    ) -> MessageId {
        self.pay(to, n, reply_to, text, amount_sat).await.unwrap()
    }

    async fn pay(
        &mut self,
        to: NodeId,
        n: u8,
        reply_to: Option<&str>,
        text: &str,
        amount_sat: u64,
    ) -> Result<MessageId, SendError> {
        let preimage: Preimage = self.stranger.preimage();
        let reply_to = reply_to.and_then(|id| ReplyTo::parse(id).unwrap());
        let header = Header { unordered: true, reply_to, ..header(n, 0, 0, 0) };
        let id = header.id;
        let record = self.stranger.envelope_of(vpn(), to, header, text.as_bytes(), &preimage).await;
        let keysend = Keysend {
            recipient: to,
            preimage,
            amount: Msat::from_sat(amount_sat),
            fee_limit: Msat::ZERO,
            record: Some((vpn(), record)),
        };
        self.stranger.node.send_keysend(keysend).await?;
        Ok(id)
    }

    /// Waits until it has been told so many things.
    pub(super) async fn is_told(&mut self, count: usize) -> &Told {
        wait_for(&format!("{count} answers"), async || {
            self.listen().await;
            self.told.len() >= count
        })
        .await;
        assert_eq!(self.told.len(), count);
        self.told.last().unwrap()
    }

    /// Waits until it is asked this.
    pub(super) async fn listen_for_requests(&mut self, wanted: &Request) {
        wait_for("a question", async || {
            self.listen().await;
            self.asked.contains(wanted)
        })
        .await;
    }

    /// Takes in what it is told, until nothing comes for a moment.
    pub(super) async fn listen(&mut self) {
        let node = std::sync::Arc::clone(&self.stranger.node);
        let quiet = std::time::Duration::from_millis(50);
        while let Ok(event) = tokio::time::timeout(quiet, node.next_event()).await {
            if let LightningEvent::PaymentReceived { amount, kind, .. } = event
                && let ReceivedKind::Keysend { records, .. } = kind
            {
                let envelope = Envelope::decode(&records[0].1).unwrap();
                let reply_to = envelope.header().reply_to.clone();
                let reply_to = reply_to.map(|id| id.to_string()).unwrap_or_default();
                let text = String::from_utf8(envelope.into_chunk()).unwrap();
                match Payload::parse(&text).unwrap() {
                    Payload::Response(response) => self.told.push(Told { reply_to, amount, response }),
                    Payload::Request(request) => self.asked.push(request),
                }
            }
            node.acknowledge_event().await.unwrap();
        }
    }
}

fn vpn() -> RecordType {
    RecordTable::default().record_type(Service::Vpn)
}
