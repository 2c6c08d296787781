//! The on-chain wallet, what the node holds, and the look at the chain.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use imp_core::amount::Msat;
use ldk_node::lightning::chain::channelmonitor::BalanceSource;
use ldk_node::lightning::ln::types::ChannelId;
use ldk_node::{BalanceDetails, ChannelDetails, LightningBalance, Node, NodeError, PendingSweepBalance};
use tracing::info;

use crate::ldk::{LdkNode, Shared};
use crate::onchain::Transfer;
use crate::port::{LightningError, NodeStatus, OnchainAmount};

/// How long a look at the chain may take.
const SYNC_PATIENCE: Duration = Duration::from_secs(30);

/// How often the wait for the library's first look at the chain looks whether it is over.
const SYNC_LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How long a transaction may take until the chain source shows it.
const SHOW_PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two looks for a transaction.
const SHOW_LOOK_INTERVAL: Duration = Duration::from_millis(50);

impl Shared {
    pub(super) fn status(&self, node: &Node) -> NodeStatus {
        let status = node.status();
        let channels = node.list_channels();
        let balances = node.list_balances();
        let usable = || channels.iter().filter(|channel| channel.is_usable);
        NodeStatus {
            alias: self.alias.clone(),
            synced: self.is_synced(node),
            block_height: status.current_best_block.height,
            onchain_sat: balances.spendable_onchain_balance_sats,
            onchain_total_sat: balances.total_onchain_balance_sats,
            onchain_reserved_sat: balances.total_anchor_channels_reserve_sats,
            in_channels: channels.iter().map(own_balance).sum(),
            spendable: usable().map(|channel| Msat(channel.outbound_capacity_msat)).sum(),
            receivable: usable().map(|channel| Msat(channel.inbound_capacity_msat)).sum(),
            closing_sat: self.closing_sat(&channels, &balances),
            listen: self.listen.clone(),
        }
    }

    /// What comes back from closed channels and is not in the wallet's balance yet.
    fn closing_sat(&self, channels: &[ChannelDetails], balances: &BalanceDetails) -> u64 {
        let open: HashSet<ChannelId> = channels.iter().map(|channel| channel.channel_id).collect();
        let closed_together = self.closed_together.lock().unwrap_or_else(PoisonError::into_inner);
        let claims = balances.lightning_balances.iter().map(|balance| match balance {
            LightningBalance::ClaimableOnChannelClose { channel_id, amount_satoshis, .. }
                // A closing transaction that both ends made pays to the wallet itself, which sees it at once.
                if !open.contains(channel_id) && !closed_together.contains(channel_id) =>
            {
                *amount_satoshis
            }
            LightningBalance::ClaimableAwaitingConfirmations { source: BalanceSource::CoopClose, .. } => 0,
            LightningBalance::ClaimableAwaitingConfirmations { amount_satoshis, .. }
            | LightningBalance::CounterpartyRevokedOutputClaimable { amount_satoshis, .. } => *amount_satoshis,
            LightningBalance::ContentiousClaimable { channel_id, amount_satoshis, .. }
                if !open.contains(channel_id) =>
            {
                *amount_satoshis
            }
            // Of an open channel, or not certain to come.
            LightningBalance::ClaimableOnChannelClose { .. }
            | LightningBalance::ContentiousClaimable { .. }
            | LightningBalance::MaybeTimeoutClaimableHTLC { .. }
            | LightningBalance::MaybePreimageClaimableHTLC { .. } => 0,
        });
        let sweeps = balances.pending_balances_from_channel_closures.iter().map(|sweep| match sweep {
            PendingSweepBalance::PendingBroadcast { amount_satoshis, .. } => *amount_satoshis,
            // The wallet sees the transaction that pays to it.
            PendingSweepBalance::BroadcastAwaitingConfirmation { .. }
            | PendingSweepBalance::AwaitingThresholdConfirmations { .. } => 0,
        });
        claims.chain(sweeps).sum()
    }

    /// Makes an on-chain payment and waits until the wallet knows it: before, the next one could spend the same coins.
    /// Blocks.
    pub(super) fn transfer(&self, node: &Node, transfer: &Transfer) -> Result<String, LightningError> {
        let _turn = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_synced(node) {
            return Err(LightningError::Unavailable("it has not seen the chain yet".to_owned()));
        }
        node.sync_wallets().map_err(|fault| no_chain(&fault))?;
        if node.list_channels().iter().any(|channel| channel.is_outbound && channel.funding_txo.is_none()) {
            return Err(LightningError::Failed(
                "a channel that takes coins of the wallet is being opened: try again in some seconds"
                    .to_owned(),
            ));
        }
        let before = node.list_balances();
        let short = || LightningError::InsufficientFunds {
            spendable_sat: before.spendable_onchain_balance_sats,
            reserved_sat: before.total_anchor_channels_reserve_sats,
            needed_sat: transfer.least_sat(),
        };
        if transfer.least_sat() > before.spendable_onchain_balance_sats {
            return Err(short());
        }
        let wallet = node.onchain_payment();
        let (address, fee_rate) = (&transfer.address, transfer.fee_rate);
        let sent = match transfer.amount {
            OnchainAmount::Sat(sat) => wallet.send_to_address(address, sat, fee_rate),
            OnchainAmount::All => wallet.send_all_to_address(address, true, fee_rate),
        };
        let txid = sent.map_err(|fault| match fault {
            NodeError::InsufficientFunds => short(),
            // What the fee leaves is dust.
            NodeError::OnchainTxCreationFailed if transfer.amount == OnchainAmount::All => short(),
            NodeError::NotRunning => LightningError::Unavailable("it was stopped".to_owned()),
            other => LightningError::Failed(format!("no transaction was made: {other}")),
        })?;
        info!(%txid, "an on-chain payment is made");
        // The library names no transaction before it is in a block, but the balance has changed.
        let is_shown =
            || node.list_balances().total_onchain_balance_sats != before.total_onchain_balance_sats;
        let end = Instant::now() + SHOW_PATIENCE;
        while !is_shown() {
            if Instant::now() >= end {
                return Err(LightningError::Unknown(format!(
                    "the transaction {txid} is made, but the chain source does not show it: look for it before \
                     sending again"
                )));
            }
            std::thread::sleep(SHOW_LOOK_INTERVAL);
            // One that fails is followed by others.
            let _ = node.sync_wallets();
        }
        Ok(txid.to_string())
    }
}

fn no_chain(fault: &NodeError) -> LightningError {
    LightningError::Unavailable(format!("the chain source does not answer: {fault}"))
}

/// This end's side of a channel, its reserve included.
fn own_balance(channel: &ChannelDetails) -> Msat {
    let reserve = Msat::from_sat(channel.unspendable_punishment_reserve.unwrap_or_default());
    match channel.outbound_capacity_msat {
        // At or below the reserve the library says no more than that.
        0 => Msat::ZERO,
        outbound_msat => Msat(outbound_msat).saturating_add(reserve),
    }
}

impl LdkNode {
    pub(super) async fn look_at_chain(&self) -> Result<u32, LightningError> {
        let sync = async {
            // The library's first look must be its own: one that is asked for before would break its later ones.
            while !self.run(Shared::is_synced).await? {
                tokio::time::sleep(SYNC_LOOK_INTERVAL).await;
            }
            self.run(|_, node| node.sync_wallets().map(|()| node.status().current_best_block.height)).await
        };
        match tokio::time::timeout(SYNC_PATIENCE, sync).await {
            Ok(Ok(Ok(height))) => Ok(height),
            Ok(Ok(Err(fault))) => Err(no_chain(&fault)),
            Ok(Err(fault)) => Err(fault.into()),
            Err(_) => Err(LightningError::Unavailable("the chain source does not answer in time".to_owned())),
        }
    }
}
