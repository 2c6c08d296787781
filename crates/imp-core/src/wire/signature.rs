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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_slice(&[byte; 32]).unwrap()
    }

    fn node(key: &SecretKey) -> NodeId {
        NodeId::from(key.public_key(SECP256K1))
    }

    #[test]
    fn signatures_of_other_implementations_are_recovered() {
        // Signed by LND nodes of their users' time; Core Lightning and LDK test against the same ones.
        let signed = [
            (
                "is this compatible?",
                "rbgfioj114mh48d8egqx8o9qxqw4fmhe8jbeeabdioxnjk8z3t1ma1hu1fiswpakgucwwzwo6ofycffbsqusqdimugbh41n1g698hr9t",
                "02b80cabdf82638aac86948e4c06e82064f547768dcef977677b9ea931ea75bab5",
            ),
            (
                "hi",
                "rnrphcjswusbacjnmmmrynh9pqip7sy5cx695h6mfu64iac6qmcmsd8xnsyczwmpqp9shqkth3h4jmkgyqu5z47jfn1q7gpxtaqpx4xg",
                "02de60d194e1ca5947b59fe8e2efd6aadeabfb67f2e89e13ae1a799c1e08e4a43b",
            ),
            (
                "hi",
                "ry8bbsopmduhxy3dr5d9ekfeabdpimfx95kagdem7914wtca79jwamtbw4rxh69hg7n6x9ty8cqk33knbxaqftgxsfsaeprxkn1k48p3",
                "022b8ece90ee891cbcdac0c1cc6af46b73c47212d8defbce80265ac81a6b794931",
            ),
        ];
        for (message, text, signer) in signed {
            let signature = zbase32_decode(text).unwrap();
            assert_eq!(recover(message.as_bytes(), &signature), Ok(signer.parse().unwrap()));
            assert_eq!(zbase32_encode(&signature), text);
        }
    }

    #[test]
    fn signing_gives_what_ldk_gives() {
        let mut one = [0; 32];
        one[31] = 1;
        let signature = sign_with(&SecretKey::from_slice(&one).unwrap(), b"test message");
        let by_ldk = "d9tibmnic9t5y41hg7hkakdcra94akas9ku3rmmj4ag9mritc8ok4p5qzefs78c9pqfhpuftqqzhydbdwfg7u6w6wdxcqpqn4sj4e73e";
        assert_eq!(zbase32_encode(&signature), by_ldk);
    }

    #[test]
    fn another_message_recovers_another_key() {
        let signature = sign_with(&key(1), b"a message");
        assert_eq!(recover(b"a message", &signature), Ok(node(&key(1))));
        assert_ne!(recover(b"another message", &signature), Ok(node(&key(1))));
    }

    #[test]
    fn only_recovery_bytes_of_compressed_keys_are_taken() {
        let mut signature = sign_with(&key(1), b"a message");
        for byte in (0..=u8::MAX).filter(|byte| !(31..=34).contains(byte)) {
            signature[0] = byte;
            assert_eq!(recover(b"a message", &signature), Err(RecoverError::RecoveryByte(byte)));
        }
    }

    #[test]
    fn numbers_out_of_range_fit_no_key() {
        let mut signature = [0xFF; SIGNATURE_BYTES];
        signature[0] = 31;
        assert_eq!(recover(b"a message", &signature), Err(RecoverError::NoKey));
        signature[1..].fill(0);
        assert_eq!(recover(b"a message", &signature), Err(RecoverError::NoKey));
    }

    #[test]
    fn every_bit_of_a_signature_survives_its_text() {
        for bit in 0..SIGNATURE_BYTES * 8 {
            let mut signature = [0; SIGNATURE_BYTES];
            signature[bit / 8] = 1 << (bit % 8);
            assert_eq!(zbase32_decode(&zbase32_encode(&signature)), Ok(signature));
        }
    }

    #[test]
    fn only_the_exact_text_of_a_signature_is_read() {
        let text = zbase32_encode(&sign_with(&key(1), b"a message"));
        let replaced = |with: &str| text.replacen(|_: char| true, with, 1);
        let not_zbase32 = |found| Err(SignatureTextError::Character { found, at: 0 });
        assert_eq!(zbase32_decode(&replaced("D")), not_zbase32('D'));
        assert_eq!(zbase32_decode(&replaced(" ")), not_zbase32(' '));
        assert_eq!(zbase32_decode(&replaced("0")), not_zbase32('0'));
        assert_eq!(zbase32_decode(&replaced("é")), not_zbase32('é'));
        assert_eq!(zbase32_decode(&text[1..]), Err(SignatureTextError::Length { found: 103 }));
        assert_eq!(zbase32_decode(&format!("{text}y")), Err(SignatureTextError::Length { found: 105 }));
        assert_eq!(zbase32_decode(""), Err(SignatureTextError::Length { found: 0 }));
    }
}
