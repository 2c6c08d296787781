//! Paying addresses from the chain's own coinbases, which anyone can spend.

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};

use super::ledger::Ledger;
use super::mempool::{MIN_RELAY_SAT_PER_VB, Reject};
use super::params;

/// How many addresses one call pays at most.
pub const MAX_PAYMENTS: usize = 1_000;

/// How many coins one funding spends at most.
const MAX_INPUTS: usize = 500;

/// Change below this many satoshis goes to the miner.
const MIN_CHANGE_SAT: u64 = 1_000;

/// Why nothing was paid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FundError {
    #[error("name 1 to {MAX_PAYMENTS} payments, not {count}")]
    Count { count: usize },
    #[error("{address} is no regtest address")]
    Network { address: String },
    #[error("the amount for {address} must be 1 to {} sat, not {sat}", Amount::MAX_MONEY.to_sat())]
    Amount { address: String, sat: u64 },
    #[error(
        "{wanted_sat} sat and the fee are more than the {spendable_sat} sat that can be spent: mine more blocks first \
         (a coinbase matures after {} blocks)",
        params::COINBASE_MATURITY
    )]
    NotEnough { wanted_sat: u64, spendable_sat: u64 },
    #[error("the funding transaction was refused: {0}")]
    Rejected(#[from] Reject),
}

impl Ledger {
    /// Pays all addresses in one transaction, which is in the mempool afterwards.
    pub fn fund(&mut self, payments: &[(Address, Amount)], now: u32) -> Result<Txid, FundError> {
        let outputs = check_payments(payments)?;
        let tx = self.funding(outputs)?;
        Ok(self.submit(tx, now)?.txid)
    }

    fn funding(&self, outputs: Vec<TxOut>) -> Result<Transaction, FundError> {
        let wanted_sat: u64 = outputs.iter().map(|output| output.value.to_sat()).sum();
        let mut tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: Vec::new(),
            output: outputs,
        };
        tx.output.push(TxOut { value: Amount::ZERO, script_pubkey: params::anyone_can_spend() });
        let mut spendable_sat: u64 = 0;
        for (outpoint, value) in self.spendable().into_iter().take(MAX_INPUTS) {
            tx.input.push(TxIn {
                previous_output: outpoint,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            });
            spendable_sat += value.to_sat();
            let fee_sat = tx.vsize() as u64 * MIN_RELAY_SAT_PER_VB;
            let Some(change_sat) = spendable_sat.checked_sub(wanted_sat + fee_sat) else { continue };
            if change_sat < MIN_CHANGE_SAT {
                tx.output.pop();
            } else if let Some(change) = tx.output.last_mut() {
                change.value = Amount::from_sat(change_sat);
            }
            return Ok(tx);
        }
        Err(FundError::NotEnough { wanted_sat, spendable_sat })
    }

    /// Coins that anyone can spend in the next block: confirmed ones first, so that chains of unconfirmed transactions
    /// stay short, and the largest of each kind first.
    fn spendable(&self) -> Vec<(OutPoint, Amount)> {
        let script = params::anyone_can_spend();
        let next = self.chain().height() + 1;
        let confirmed = self.chain().coins().filter(|(_, coin)| {
            let mature = !coin.coinbase || next - coin.height >= params::COINBASE_MATURITY;
            mature && coin.output.script_pubkey == script
        });
        let mut coins: Vec<_> =
            confirmed.map(|(outpoint, coin)| (false, coin.output.value, *outpoint)).collect();
        for waiting in self.mempool().iter() {
            for (vout, output) in (0..).zip(&waiting.tx.output) {
                if output.script_pubkey == script {
                    coins.push((true, output.value, OutPoint::new(waiting.txid, vout)));
                }
            }
        }
        coins.retain(|(_, _, outpoint)| self.mempool().spender(outpoint).is_none());
        coins.sort_unstable_by(|a, b| (a.0, b.1, a.2).cmp(&(b.0, a.1, b.2)));
        coins.into_iter().map(|(_, value, outpoint)| (outpoint, value)).collect()
    }
}

fn check_payments(payments: &[(Address, Amount)]) -> Result<Vec<TxOut>, FundError> {
    if !(1..=MAX_PAYMENTS).contains(&payments.len()) {
        return Err(FundError::Count { count: payments.len() });
    }
    let mut outputs = Vec::with_capacity(payments.len() + 1);
    for (address, amount) in payments {
        if !address.as_unchecked().is_valid_for_network(Network::Regtest) {
            return Err(FundError::Network { address: address.to_string() });
        }
        if *amount == Amount::ZERO || *amount > Amount::MAX_MONEY {
            return Err(FundError::Amount { address: address.to_string(), sat: amount.to_sat() });
        }
        outputs.push(TxOut { value: *amount, script_pubkey: address.script_pubkey() });
    }
    Ok(outputs)
}
