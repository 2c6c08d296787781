//! Ledgers to try things on, and transactions that need no key.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, Block, BlockHash, Network, OutPoint, Script, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Witness,
};
use imp_devnet::chain::ledger::Ledger;
use imp_devnet::chain::params;

/// The clock of ledgers in tests, Unix seconds.
pub(crate) const NOW: u32 = 1_750_000_000;

/// The fee that transactions of tests pay where it does not matter.
pub(crate) const FEE_SAT: u64 = 1_000;

/// A ledger with this many blocks, all mined within a second.
pub(crate) fn ledger(blocks: u32) -> Ledger {
    let mut ledger = Ledger::default();
    for _ in 0..blocks {
        mine(&mut ledger);
    }
    ledger
}

pub(crate) fn mine(ledger: &mut Ledger) -> BlockHash {
    ledger.mine(&params::anyone_can_spend(), NOW, true).unwrap()
}

/// An address whose coins are spent by a witness without a signature.
pub(crate) fn address() -> Address {
    Address::p2wsh(witness_script(), Network::Regtest)
}

fn witness_script() -> &'static Script {
    Script::from_bytes(&[0x51])
}

/// Funds [`address`] and gives the coin, which is not yet confirmed.
pub(crate) fn funded(ledger: &mut Ledger, sat: u64) -> OutPoint {
    OutPoint::new(ledger.fund(&[(address(), Amount::from_sat(sat))], NOW).unwrap(), 0)
}

/// Funds [`address`] with one coin of each value and mines them.
pub(crate) fn confirmed(ledger: &mut Ledger, sats: &[u64]) -> Vec<OutPoint> {
    let payments: Vec<_> = sats.iter().map(|sat| (address(), Amount::from_sat(*sat))).collect();
    let txid = ledger.fund(&payments, NOW).unwrap();
    mine(ledger);
    (0..).take(sats.len()).map(|vout| OutPoint::new(txid, vout)).collect()
}

/// A transaction that spends coins of [`address`] to new ones of these values. It allows replacement.
pub(crate) fn spend(coins: &[OutPoint], sats: &[u64]) -> Transaction {
    let input = |coin: &OutPoint| TxIn {
        previous_output: *coin,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::from_slice(&[witness_script().as_bytes()]),
    };
    let output =
        |sat: &u64| TxOut { value: Amount::from_sat(*sat), script_pubkey: address().script_pubkey() };
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: coins.iter().map(input).collect(),
        output: sats.iter().map(output).collect(),
    }
}

pub(crate) fn first_output(tx: &Transaction) -> OutPoint {
    OutPoint::new(tx.compute_txid(), 0)
}

/// The block that would be mined next, to be changed and offered.
pub(crate) fn next_block(ledger: &Ledger) -> Block {
    let mut copy = ledger.clone();
    let hash = mine(&mut copy);
    copy.chain().block(&hash).unwrap().block.clone()
}

/// The block that would be mined next with exactly these transactions, whether they are valid or not.
pub(crate) fn next_block_with(ledger: &Ledger, transactions: &[Transaction]) -> Block {
    let mut empty = ledger.clone();
    let hash = empty.mine_with(&params::anyone_can_spend(), Vec::new(), NOW).unwrap();
    let mut block = empty.chain().block(&hash).unwrap().block.clone();
    block.txdata.extend_from_slice(transactions);
    reseal(block)
}

/// Makes witness commitment, merkle root and proof of work fit what the block holds now.
pub(crate) fn reseal(mut block: Block) -> Block {
    let root = block.witness_root().unwrap();
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    let mut data = vec![0xaa, 0x21, 0xa9, 0xed];
    data.extend_from_slice(&commitment.to_byte_array());
    let data: [u8; 36] = data.try_into().unwrap();
    let script = Builder::new().push_opcode(bitcoin::opcodes::all::OP_RETURN).push_slice(data);
    block.txdata[0].output[1].script_pubkey = script.into_script();
    reseal_header(block)
}

/// Makes merkle root and proof of work fit, and leaves the witness commitment as it is.
pub(crate) fn reseal_header(mut block: Block) -> Block {
    block.header.merkle_root = block.compute_merkle_root().unwrap_or(TxMerkleNode::all_zeros());
    grind(block)
}

/// Finds a proof of work for the header as it is.
pub(crate) fn grind(mut block: Block) -> Block {
    while !params::target().is_met_by(block.block_hash()) {
        block.header.nonce += 1;
    }
    block
}
