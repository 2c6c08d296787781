//! Payments from the on-chain wallet.
//!
//! The library hands a transaction to the chain source in the background and only logs what comes of it; its wallet
//! learns of the transaction by looking at the mempool, and until then would spend the same coins again. Of transactions
//! that came into a mempool in the same second it may see only some, and the others when they are in a block. So each
//! payment here waits for a second of its own, is looked for at the chain source, and blocks others until the wallet
//! knows it.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::Txid;
use electrum_client::ElectrumApi;
use ldk_node::{Node, NodeError};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::ldk::bitcoind::{self, Bitcoind, CallFault};
use crate::ldk::config::ChainSource;
use crate::ldk::wallet::no_chain;
use crate::ldk::{Shared, pay};
use crate::onchain::Transfer;
use crate::port::{LightningError, OnchainAmount};

/// How long the chain source may take to have a transaction.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(15);

/// How long the wallet may take to know of a transaction that the chain source has; then it does not before a block.
const SHOW_PATIENCE: Duration = Duration::from_secs(5);

/// How long the chain source may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Pause between two looks for a transaction.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How far into a second a payment is made: the chain source's clock may be a little late.
const INTO_SECOND: Duration = Duration::from_millis(20);

/// bitcoind's error for a transaction that it does not have.
const RPC_INVALID_ADDRESS_OR_KEY: i64 = -5;

/// A transaction whose coins the wallet may take for unspent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unshown {
    txid: Txid,
    /// The wallet's balance before it: it changes when the wallet learns of the transaction.
    balance_sat: u64,
}

impl Unshown {
    fn is_shown(&self, node: &Node) -> bool {
        node.list_balances().total_onchain_balance_sats != self.balance_sat
    }
}

impl Shared {
    /// Takes a turn with the coins of the wallet, if it knows which of them are spent.
    pub(super) fn take_coins(&self, node: &Node) -> Result<MutexGuard<'_, Option<Unshown>>, LightningError> {
        let mut turn = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unshown) = *turn {
            let unavailable =
                |cause| LightningError::Unavailable(format!("the chain source does not answer: {cause}"));
            // Asked first: one that is gone from the mempool when the wallet looks is in a block that it sees.
            let looked = Handle::current().block_on(has_transaction(&self.chain, &unshown.txid));
            let is_there = looked.map_err(unavailable)?;
            node.sync_wallets().map_err(|fault| no_chain(&fault))?;
            if is_there && !unshown.is_shown(node) {
                return Err(LightningError::Failed(format!(
                    "the wallet does not count the transaction {} yet, whose coins it would spend again: try again \
                     after the next block",
                    unshown.txid
                )));
            }
            *turn = None;
        }
        Ok(turn)
    }

    /// Makes an on-chain payment. Blocks.
    pub(super) fn transfer(&self, node: &Node, transfer: &Transfer) -> Result<String, LightningError> {
        if !self.is_synced(node) {
            return Err(LightningError::Unavailable("it has not seen the chain yet".to_owned()));
        }
        let mut turn = self.take_coins(node)?;
        let opens = |channel: &ldk_node::ChannelDetails| {
            channel.is_outbound && !channel.is_channel_ready && channel.confirmations.unwrap_or_default() == 0
        };
        if node.list_channels().iter().any(opens) {
            return Err(LightningError::Failed(
                "a channel is being opened with coins of the wallet: try again when its funding is in a block"
                    .to_owned(),
            ));
        }
        let since_second = Duration::from_nanos(pay::now().subsec_nanos().into());
        std::thread::sleep(Duration::from_secs(1) + INTO_SECOND - since_second);
        node.sync_wallets().map_err(|fault| no_chain(&fault))?;
        let unshown = Unshown {
            balance_sat: node.list_balances().total_onchain_balance_sats,
            txid: make(node, transfer)?,
        };
        let txid = unshown.txid;
        info!(%txid, "an on-chain payment is made");
        *turn = Some(unshown);
        let handed_over = self.is_handed_over(node, &unshown);
        if unshown.is_shown(node) {
            *turn = None;
            return Ok(txid.to_string());
        }
        handed_over.map(|()| txid.to_string())
    }

    /// Waits until the wallet knows a transaction, or at least the chain source has it.
    fn is_handed_over(&self, node: &Node, unshown: &Unshown) -> Result<(), LightningError> {
        let runtime = Handle::current();
        let begun = Instant::now();
        let mut is_there = false;
        let mut fault = None;
        loop {
            if !is_there {
                match runtime.block_on(has_transaction(&self.chain, &unshown.txid)) {
                    Ok(found) => is_there = found,
                    Err(cause) => fault = Some(cause),
                }
            }
            // One that fails is followed by others.
            let _ = node.sync_wallets();
            if unshown.is_shown(node) || (is_there && begun.elapsed() > SHOW_PATIENCE) {
                return Ok(());
            }
            if begun.elapsed() > HANDOVER_PATIENCE {
                break;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        let cause = fault.unwrap_or_else(|| "it does not have it".to_owned());
        warn!(txid = %unshown.txid, cause, "a transaction is not seen at the chain source");
        Err(LightningError::Unknown(format!(
            "the transaction {} is made, but not seen at the chain source ({cause}): look for it before sending again",
            unshown.txid
        )))
    }
}

/// Makes the transaction and has it sent to the chain source.
fn make(node: &Node, transfer: &Transfer) -> Result<Txid, LightningError> {
    let balances = node.list_balances();
    let short = || LightningError::InsufficientFunds {
        spendable_sat: balances.spendable_onchain_balance_sats,
        reserved_sat: balances.total_anchor_channels_reserve_sats,
        needed_sat: transfer.least_sat(),
    };
    if transfer.least_sat() > balances.spendable_onchain_balance_sats {
        return Err(short());
    }
    let wallet = node.onchain_payment();
    let (address, fee_rate) = (&transfer.address, transfer.fee_rate);
    let sent = match transfer.amount {
        OnchainAmount::Sat(sat) => wallet.send_to_address(address, sat, fee_rate),
        OnchainAmount::All => wallet.send_all_to_address(address, true, fee_rate),
    };
    sent.map_err(|fault| match fault {
        NodeError::InsufficientFunds => short(),
        // What the fee leaves is dust.
        NodeError::OnchainTxCreationFailed if transfer.amount == OnchainAmount::All => short(),
        NodeError::NotRunning => LightningError::Unavailable("it was stopped".to_owned()),
        other => LightningError::Failed(format!("no transaction was made: {other}")),
    })
}

/// Whether the chain source has a transaction, in a block or waiting for one.
async fn has_transaction(chain: &ChainSource, txid: &Txid) -> Result<bool, String> {
    let looked = async {
        match chain {
            ChainSource::Bitcoind { host, port, user, password } => {
                let bitcoind = Bitcoind { host, port: *port, user, password };
                let params = serde_json::json!([txid.to_string(), false]);
                match bitcoind.call::<String>("getrawtransaction", params).await {
                    Ok(_) => Ok(true),
                    Err(CallFault::Rpc { code: RPC_INVALID_ADDRESS_OR_KEY, .. }) => Ok(false),
                    Err(CallFault::Away(cause) | CallFault::Rpc { message: cause, .. }) => Err(cause),
                    Err(CallFault::Refused) => Err("it refuses user or password".to_owned()),
                }
            }
            ChainSource::Esplora { url } => {
                let url = format!("{}/tx/{txid}", url.trim_end_matches('/'));
                let answer = reqwest::get(url).await.map_err(|fault| bitcoind::cause(&fault))?;
                Ok(answer.status().is_success())
            }
            ChainSource::Electrum { url } => {
                let (url, txid) = (url.clone(), *txid);
                let look = move || {
                    let patience_secs = ANSWER_PATIENCE.as_secs() as u8;
                    let config =
                        electrum_client::ConfigBuilder::new().timeout(Some(patience_secs)).retry(0).build();
                    electrum_client::Client::from_config(&url, config)?.transaction_get_raw(&txid)
                };
                match tokio::task::spawn_blocking(look).await {
                    Ok(Ok(_)) => Ok(true),
                    Ok(Err(electrum_client::Error::Protocol(_))) => Ok(false),
                    Ok(Err(fault)) => Err(fault.to_string()),
                    Err(_) => Err("the look at it was cut short".to_owned()),
                }
            }
        }
    };
    tokio::time::timeout(ANSWER_PATIENCE, looked)
        .await
        .unwrap_or_else(|_| Err("no answer in time".to_owned()))
}
