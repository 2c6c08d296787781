//! What a simulated node keeps over crashes of its daemon.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash, Preimage};
use imp_core::wire::signature;
use lightning_invoice::{InvoiceBuilder, PaymentSecret};
use secp256k1::{SECP256K1, SecretKey};

use crate::fake::Moment;
use crate::fake::wallet::Wallet;
use crate::invoice::{Terms, currency};
use crate::port::{FailureReason, LightningError, LightningEvent, Network, SendError};

/// Blocks that an invoice leaves to the last hop (BOLT 11's default is 18; LDK asks for 144).
const MIN_FINAL_CLTV_DELTA: u64 = 144;

/// A node's state in the simulated network.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) key: SecretKey,
    /// Counts the daemon's runs; handles of an older run are dead.
    pub(super) run: u64,
    /// The daemon runs.
    pub(super) up: bool,
    /// The node can be reached.
    pub(super) online: bool,
    pub(super) payments: BTreeMap<PaymentHash, Payment>,
    /// Every hash that this node has been paid: a second keysend of one is refused.
    pub(super) received: BTreeSet<PaymentHash>,
    pub(super) invoices: BTreeMap<PaymentHash, Issued>,
    pub(super) events: VecDeque<LightningEvent>,
    /// The oldest event was handed out in this run.
    pub(super) told: bool,
    pub(super) acknowledged: Option<LightningEvent>,
    pub(super) wallet: Wallet,
    /// Addresses of the nodes that it connects to by itself.
    pub(super) peers: BTreeMap<NodeId, String>,
    pub(super) knobs: Knobs,
}

/// What tests set to go wrong at one node.
#[derive(Debug, Default)]
pub(super) struct Knobs {
    pub(super) refuse: VecDeque<SendError>,
    pub(super) fail: VecDeque<FailureReason>,
    pub(super) lose_replies: usize,
    pub(super) lose_requests: usize,
    pub(super) reject: bool,
    pub(super) crash: Option<(Moment, usize)>,
}

/// A payment that a node sent.
#[derive(Debug)]
pub(super) struct Payment {
    pub(super) recipient: NodeId,
    pub(super) amount: Msat,
    /// What forwarding nodes take for it.
    pub(super) fee: Msat,
    pub(super) content: Content,
    /// Index of the channel that carries it.
    pub(super) channel: usize,
    /// Counts sendings under the same hash: an invoice may be paid again after a failure.
    pub(super) attempt: u64,
    /// Drawn when it was sent: why it will not arrive, if it will not.
    pub(super) doomed: Option<FailureReason>,
    pub(super) stage: Stage,
    /// Its next step waits until both ends are connected.
    pub(super) parked: bool,
}

/// What a payment carries.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Keysend { preimage: Preimage, records: Vec<(u64, Vec<u8>)> },
    Invoice { expires_at: Duration },
}

/// How far a payment has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// On its way to the recipient.
    Outbound,
    /// Held at the recipient by a test.
    Held,
    /// Taken by the recipient, whose answer is on its way back.
    Claimed(Preimage),
    /// Refused, and the refusal is on its way back.
    Refused(FailureReason),
    Settled(Preimage),
    Failed(FailureReason),
}

impl Payment {
    /// It has not ended.
    pub(super) const fn in_flight(&self) -> bool {
        !matches!(self.stage, Stage::Settled(_) | Stage::Failed(_))
    }

    /// What belongs to neither side of it, fees included.
    pub(super) const fn amount_in_flight(&self) -> Msat {
        match self.stage {
            Stage::Outbound | Stage::Held | Stage::Refused(_) => self.amount.saturating_add(self.fee),
            Stage::Claimed(_) | Stage::Settled(_) | Stage::Failed(_) => Msat::ZERO,
        }
    }
}

/// An invoice that a node made.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) preimage: Preimage,
    pub(super) amount: Msat,
    pub(super) paid: bool,
}

impl Backend {
    pub(super) fn new(name: &str, seed: u64, onchain: Msat) -> Self {
        Self {
            name: name.to_owned(),
            key: node_key(name, seed),
            run: 0,
            up: true,
            online: true,
            payments: BTreeMap::new(),
            received: BTreeSet::new(),
            invoices: BTreeMap::new(),
            events: VecDeque::new(),
            told: false,
            acknowledged: None,
            wallet: Wallet::new(onchain),
            peers: BTreeMap::new(),
            knobs: Knobs::default(),
        }
    }

    pub(super) fn id(&self) -> NodeId {
        NodeId::from(self.key.public_key(SECP256K1))
    }

    /// The event that tells of a payment's failure was not taken yet.
    pub(super) fn failure_waits(&self, hash: &PaymentHash) -> bool {
        let tells = |event: &LightningEvent| matches!(event, LightningEvent::PaymentFailed { hash: failed, .. } if failed == hash);
        self.events.iter().any(tells)
    }

    /// Other nodes can reach it, and it them.
    pub(super) const fn reachable(&self) -> bool {
        self.up && self.online
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 65] {
        signature::sign_with(&self.key, message)
    }

    /// Makes an invoice at `now`, the time since the Unix epoch.
    pub(super) fn issue(
        &mut self,
        terms: Terms,
        network: Network,
        preimage: Preimage,
        now: Duration,
    ) -> Result<String, LightningError> {
        let hash = preimage.payment_hash();
        let mut secret = *b"imp simulated payment secret....";
        secret[..16].copy_from_slice(&sha256::Hash::hash(&hash.0).to_byte_array()[..16]);
        let invoice = InvoiceBuilder::new(currency(network))
            .invoice_description(terms.description)
            .payment_hash(sha256::Hash::from_byte_array(hash.0))
            .payment_secret(PaymentSecret(secret))
            .duration_since_epoch(now)
            .min_final_cltv_expiry_delta(MIN_FINAL_CLTV_DELTA)
            .expiry_time(Duration::from_secs(terms.expiry_secs.into()))
            .amount_milli_satoshis(terms.amount.0)
            .build_signed(|digest| SECP256K1.sign_ecdsa_recoverable(digest, &self.key))
            .map_err(|fault| LightningError::Failed(format!("the invoice cannot be made: {fault}")))?;
        self.invoices.insert(hash, Issued { preimage, amount: terms.amount, paid: false });
        Ok(invoice.to_string())
    }
}

/// The key of a simulated node: the same for the same seed and name.
fn node_key(name: &str, seed: u64) -> SecretKey {
    let mut bytes = sha256::Hash::hash(&[&seed.to_be_bytes(), name.as_bytes()].concat()).to_byte_array();
    loop {
        match SecretKey::from_slice(&bytes) {
            Ok(key) => return key,
            Err(_) => bytes = sha256::Hash::hash(&bytes).to_byte_array(),
        }
    }
}
