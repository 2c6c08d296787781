//! A daemon's handle to its node in the simulated network.

use std::fmt;
use std::future::pending;
use std::time::Duration;

use async_trait::async_trait;
use bitcoin::key::CompressedPublicKey;
use bitcoin::secp256k1::{PublicKey, SECP256K1};
use bitcoin::{Address, KnownHrp};
use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash, Preimage};

use crate::address;
use crate::fake::backend::{Content, Stage};
use crate::fake::channel::ChannelState;
use crate::fake::world::{Step, World};
use crate::fake::{FakeNetwork, Moment};
use crate::invoice::{self, InvoiceFault};
use crate::port::{
    Channel, InvoiceState, Keysend, LightningError, LightningEvent, LightningNode, Network, NodeStatus,
    OpenChannel, PaymentState, SendError, SendRoom,
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

    fn submit(&self, payment: Keysend) -> Result<(), SendError> {
        self.call(|world| {
            let knobs = &mut world.node_mut(&self.id).knobs;
            if knobs.lose_requests > 0 {
                knobs.lose_requests -= 1;
                return Err(SendError::Unknown("the request was lost".to_owned()));
            }
            world.begin_keysend(&self.id, payment)?;
            let knobs = &mut world.node_mut(&self.id).knobs;
            if knobs.lose_replies > 0 {
                knobs.lose_replies -= 1;
                return Err(SendError::Unknown("the reply was lost".to_owned()));
            }
            Ok(())
        })?
    }

    fn state_of(&self, hash: PaymentHash) -> Result<Option<PaymentState>, Stopped> {
        self.call(|world| world.node(&self.id).payments.get(&hash).map(|payment| payment.state()))
    }

    /// The peer can be talked to.
    fn reach(&self, world: &World, peer: &NodeId, address: &str) -> Result<(), LightningError> {
        address::check(address)?;
        if *peer == self.id {
            return Err(LightningError::Invalid("a node cannot connect to itself".to_owned()));
        }
        if !world.nodes.contains_key(peer) || !world.connected(&self.id, peer) {
            return Err(LightningError::Failed(format!("cannot connect to {peer} at {address}")));
        }
        Ok(())
    }

    fn open(&self, world: &mut World, open: &OpenChannel) -> Result<u128, LightningError> {
        let capacity = Msat::from_sat(open.capacity_sat);
        if capacity == Msat::ZERO || open.push > capacity {
            return Err(LightningError::Invalid(format!(
                "a channel of {capacity} cannot push {} to the other end",
                open.push
            )));
        }
        self.reach(world, &open.peer, &open.address)?;
        let node = world.node_mut(&self.id);
        if node.onchain < capacity {
            return Err(LightningError::Failed(format!(
                "the wallet has {} for a channel of {capacity}",
                node.onchain
            )));
        }
        node.onchain = node.onchain - capacity;
        let balance = [capacity - open.push, open.push];
        let channel = world.add_channel(self.id, open.peer, balance, open.announce);
        world.later(Step::Confirm(channel));
        Ok(world.channels[channel].user_ids[0])
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
            let usable = world.usable_channels(&self.id);
            let spendable =
                usable.filter_map(|(_, channel)| Some(channel.balance[channel.end(&self.id)?])).sum();
            let node = world.node(&self.id);
            NodeStatus {
                alias: node.name.clone(),
                synced: true,
                block_height: world.height,
                onchain_sat: node.onchain.to_sat_floor(),
                in_channels,
                spendable,
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
        self.pass(Moment::BeforeSend).await;
        let sent = self.submit(payment);
        self.pass(Moment::AfterSend).await;
        sent
    }

    async fn resume_keysend(&self, payment: Keysend, _patience: Duration) -> Result<PaymentState, SendError> {
        if let Some(state) = self.state_of(payment.preimage.payment_hash())? {
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

    async fn pay_invoice(&self, invoice: &str, _fee_limit: Msat) -> Result<PaymentHash, SendError> {
        let payable = invoice::payable(invoice, &self.id, self.network(), self.network.now())?;
        self.call(|world| {
            match world.node(&self.id).payments.get(&payable.hash).map(|payment| &payment.stage) {
                None | Some(Stage::Failed(_)) => {}
                Some(Stage::Settled(_)) => return Err(InvoiceFault::Paid.into()),
                Some(_) => return Err(SendError::Known),
            }
            let invoice = &payable.invoice;
            let expires_at = invoice.duration_since_epoch().saturating_add(invoice.expiry_time());
            let content = Content::Invoice { expires_at };
            world.begin(&self.id, payable.payee, payable.hash, payable.amount, content)?;
            Ok(payable.hash)
        })?
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
        Ok(self.call(|world| {
            let open = world.channels.iter().filter(|channel| channel.state != ChannelState::Closed);
            open.filter_map(|channel| {
                let end = channel.end(&self.id)?;
                Some(Channel {
                    peer: channel.ends[1 - end],
                    funding: Some(channel.funding.clone()),
                    capacity_sat: channel.capacity_sat,
                    outbound: channel.balance[end],
                    inbound: channel.balance[1 - end],
                    ready: channel.is_ready(),
                    usable: world.usable(channel),
                    announced: channel.announced,
                    user_channel_id: channel.user_ids[end],
                })
            })
            .collect()
        })?)
    }

    async fn new_address(&self) -> Result<String, LightningError> {
        let number = self.call(|world| {
            let node = world.node_mut(&self.id);
            node.addresses += 1;
            node.addresses
        })?;
        let mut tweak = [0; 32];
        tweak[28..].copy_from_slice(&number.to_be_bytes());
        let tweak = bitcoin::secp256k1::Scalar::from_be_bytes(tweak);
        let key = PublicKey::from_slice(self.id.as_bytes())
            .ok()
            .zip(tweak.ok())
            .and_then(|(key, tweak)| key.add_exp_tweak(SECP256K1, &tweak).ok())
            .ok_or_else(|| LightningError::Failed("no address could be derived".to_owned()))?;
        let hrp = KnownHrp::from(bitcoin::Network::from(self.network()));
        Ok(Address::p2wpkh(&CompressedPublicKey(key), hrp).to_string())
    }

    async fn connect(&self, peer: &NodeId, address: &str) -> Result<(), LightningError> {
        self.call(|world| self.reach(world, peer, address))?
    }

    async fn open_channel(&self, channel: OpenChannel) -> Result<u128, LightningError> {
        self.call(|world| self.open(world, &channel))?
    }

    async fn sync_chain(&self) -> Result<u32, LightningError> {
        Ok(self.call(|world| world.height)?)
    }

    async fn shutdown(&self) {
        // Of a handle whose run is over nothing is left to stop.
        let _ = self.call(|world| world.crash(&self.id));
    }
}
