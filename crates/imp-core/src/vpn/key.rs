//! WireGuard's keys: Curve25519 (RFC 7748) and preshared ones, as base64 the way `wg` writes them.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, Zeroizing};

/// Characters of a key's text, the padding included.
pub const KEY_TEXT_BYTES: usize = 44;

/// Why a text is no key. Nothing of the text is repeated: it may be a secret.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("is not the base64 text of 32 bytes")]
pub struct KeyError;

/// A Curve25519 public key: the name of a WireGuard peer. All 32 bytes are one, also those that no private key has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the secret shared with this key is zero whatever the private key, in any of the point's spellings
    /// (RFC 7748, section 6.1): nobody's key, and WireGuard never gets a session with it.
    pub fn is_low_order(&self) -> bool {
        // A clamped scalar is a multiple of 8, and so takes all points of low order to zero; of no other group's order is
        // it a multiple, and so it takes no others there.
        let any = StaticSecret::from([0x42; 32]);
        !any.diffie_hellman(&x25519_dalek::PublicKey::from(self.0)).was_contributory()
    }

    /// Whether these bytes are the one spelling that a private key gives: below 2^255 - 19. X25519 takes other spellings
    /// for the same point (RFC 7748, section 5), while WireGuard tells peers apart by their bytes.
    pub fn is_canonical(&self) -> bool {
        const PRIME: [u8; 32] = {
            let mut bytes = [0xff; 32];
            bytes[0] = 0xed;
            bytes[31] = 0x7f;
            bytes
        };
        self.0.iter().rev().lt(PRIME.iter().rev())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|bytes| Self(*bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A Curve25519 private key. Not printed, and overwritten when it is let go.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey([u8; 32]);

impl PrivateKey {
    /// The key of 32 random bytes, clamped (RFC 7748, section 5), as `wg genkey` makes it.
    pub fn from_random(random: [u8; 32]) -> Self {
        let random = Zeroizing::new(random);
        let mut key = Self(*random);
        key.0[0] &= 0b1111_1000;
        key.0[31] &= 0b0111_1111;
        key.0[31] |= 0b0100_0000;
        key
    }

    /// The key with these bytes, as a store kept them. They are clamped where they are used.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public key of it.
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&StaticSecret::from(self.0)).to_bytes())
    }

    /// Its text for configurations and events.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0))
    }
}

/// A key that both ends of a WireGuard session know besides their own: against who can break Curve25519 one day. Not
/// printed, and overwritten when it is let go.
#[derive(Clone, PartialEq, Eq)]
pub struct PresharedKey([u8; 32]);

impl PresharedKey {
    /// The key of 32 random bytes.
    pub const fn from_random(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The key with these bytes, as a store kept them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its text for configurations and events.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0))
    }
}

/// What both kinds of secret have in common.
macro_rules! secret {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, KeyError> {
                decode(text).map(|bytes| Self(*bytes))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(***)"))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        /// For the store, which keeps keys in clear, like the node's seed.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.to_base64())
            }
        }
    };
}

secret!(PrivateKey);
secret!(PresharedKey);

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads back what was serialized as text.
macro_rules! deserialize_text {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Zeroizing::new(String::deserialize(deserializer)?);
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

deserialize_text!(PublicKey, PrivateKey, PresharedKey);

/// The bytes of one text only: with padding, and no bits set in the last character that mean nothing.
fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    if text.len() != KEY_TEXT_BYTES {
        return Err(KeyError);
    }
    // The length of the text alone would allow one byte more.
    let mut room = Zeroizing::new([0; 33]);
    let length = STANDARD.decode_slice(text, room.as_mut_slice()).map_err(|_| KeyError)?;
    let bytes = room.get(..length).and_then(|bytes| bytes.try_into().ok()).ok_or(KeyError)?;
    Ok(Zeroizing::new(bytes))
}

#[cfg(test)]
mod tests;
