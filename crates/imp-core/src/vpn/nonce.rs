//! The name of a quote, and of the contract made from it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Lengths that a nonce may have, in characters.
pub const NONCE_CHARS: std::ops::RangeInclusive<usize> = 1..=64;

/// Characters of the nonces that this node makes: letters and digits without those that look alike.
const ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Characters that 16 bytes need in that alphabet.
const MADE_CHARS: usize = 22;

/// The seller's name of a quote, and of the contract made from it: 1 to 64 of `A`-`Z`, `a`-`z`, `0`-`9`, `_` and `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Nonce(String);

/// Why a text is no nonce.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("is not 1 to 64 letters, digits, hyphens or underscores")]
pub struct NonceError;

impl Nonce {
    /// 22 letters and digits of 16 random bytes, like those of 2021.
    pub fn from_random(random: [u8; 16]) -> Self {
        let mut left = u128::from_be_bytes(random);
        let mut text = [ALPHABET[0]; MADE_CHARS];
        for character in text.iter_mut().rev() {
            *character = ALPHABET[(left % ALPHABET.len() as u128) as usize];
            left /= ALPHABET.len() as u128;
        }
        Self(text.iter().copied().map(char::from).collect())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Nonce {
    type Err = NonceError;

    fn from_str(text: &str) -> Result<Self, NonceError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if NONCE_CHARS.contains(&text.len()) && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NonceError)
        }
    }
}

impl TryFrom<String> for Nonce {
    type Error = NonceError;

    fn try_from(text: String) -> Result<Self, NonceError> {
        text.parse()
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        nonce.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
