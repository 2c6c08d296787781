//! The envelope: what one payment carries from node to node.
//!
//! Numbers are big-endian. The header says which message this is, the signature binds it to its sender, chain,
//! recipient and payment, the chunk is the message's text or a piece of it.
//!
//! ```text
//! version 1 | flags 1 | id 16 | stream 4 | seq 4 | floor_back 2      all envelopes
//! index 2 | count 2                                                 parts only
//! id 16, or length 1 and text                                       reply-to: whole messages and part 0, if any
//! signature 65 | key check 2 | chunk                                all envelopes
//! ```
//!
//! The sender's key is recovered from the signature and stands nowhere as a field. Recovery from damaged bytes names
//! some other valid key, hence the key check: the first bytes of SHA-256 of the sender's key.

mod binding;
mod header;
mod reply_to;

use std::fmt;

use bitcoin_hashes::{Hash, sha256};
use thiserror::Error;

pub use self::binding::{Binding, CarrierBinding};
pub use self::header::{Header, HeaderError, PartOf};
pub use self::reply_to::{MAX_REPLY_TEXT_BYTES, ReplyTo, ReplyToTooLong};
use super::signature::{self, RecoverError, SIGNATURE_BYTES};
use crate::id::NodeId;

/// The largest custom record that is sent: it fits into a payment over four hops, whichever backend sends it.
pub const MAX_RECORD_BYTES: usize = 1000;

/// The most parts that a message may have.
pub const MAX_PARTS: u16 = 480;

/// Text that fits into one envelope, in bytes, where nothing is answered.
pub const SINGLE_CAPACITY_BYTES: usize = MAX_RECORD_BYTES - FIXED_BYTES;

/// What fits into one part, in bytes, where nothing is answered.
pub const PART_CAPACITY_BYTES: usize = SINGLE_CAPACITY_BYTES - 4;

const VERSION: u8 = 1;
const KEY_CHECK_BYTES: usize = 2;

/// Everything in the envelope of a whole message that answers nothing, but its text.
const FIXED_BYTES: usize = 28 + SIGNATURE_BYTES + KEY_CHECK_BYTES;

/// Begins what is signed. 0xFF stands in no UTF-8 text, so nothing that signs texts for people, at this node or at
/// another program that holds the key, can be made to sign an envelope.
const SIGNED_PREFIX: [u8; 5] = [0xFF, b'I', b'M', b'P', VERSION];

/// One part of a message, or a whole one, signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    header: Header,
    signature: [u8; SIGNATURE_BYTES],
    key_check: [u8; KEY_CHECK_BYTES],
    chunk: Vec<u8>,
}

/// Why bytes are no envelope.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Made by a later release: to be kept, not to be judged.
    #[error("version {0} of the envelope is not known")]
    UnknownVersion(u8),
    /// Made by a later release: to be kept, not to be judged.
    #[error("the envelope has unknown flags: {0:#010b}")]
    UnknownFlags(u8),
    /// The bytes end before the envelope does.
    #[error("the envelope ends after {0} bytes")]
    Truncated(usize),
    /// Longer than any sender makes them.
    #[error("the envelope has {0} bytes: at most 1000 are sent")]
    TooLong(usize),
    /// The reply-to text is not UTF-8.
    #[error("the reply-to text is not UTF-8")]
    ReplyToNotText,
    /// Two things are answered at once.
    #[error("the flags say that the reply-to is an id and a text")]
    TwoReplyTos,
    /// The header contradicts itself.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl DecodeError {
    /// Whether a later release may understand the bytes. Such bytes are kept as they are and have no effect.
    pub const fn is_unknown_format(self) -> bool {
        matches!(self, Self::UnknownVersion(_) | Self::UnknownFlags(_))
    }
}

/// Why an envelope cannot be made.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// The header contradicts itself.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The chunk does not fit beside this header.
    #[error("a chunk of {bytes} bytes does not fit: {capacity} do")]
    ChunkTooLong {
        /// Length of the chunk.
        bytes: usize,
        /// What fits.
        capacity: usize,
    },
}

/// Why an envelope is not taken for its sender's.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// The signature is none.
    #[error(transparent)]
    Signature(#[from] RecoverError),
    /// The recovered key is not the one that sealed it.
    #[error("the envelope is damaged, or made for another recipient, chain, record or payment")]
    KeyCheck,
}

impl Header {
    /// What the sender's node signs for this header and chunk, and for nothing but `binding`.
    pub fn signing_bytes(&self, binding: &Binding, chunk: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(&SIGNED_PREFIX);
        bytes.extend_from_slice(&binding.genesis_hash);
        bytes.extend_from_slice(binding.recipient.as_bytes());
        bytes.extend_from_slice(&binding.record_type.number().to_be_bytes());
        bytes.extend_from_slice(&binding.carrier.0);
        self.write(&mut bytes);
        bytes.extend_from_slice(sha256::Hash::hash(chunk).as_byte_array());
        bytes
    }

    /// Bytes of text that fit beside this header.
    pub fn capacity_bytes(&self) -> usize {
        match self.part {
            None => single_capacity_bytes(self.reply_to.as_ref()),
            Some(part) => part_capacity_bytes(part.index, self.reply_to.as_ref()),
        }
    }
}

/// Bytes of text that fit into the only envelope of a message.
pub fn single_capacity_bytes(reply_to: Option<&ReplyTo>) -> usize {
    SINGLE_CAPACITY_BYTES.saturating_sub(reply_to.map_or(0, ReplyTo::encoded_bytes))
}

/// Bytes that fit into part `index` (from 0) of a message. `reply_to` is the message's: only the first part bears it.
pub fn part_capacity_bytes(index: u16, reply_to: Option<&ReplyTo>) -> usize {
    let reply_to = reply_to.filter(|_| index == 0);
    PART_CAPACITY_BYTES.saturating_sub(reply_to.map_or(0, ReplyTo::encoded_bytes))
}

impl Envelope {
    /// The envelope for a header and chunk whose [`Header::signing_bytes`] the node `sender` has signed.
    pub fn seal(
        header: Header,
        chunk: &[u8],
        signature: [u8; SIGNATURE_BYTES],
        sender: &NodeId,
    ) -> Result<Self, SealError> {
        header.check()?;
        let capacity = header.capacity_bytes();
        if chunk.len() > capacity {
            return Err(SealError::ChunkTooLong { bytes: chunk.len(), capacity });
        }
        Ok(Self { header, signature, key_check: key_check(sender), chunk: chunk.to_vec() })
    }

    /// What the envelope says about its message. Believe it only after [`Self::verify`].
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The text, or a piece of it that may begin and end inside a character.
    pub fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// The text, or a piece of it, without copying it.
    pub fn into_chunk(self) -> Vec<u8> {
        self.chunk
    }

    /// The bytes that travel, at most 1000.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_RECORD_BYTES);
        bytes.push(VERSION);
        self.header.write(&mut bytes);
        bytes.extend_from_slice(&self.signature);
        bytes.extend_from_slice(&self.key_check);
        bytes.extend_from_slice(&self.chunk);
        bytes
    }

    /// The envelope with these bytes. There is one spelling of each: encoding the result gives the same bytes.
    pub fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader { record, at: 0 };
        let [version] = reader.array()?;
        if version != VERSION {
            return Err(DecodeError::UnknownVersion(version));
        }
        if record.len() > MAX_RECORD_BYTES {
            return Err(DecodeError::TooLong(record.len()));
        }
        let header = Header::read(&mut reader)?;
        let signature = reader.array()?;
        let key_check = reader.array()?;
        Ok(Self { header, signature, key_check, chunk: reader.rest().to_vec() })
    }

    /// The node that sealed this envelope for `binding`.
    pub fn verify(&self, binding: &Binding) -> Result<NodeId, VerifyError> {
        let signed = self.header.signing_bytes(binding, &self.chunk);
        let sender = signature::recover(&signed, &self.signature)?;
        if key_check(&sender) != self.key_check {
            return Err(VerifyError::KeyCheck);
        }
        Ok(sender)
    }
}

impl fmt::Debug for Envelope {
    /// Without the text: what people write to each other does not go into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("header", &self.header)
            .field("chunk_bytes", &self.chunk.len())
            .finish_non_exhaustive()
    }
}

fn key_check(sender: &NodeId) -> [u8; KEY_CHECK_BYTES] {
    let [first, second, ..] = sha256::Hash::hash(sender.as_bytes()).to_byte_array();
    [first, second]
}

/// Takes bytes off the front of a record.
struct Reader<'r> {
    record: &'r [u8],
    at: usize,
}

impl<'r> Reader<'r> {
    fn slice(&mut self, length: usize) -> Result<&'r [u8], DecodeError> {
        let slice = self.record.get(self.at..self.at + length);
        self.at += length;
        slice.ok_or(DecodeError::Truncated(self.record.len()))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, _) =
            self.slice(N)?.split_first_chunk().ok_or(DecodeError::Truncated(self.record.len()))?;
        Ok(*array)
    }

    fn rest(&self) -> &'r [u8] {
        &self.record[self.at..]
    }
}

#[cfg(test)]
mod tests;
