//! A daemon's handle to its node in the simulated network.

use std::fmt;
use std::future::pending;
use std::time::Duration;

use async_trait::async_trait;
use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash, Preimage};

use crate::fake::backend::{Content, Payment, Stage};
use crate::fake::channel::ChannelState;
use crate::fake::world::World;
use crate::fake::{FakeNetwork, Moment};
use crate::invoice::{self, Payable};
use crate::onchain::Transfer;
use crate::port::{
    Channel, InvoiceFault, InvoiceState, Keysend, LightningError, LightningEvent, LightningNode, Network,
    NodeStatus, OnchainAmount, OpenChannel, PaymentState, Peer, SendError, SendRoom,
};

/// A node of a [`FakeNetwork`], as the daemon holds it for one run.
///
/// Once the run has ended, by [`LightningNode::shutdown`] or a crash, every call fails with `Unavailable`.
pub struct FakeNode {
    network: FakeNetwork,
    id: NodeId,
    run: u64,
}

impl fmt::Debug for FakeNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeNode").field("id", &self.id).field("run", &self.run).finish_non_exhaustive()
    }
}

/// The run that a handle belongs to is over.
struct Stopped;

impl From<Stopped> for LightningError {
    fn from(_: Stopped) -> Self {
        Self::Unavailable("it was stopped".to_owned())
    }
}

impl From<Stopped> for SendError {
    fn from(_: Stopped) -> Self {
        Self::Unavailable("it was stopped".to_owned())
    }
}

impl FakeNode {
    pub(super) const fn new(network: FakeNetwork, id: NodeId, run: u64) -> Self {
        Self { network, id, run }
    }

    /// Does something with the world, if this handle's run is not over.
    fn call<R>(&self, act: impl FnOnce(&mut World) -> R) -> Result<R, Stopped> {
        self.network.act(|world| if self.runs(world) { Ok(act(world)) } else { Err(Stopped) })
    }

    fn runs(&self, world: &World) -> bool {
        let node = world.node(&self.id);
        node.up && node.run == self.run
    }

    /// Comes to a moment; if a test crashes the node there, the call never returns.
    async fn pass(&self, moment: Moment) {
        if matches!(self.call(|world| world.crash_due(&self.id, moment)), Ok(true)) {
            pending::<()>().await;
        }
    }

    /// Begins a payment; a test may lose the request on its way to the node, or the reply on its way back.
    async fn submit<R>(
        &self,
        begin: impl FnOnce(&mut World) -> Result<R, SendError>,
    ) -> Result<R, SendError> {
        self.pass(Moment::BeforeSend).await;
        let begun = self.call(|world| {
            let knobs = &mut world.node_mut(&self.id).knobs;
            if knobs.lose_requests > 0 {
                knobs.lose_requests -= 1;
                return Err(SendError::Unknown("the request was lost".to_owned()));
            }
            let begun = begin(world)?;
            let knobs = &mut world.node_mut(&self.id).knobs;
            if knobs.lose_replies > 0 {
                knobs.lose_replies -= 1;
                return Err(SendError::Unknown("the reply was lost".to_owned()));
            }
            Ok(begun)
        });
        self.pass(Moment::AfterSend).await;
        begun?
    }

    async fn pay(&self, payable: &Payable, fee_limit: Msat) -> Result<PaymentHash, SendError> {
        let now = self.network.now();
        self.submit(|world| {
            match world.node(&self.id).payments.get(&payable.hash).map(|payment| &payment.stage) {
                None | Some(Stage::Failed(_)) => {}
                Some(Stage::Settled(_)) => return Err(InvoiceFault::Paid.into()),
                Some(_) => return Err(SendError::Known),
            }
            payable.check_time(now)?;
            let content = Content::Invoice { expires_at: payable.expires_at() };
            world.begin(&self.id, payable.payee, payable.hash, payable.amount, fee_limit, content)?;
            Ok(payable.hash)
        })
        .await
    }

    /// How a payment stands that may be known. While the event of its failure waits, only that event tells.
    async fn known(&self, hash: PaymentHash, patience: Duration) -> Result<Option<PaymentState>, SendError> {
        let decided = self.network.wait_for(|world| {
            if !self.runs(world) {
                return Some(Err(Stopped));
            }
            let node = world.node(&self.id);
            (!node.failure_waits(&hash)).then(|| Ok(node.payments.get(&hash).map(Payment::state)))
        });
        match tokio::time::timeout(patience, decided).await {
            Ok(state) => Ok(state?),
            Err(_) => Err(SendError::Unknown("events wait to be taken".to_owned())),
        }
    }

    fn state_of(&self, hash: PaymentHash) -> Result<Option<PaymentState>, Stopped> {
        self.call(|world| world.node(&self.id).payments.get(&hash).map(Payment::state))
    }
}

#[async_trait]
impl LightningNode for FakeNode {
    fn backend(&self) -> &'static str {
        "fake"
    }

    fn id(&self) -> NodeId {
        self.id
    }

    fn network(&self) -> Network {
        self.network.look().options.network
    }

    async fn status(&self) -> Result<NodeStatus, LightningError> {
        Ok(self.call(|world| {
            let mine = world.channels.iter().filter(|channel| channel.state != ChannelState::Closed);
            let in_channels = mine.filter_map(|channel| Some(channel.balance[channel.end(&self.id)?])).sum();
            let usable = |end: usize| {
                let channels = world.usable_channels(&self.id);
                channels
                    .filter_map(move |(_, channel)| Some(channel.balance[(channel.end(&self.id)? + end) % 2]))
                    .sum()
            };
            let node = world.node(&self.id);
            NodeStatus {
                alias: node.name.clone(),
                synced: true,
                block_height: world.height,
                onchain_sat: world.spendable_onchain(&self.id).to_sat_floor(),
                onchain_total_sat: node.wallet.total().to_sat_floor(),
                onchain_reserved_sat: world.reserve(&self.id).to_sat_floor(),
                in_channels,
                spendable: usable(0),
                receivable: usable(1),
                closing_sat: node.wallet.closing().to_sat_floor(),
                listen: Vec::new(),
            }
        })?)
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 65], LightningError> {
        Ok(self.call(|world| world.node(&self.id).sign(message))?)
    }

    async fn send_room(&self, recipient: &NodeId) -> Result<SendRoom, LightningError> {
        Ok(self.call(|world| world.room(&self.id, recipient))?)
    }

    async fn send_keysend(&self, payment: Keysend) -> Result<(), SendError> {
        self.submit(|world| world.begin_keysend(&self.id, payment)).await
    }

    async fn resume_keysend(&self, payment: Keysend, patience: Duration) -> Result<PaymentState, SendError> {
        if let Some(state) = self.known(payment.preimage.payment_hash(), patience).await? {
            return Ok(state);
        }
        self.send_keysend(payment).await.map(|()| PaymentState::InFlight)
    }

    async fn create_invoice(
        &self,
        amount: Msat,
        memo: &str,
        expiry: Duration,
    ) -> Result<String, LightningError> {
        let terms = invoice::terms(amount, memo, expiry)?;
        let now = self.network.now();
        self.call(|world| {
            let (network, preimage) = (world.options.network, Preimage(world.rng.bytes()));
            world.node_mut(&self.id).issue(terms, network, preimage, now)
        })?
    }

    async fn pay_invoice(&self, invoice: &str, fee_limit: Msat) -> Result<PaymentHash, SendError> {
        let payable = invoice::payable(invoice, &self.id, self.network())?;
        self.pay(&payable, fee_limit).await
    }

    async fn resume_invoice(
        &self,
        invoice: &str,
        fee_limit: Msat,
        patience: Duration,
    ) -> Result<PaymentState, SendError> {
        let payable = invoice::payable(invoice, &self.id, self.network())?;
        if let Some(state) = self.known(payable.hash, patience).await? {
            return Ok(state);
        }
        self.pay(&payable, fee_limit).await.map(|_| PaymentState::InFlight)
    }

    async fn payment(&self, hash: PaymentHash) -> Result<Option<PaymentState>, LightningError> {
        Ok(self.state_of(hash)?)
    }

    async fn invoice(&self, hash: PaymentHash) -> Result<Option<InvoiceState>, LightningError> {
        Ok(self.call(|world| {
            let invoice = world.node(&self.id).invoices.get(&hash)?;
            Some(if invoice.paid { InvoiceState::Paid } else { InvoiceState::Open })
        })?)
    }

    async fn next_event(&self) -> LightningEvent {
        self.network
            .wait_for(|world| {
                if !self.runs(world) {
                    return None;
                }
                let node = world.node_mut(&self.id);
                let event = node.events.front().cloned()?;
                node.told = true;
                Some(event)
            })
            .await
    }

    async fn acknowledge_event(&self) -> Result<(), LightningError> {
        self.pass(Moment::BeforeAcknowledge).await;
        let acknowledged = self.call(|world| {
            let node = world.node_mut(&self.id);
            if !std::mem::take(&mut node.told) {
                return Err(LightningError::Invalid("no event was handed out to acknowledge".to_owned()));
            }
            node.acknowledged = node.events.pop_front();
            Ok(())
        })?;
        self.pass(Moment::AfterAcknowledge).await;
        acknowledged
    }

    async fn channels(&self) -> Result<Vec<Channel>, LightningError> {
        Ok(self.call(|world| world.channels_of(&self.id))?)
    }

    async fn new_address(&self) -> Result<String, LightningError> {
        self.call(|world| world.fresh_address(&self.id))?
    }

    async fn send_onchain(
        &self,
        address: &str,
        amount: OnchainAmount,
        fee_rate_sat_per_vbyte: Option<u64>,
    ) -> Result<String, LightningError> {
        let transfer = Transfer::of(address, amount, fee_rate_sat_per_vbyte, self.network())?;
        self.call(|world| world.transfer(&self.id, &transfer))?
    }

    async fn connect(&self, peer: &NodeId, address: &str) -> Result<(), LightningError> {
        self.call(|world| world.connect(&self.id, peer, address))?
    }

    async fn list_peers(&self) -> Result<Vec<Peer>, LightningError> {
        Ok(self.call(|world| world.peers(&self.id))?)
    }

    async fn disconnect(&self, peer: &NodeId) -> Result<(), LightningError> {
        self.call(|world| world.disconnect(&self.id, peer))?
    }

    async fn open_channel(&self, channel: OpenChannel) -> Result<u128, LightningError> {
        self.call(|world| world.open(&self.id, &channel))?
    }

    async fn close_channel(&self, user_channel_id: u128, force: bool) -> Result<(), LightningError> {
        self.call(|world| world.close_named(&self.id, user_channel_id, force))?
    }

    async fn knows_node(&self, node: &NodeId) -> Result<bool, LightningError> {
        Ok(self.call(|world| world.knows(&self.id, node))?)
    }

    async fn sync_chain(&self) -> Result<u32, LightningError> {
        Ok(self.call(|world| world.height)?)
    }

    async fn shutdown(&self) {
        // Of a handle whose run is over nothing is left to stop.
        let _ = self.call(|world| world.crash(&self.id));
    }
}
