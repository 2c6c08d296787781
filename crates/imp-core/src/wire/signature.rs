//! Signatures with a node's key, in the scheme that LND, LDK and Core Lightning share.
//!
//! A message is prefixed with "Lightning Signed Message:", hashed twice with SHA-256 and signed with ECDSA over
//! secp256k1 so that the signer's key can be recovered from the signature. In envelopes a signature is 65 raw bytes, in
//! APIs the zbase32 text of these bytes.

use bitcoin_hashes::{Hash, HashEngine, sha256d};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, SECP256K1, SecretKey};
use thiserror::Error;

use crate::id::NodeId;

/// Bytes of a signature: recovery byte, then the compact signature.
pub const SIGNATURE_BYTES: usize = 65;

/// Characters of a signature's zbase32 text; 520 bits fill them without a remainder.
pub const SIGNATURE_CHARS: usize = 104;

const PREFIX: &[u8] = b"Lightning Signed Message:";

/// The recovery byte of recovery id 0 with a compressed key, the only form that Lightning nodes produce.
const FIRST_RECOVERY_BYTE: u8 = 31;

const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// Why no key can be recovered from a signature.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoverError {
    /// The first byte names no recovery id of a compressed key.
    #[error("the signature's recovery byte is {0}, not one of 31 to 34")]
    RecoveryByte(u8),
    /// The numbers in the signature are out of range, or no key fits them.
    #[error("the signature fits no key")]
    NoKey,
}

/// Why a text is no signature.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureTextError {
    /// The number of characters is wrong.
    #[error("has {found} characters: a signature has 104")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// A character does not belong to zbase32.
    #[error("is not zbase32: {found:?} at character {at}")]
    Character {
        /// The character.
        found: char,
        /// Its place, from 0.
        at: usize,
    },
}

/// What is signed for `message`: SHA-256 twice over the scheme's prefix and the message.
pub fn digest(message: &[u8]) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    engine.input(PREFIX);
    engine.input(message);
    sha256d::Hash::from_engine(engine).to_byte_array()
}

/// The node that signed `message`.
///
/// Recovery nearly always names some key: with another message, or a damaged signature, it names one that nobody
/// holds. The result proves something only once it is compared with the key that was expected.
pub fn recover(message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> Result<NodeId, RecoverError> {
    let recovery_byte = signature[0];
    let recovery_id = recovery_byte
        .checked_sub(FIRST_RECOVERY_BYTE)
        .and_then(|id| RecoveryId::from_i32(id.into()).ok())
        .ok_or(RecoverError::RecoveryByte(recovery_byte))?;
    let signature = RecoverableSignature::from_compact(&signature[1..], recovery_id);
    let key = signature
        .and_then(|signature| SECP256K1.recover_ecdsa(&Message::from_digest(digest(message)), &signature))
        .map_err(|_| RecoverError::NoKey)?;
    Ok(NodeId::from(key))
}

/// Signs `message` with `key`, as a Lightning node does. Deterministic (RFC 6979).
pub fn sign_with(key: &SecretKey, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
    let signed = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(digest(message)), key);
    let (recovery_id, compact) = signed.serialize_compact();
    let mut signature = [0; SIGNATURE_BYTES];
    signature[0] = FIRST_RECOVERY_BYTE + recovery_id.to_i32() as u8;
    signature[1..].copy_from_slice(&compact);
    signature
}

/// The zbase32 text of a signature, 104 characters.
pub fn zbase32_encode(signature: &[u8; SIGNATURE_BYTES]) -> String {
    let mut text = String::with_capacity(SIGNATURE_CHARS);
    // Five bytes are exactly eight characters.
    for group in signature.chunks_exact(5) {
        let bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            text.push(char::from(ALPHABET[(bits >> (place * 5) & 31) as usize]));
        }
    }
    text
}

/// The signature with this zbase32 text. Only the text that [`zbase32_encode`] gives is accepted: no upper case, no
/// spaces, no separators.
pub fn zbase32_decode(text: &str) -> Result<[u8; SIGNATURE_BYTES], SignatureTextError> {
    let found = text.chars().count();
    if found != SIGNATURE_CHARS {
        return Err(SignatureTextError::Length { found });
    }
    let mut values = [0_u8; SIGNATURE_CHARS];
    for (at, (character, value)) in text.chars().zip(&mut values).enumerate() {
        let place = ALPHABET.iter().position(|letter| char::from(*letter) == character);
        *value = place.ok_or(SignatureTextError::Character { found: character, at })? as u8;
    }
    let mut signature = [0; SIGNATURE_BYTES];
    for (group, bytes) in values.chunks_exact(8).zip(signature.chunks_exact_mut(5)) {
        let bits = group.iter().fold(0_u64, |bits, value| bits << 5 | u64::from(*value));
        bytes.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Ok(signature)
}
