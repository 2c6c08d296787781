//! Names of nodes, messages and payments.

mod text;

use std::fmt;
use std::str::FromStr;

use bitcoin_hashes::{Hash, sha256};
use secp256k1::PublicKey;
use thiserror::Error;
use uuid::{Builder, Uuid};

/// A Lightning node's public key: the address of everything in IMP (BOLT 1, compressed form).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 33]);

/// Why a text or bytes are no node key.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeIdError {
    /// Nothing was given.
    #[error("is empty: a node's public key has 66 hexadecimal digits")]
    Empty,
    /// The number of digits is wrong.
    #[error("has {found} characters: a node's public key has 66 hexadecimal digits")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// A character is no hexadecimal digit.
    #[error("is not hexadecimal")]
    NotHex,
    /// The digits name no point of secp256k1.
    #[error("is no point on the curve secp256k1")]
    NotAPoint,
}

impl NodeId {
    /// The node with this compressed public key.
    pub fn from_bytes(bytes: [u8; 33]) -> Result<Self, NodeIdError> {
        PublicKey::from_slice(&bytes).map_err(|_| NodeIdError::NotAPoint)?;
        Ok(Self(bytes))
    }

    /// The compressed public key.
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }
}

impl From<PublicKey> for NodeId {
    fn from(key: PublicKey) -> Self {
        Self(key.serialize())
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        if text.is_empty() {
            return Err(NodeIdError::Empty);
        }
        if text.len() != 66 {
            return Err(NodeIdError::Length { found: text.chars().count() });
        }
        let mut bytes = [0; 33];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NodeIdError::NotHex)?;
        Self::from_bytes(bytes)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of a message: a UUID version 4, the same at the sender and at the receiver (2021 API).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// A version 4 UUID made of 16 random bytes.
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(Builder::from_random_bytes(random).into_uuid().into_bytes())
    }

    /// The id with these bytes, as they stood in an envelope.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes that travel.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id whose canonical lower-case text this is, or nothing: other spellings of a UUID are other texts.
    pub fn from_canonical(text: &str) -> Option<Self> {
        let id = Uuid::try_parse(text).ok()?;
        let mut canonical = Uuid::encode_buffer();
        (id.hyphenated().encode_lower(&mut canonical) == text).then(|| Self(id.into_bytes()))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_bytes(self.0).hyphenated(), f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// SHA-256 of a payment's preimage: the name of the payment on the network (BOLT 2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentHash(pub [u8; 32]);

impl fmt::Display for PaymentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PaymentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secret that settles a payment. Never logged: whoever holds it before the payee can take the money.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Preimage(pub [u8; 32]);

impl Preimage {
    /// The hash that this preimage settles.
    pub fn payment_hash(&self) -> PaymentHash {
        PaymentHash(sha256::Hash::hash(&self.0).to_byte_array())
    }
}

impl fmt::Debug for Preimage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Preimage(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_survives_text() {
        let text = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        assert_eq!(text.parse::<NodeId>().unwrap().to_string(), text);
    }

    #[test]
    fn each_kind_of_malformed_key_has_its_own_error() {
        assert_eq!("".parse::<NodeId>(), Err(NodeIdError::Empty));
        assert_eq!("02ab".parse::<NodeId>(), Err(NodeIdError::Length { found: 4 }));
        assert_eq!("zz".repeat(33).parse::<NodeId>(), Err(NodeIdError::NotHex));
        assert_eq!("é".repeat(33).parse::<NodeId>(), Err(NodeIdError::NotHex));
        assert_eq!("05".repeat(33).parse::<NodeId>(), Err(NodeIdError::NotAPoint));
    }

    #[test]
    fn only_the_canonical_text_of_a_uuid_is_an_id() {
        let id = MessageId::from_random([0xab; 16]);
        assert_eq!(MessageId::from_canonical(&id.to_string()), Some(id));
        assert_eq!(MessageId::from_canonical(&id.to_string().to_uppercase()), None);
        assert_eq!(MessageId::from_canonical(&id.to_string().replace('-', "")), None);
        assert_eq!(MessageId::from_canonical(""), None);
    }

    #[test]
    fn a_message_id_is_a_version_4_uuid() {
        let text = MessageId::from_random([0xff; 16]).to_string();
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn a_preimage_is_not_printed() {
        assert_eq!(format!("{:?}", Preimage([0xab; 32])), "Preimage(***)");
    }
}
