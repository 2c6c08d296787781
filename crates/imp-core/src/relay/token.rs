//! The text that keeps a side of a relay alive, and that a relay may demand of a new source.

use std::fmt;

use thiserror::Error;

/// Shortest and longest token that is taken from others, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=64;

/// A relay's token: 16 to 64 graphic ASCII characters; ours are 32 lower-case hexadecimal digits.
///
/// Whoever knows it can take a free side of the relay, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Box<str>);

/// What is no token.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// Too short or too long.
    #[error("the token has {found} bytes; it must have 16 to 64")]
    Length {
        /// How many bytes it has.
        found: usize,
    },
    /// Something else than graphic ASCII.
    #[error("the token has a character that is not graphic ASCII, at byte {at}")]
    Character {
        /// Where.
        at: usize,
    },
}

impl Token {
    /// The token of these random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(hex::encode(bytes).into())
    }

    /// The token of this text.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if !LENGTHS.contains(&text.len()) {
            return Err(TokenError::Length { found: text.len() });
        }
        match text.bytes().position(|byte| !byte.is_ascii_graphic()) {
            Some(at) => Err(TokenError::Character { at }),
            None => Ok(Self(text.into())),
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a packet carries that is it.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_token_is_32_hex_digits_that_parse() {
        let token = Token::from_random([0xa5; 16]);
        assert_eq!(token.as_str(), "a5".repeat(16));
        assert_eq!(Token::parse(token.as_str()), Ok(token));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        assert_eq!(Token::parse("short"), Err(TokenError::Length { found: 5 }));
        assert_eq!(Token::parse(&"x".repeat(65)), Err(TokenError::Length { found: 65 }));
        assert_eq!(Token::parse("0123456789abcde "), Err(TokenError::Character { at: 15 }));
        assert_eq!(Token::parse("0123456789abcdé"), Err(TokenError::Character { at: 14 }));
    }

    #[test]
    fn a_token_is_not_shown() {
        let token = Token::from_random([7; 16]);
        assert!(!format!("{token:?}").contains("07"));
    }
}
