//! On-chain wallets of simulated nodes. A block confirms whatever waits for one.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::key::CompressedPublicKey;
use bitcoin::secp256k1::{PublicKey, SECP256K1, Scalar};
use bitcoin::{Address, KnownHrp};
use imp_core::amount::Msat;
use imp_core::id::NodeId;

use crate::fake::channel::ChannelState;
use crate::fake::world::World;
use crate::onchain::Transfer;
use crate::port::{LightningError, OnchainAmount};

/// Size of a transaction with one input and two outputs, in virtual bytes.
const TRANSACTION_VBYTES: u64 = 141;

/// The fee rate where the payer names none, in satoshis per virtual byte.
const FEE_RATE: u64 = 1;

#[derive(Debug)]
pub(super) struct Wallet {
    pub(super) confirmed: Msat,
    /// Comes with the next block.
    pub(super) arriving: Msat,
    /// Out of closed channels, with the height at which it comes.
    pub(super) closing: Vec<(u32, Msat)>,
    /// Addresses handed out.
    addresses: u32,
}

impl Wallet {
    pub(super) const fn new(confirmed: Msat) -> Self {
        Self { confirmed, arriving: Msat::ZERO, closing: Vec::new(), addresses: 0 }
    }

    pub(super) fn total(&self) -> Msat {
        self.confirmed.saturating_add(self.arriving)
    }

    pub(super) fn closing(&self) -> Msat {
        self.closing.iter().map(|(_, amount)| *amount).sum()
    }
}

impl World {
    /// What a node keeps on chain for its channels.
    pub(super) fn reserve(&self, node: &NodeId) -> Msat {
        let open = |channel: &&crate::fake::channel::FakeChannel| {
            channel.end(node).is_some() && channel.state != ChannelState::Closed
        };
        let channels = self.channels.iter().filter(open).count() as u64;
        Msat::from_sat(self.options.reserve_sat.saturating_mul(channels)).min(self.node(node).wallet.total())
    }

    pub(super) fn spendable_onchain(&self, node: &NodeId) -> Msat {
        self.node(node).wallet.confirmed.saturating_sub(self.reserve(node))
    }

    pub(super) fn fresh_address(&mut self, id: &NodeId) -> Result<String, LightningError> {
        let hrp = KnownHrp::from(bitcoin::Network::from(self.options.network));
        let wallet = &mut self.node_mut(id).wallet;
        wallet.addresses += 1;
        let mut tweak = [0; 32];
        tweak[28..].copy_from_slice(&wallet.addresses.to_be_bytes());
        let key = PublicKey::from_slice(id.as_bytes())
            .ok()
            .zip(Scalar::from_be_bytes(tweak).ok())
            .and_then(|(key, tweak)| key.add_exp_tweak(SECP256K1, &tweak).ok())
            .ok_or_else(|| LightningError::Failed("no address could be derived".to_owned()))?;
        let address = Address::p2wpkh(&CompressedPublicKey(key), hrp).to_string();
        self.addresses.insert(address.clone(), *id);
        Ok(address)
    }

    pub(super) fn transfer(
        &mut self,
        sender: &NodeId,
        transfer: &Transfer,
    ) -> Result<String, LightningError> {
        let rate = transfer.fee_rate.map_or(FEE_RATE, |rate| rate.to_sat_per_vb_ceil());
        let fee = Msat::from_sat(rate * TRANSACTION_VBYTES);
        let spendable = self.spendable_onchain(sender);
        let least = Msat::from_sat(transfer.least_sat());
        if least.saturating_add(fee) > spendable {
            return Err(LightningError::InsufficientFunds {
                spendable_sat: spendable.to_sat_floor(),
                reserved_sat: self.reserve(sender).to_sat_floor(),
                needed_sat: transfer.least_sat(),
            });
        }
        let amount = match transfer.amount {
            OnchainAmount::Sat(_) => least,
            OnchainAmount::All => Msat::from_sat((spendable - fee).to_sat_floor()),
        };
        let wallet = &mut self.node_mut(sender).wallet;
        wallet.confirmed = wallet.confirmed - amount - fee;
        self.spent = self.spent.saturating_add(fee);
        match self.addresses.get(&transfer.address.to_string()).copied() {
            Some(recipient) => {
                let wallet = &mut self.node_mut(&recipient).wallet;
                wallet.arriving = wallet.arriving.saturating_add(amount);
            }
            None => self.spent = self.spent.saturating_add(amount),
        }
        Ok(sha256::Hash::hash(&self.rng.bytes()).to_string())
    }

    /// What was waiting for a block has it.
    pub(super) fn confirm_onchain(&mut self) {
        let height = self.height;
        for node in self.nodes.values_mut() {
            let wallet = &mut node.wallet;
            let due =
                wallet.closing.extract_if(.., |(due, _)| *due <= height).map(|(_, amount)| amount).sum();
            let arrived = std::mem::take(&mut wallet.arriving);
            wallet.confirmed = wallet.confirmed.saturating_add(arrived).saturating_add(due);
        }
    }
}
