//! What the node holds, and the look at the chain.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::Duration;

use imp_core::amount::Msat;
use ldk_node::lightning::chain::channelmonitor::BalanceSource;
use ldk_node::lightning::ln::types::ChannelId;
use ldk_node::{BalanceDetails, ChannelDetails, LightningBalance, Node, NodeError, PendingSweepBalance};

use crate::ldk::{LdkNode, Shared};
use crate::port::{LightningError, NodeStatus};

/// How long a look at the chain may take.
const SYNC_PATIENCE: Duration = Duration::from_secs(30);

/// How often the wait for the library's first look at the chain looks whether it is over.
const SYNC_LOOK_INTERVAL: Duration = Duration::from_millis(20);

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
}

pub(super) fn no_chain(fault: &NodeError) -> LightningError {
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
