//! Building blocks: the coinbase, the witness commitment and the proof of work.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::transaction;
use bitcoin::{
    Amount, Block, BlockHash, OutPoint, Script, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    Witness, WitnessMerkleNode, opcodes,
};

use super::params;

/// What marks the output of a coinbase that commits to the witnesses (BIP141).
const COMMITMENT_MAGIC: [u8; 4] = [0xaa, 0x21, 0xa9, 0xed];

/// The value that the witness commitment is hashed with, which is also the coinbase's only witness element.
const WITNESS_RESERVED: [u8; 32] = [0; 32];

/// What goes into a new block.
#[derive(Debug)]
pub(super) struct Template<'a> {
    pub(super) parent: BlockHash,
    pub(super) height: u32,
    pub(super) time: u32,
    /// What pays for the block: its subsidy and fees.
    pub(super) reward: Amount,
    /// Who is paid.
    pub(super) payout: &'a Script,
    /// Makes two blocks of the same height, time and content different, and with them their coinbases.
    pub(super) extra_nonce: u64,
    pub(super) transactions: Vec<Transaction>,
}

impl Template<'_> {
    /// Builds the block and finds its proof of work, which takes two hashes on average.
    pub(super) fn mine(self) -> Block {
        let mut txdata = Vec::with_capacity(self.transactions.len() + 1);
        txdata.push(self.coinbase());
        txdata.extend(self.transactions);
        let header = Header {
            version: Version::from_consensus(params::BLOCK_VERSION),
            prev_blockhash: self.parent,
            merkle_root: TxMerkleNode::all_zeros(),
            time: self.time,
            bits: params::bits(),
            nonce: 0,
        };
        let mut block = Block { header, txdata };
        // The commitment does not cover the coinbase's own id, so that it can be filled in now that the rest is known.
        let root = block.witness_root().expect("a block with a coinbase has a witness root");
        block.txdata[0].output[1].script_pubkey = commitment_script(&root);
        block.header.merkle_root =
            block.compute_merkle_root().expect("a block with a coinbase has a merkle root");
        while !params::target().is_met_by(block.header.block_hash()) {
            // Half of all hashes pass: the search does not live to see an overflow.
            block.header.nonce = block.header.nonce.wrapping_add(1);
        }
        block
    }

    fn coinbase(&self) -> Transaction {
        let mut witness = Witness::new();
        witness.push(WITNESS_RESERVED);
        let input = TxIn {
            previous_output: OutPoint::null(),
            script_sig: height_prefix(self.height)
                .into_iter()
                .chain(Builder::new().push_slice(self.extra_nonce.to_le_bytes()).into_bytes())
                .collect::<Vec<_>>()
                .into(),
            sequence: Sequence::MAX,
            witness,
        };
        let reward = TxOut { value: self.reward, script_pubkey: self.payout.to_owned() };
        let commitment = TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new() };
        Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: vec![reward, commitment],
        }
    }
}

/// The bytes that the input script of the coinbase at `height` must begin with (BIP34).
pub(super) fn height_prefix(height: u32) -> Vec<u8> {
    Builder::new().push_int(i64::from(height)).into_bytes()
}

fn commitment_script(root: &WitnessMerkleNode) -> ScriptBuf {
    let commitment = Block::compute_witness_commitment(root, &WITNESS_RESERVED);
    let mut data = [0; 36];
    data[..4].copy_from_slice(&COMMITMENT_MAGIC);
    data[4..].copy_from_slice(&commitment.to_byte_array());
    Builder::new().push_opcode(opcodes::all::OP_RETURN).push_slice(data).into_script()
}
