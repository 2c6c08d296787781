//! What becomes of a message that is whole and whose turn it is: the inbox brings it there, in order and once, and does
//! not know what the services make of it.

use async_trait::async_trait;
use imp_core::amount::Msat;
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::record::Service;
use imp_core::time::UnixMillis;

use crate::store::StoreError;
use crate::store::federate::PeerRow;
use crate::store::inbox::Withheld;
use crate::store::journal::NewEvent;
use crate::store::outbox::{Answer, Withdrawal};
use crate::store::vpn::VpnInbound;

/// A message that came in whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Who signed it.
    pub sender: NodeId,
    /// Whose record carried it.
    pub service: Service,
    /// Its id: the sender uses it for one message only.
    pub id: MessageId,
    /// The id of the message that this one answers, as the sender says, or nothing.
    pub reply_to: String,
    /// The text.
    pub text: String,
    /// What came with all parts.
    pub amount: Msat,
    /// The payment that brought it; of several, that of the last part. Of parts that an earlier version took it is not
    /// known.
    pub payment: Option<PaymentHash>,
    /// It comes after a later one of the same sender.
    pub late: bool,
    /// When its turn came.
    pub at: UnixMillis,
}

impl Whole {
    /// Satoshis over all parts, rounded down.
    pub const fn amount_sat(&self) -> u64 {
        self.amount.to_sat_floor()
    }
}

/// What a message leads to. It is one transaction with the payment that brought the message or ended its wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Events to publish, in order.
    pub publish: Vec<NewEvent>,
    /// What is noted of the message, where it is not published to whoever it was for.
    pub withheld: Option<Withheld>,
    /// Peers as they are from now on.
    pub peers: Vec<PeerRow>,
    /// Messages to give up.
    pub withdraw: Vec<Withdrawal>,
    /// What is kept for the VPN to take.
    pub vpn: Option<VpnInbound>,
    /// Messages to send.
    pub answers: Vec<Answer>,
    /// Things to count.
    pub count: Vec<&'static str>,
}

/// Decides what becomes of messages. It is asked for one after the other, in the order in which they are published.
///
/// Several may be asked for before [`Self::committed`]: each sees what those before it led to. After an error of either side
/// nothing more is asked in this run of the daemon, and what was not committed comes again in the next.
#[async_trait]
pub trait Reception: Send {
    /// What a message leads to. Nothing may be done for it yet that cannot be taken back: its change is not durable.
    async fn receive(&mut self, whole: Whole) -> Result<Receipt, StoreError>;

    /// What it leads to that a message which was taken is paid for again, under another payment. Of a message in parts `text`
    /// is that of the part alone. Nothing, for most services: the message has had its turn.
    async fn repeated(&mut self, _whole: Whole) -> Result<Receipt, StoreError> {
        Ok(Receipt::default())
    }

    /// The change that holds the receipts since the last call is durable.
    async fn committed(&mut self);
}

/// Publishes every message as it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishAll;

#[async_trait]
impl Reception for PublishAll {
    async fn receive(&mut self, whole: Whole) -> Result<Receipt, StoreError> {
        Ok(Receipt { publish: vec![whole.into()], ..Receipt::default() })
    }

    async fn committed(&mut self) {}
}

impl From<Whole> for NewEvent {
    /// The event of a message that is published as it came.
    fn from(whole: Whole) -> Self {
        let amount_sat = whole.amount_sat();
        let Whole { sender, service, id, reply_to, text, late, at, .. } = whole;
        Self {
            at,
            id: id.to_string(),
            reply_to,
            from: sender,
            service: service.into(),
            data: text,
            amount_sat,
            late,
        }
    }
}
