//! What a message answers.

use std::fmt;

use thiserror::Error;

use crate::id::MessageId;

/// The longest text that can be answered to, in bytes: its length travels as one byte.
pub const MAX_REPLY_TEXT_BYTES: usize = 255;

/// The `reply_to_id` of a message: mostly the id of another message, but clients may put any text there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReplyTo {
    /// The id of another message.
    Id(MessageId),
    /// Other text: 1 to 255 bytes, not the canonical text of an id. [`ReplyTo::parse`] sees to both.
    Text(String),
}

/// A `reply_to_id` that does not fit into an envelope.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("has {bytes} bytes: at most 255 can be sent")]
pub struct ReplyToTooLong {
    /// Its length.
    pub bytes: usize,
}

impl ReplyTo {
    /// What `text` answers; an empty text answers nothing. The text comes out unchanged on the other side.
    pub fn parse(text: &str) -> Result<Option<Self>, ReplyToTooLong> {
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(id) = MessageId::from_canonical(text) {
            return Ok(Some(Self::Id(id)));
        }
        if text.len() > MAX_REPLY_TEXT_BYTES {
            return Err(ReplyToTooLong { bytes: text.len() });
        }
        Ok(Some(Self::Text(text.to_owned())))
    }

    /// Bytes that it takes in an envelope.
    pub(in crate::wire) fn encoded_bytes(&self) -> usize {
        match self {
            Self::Id(_) => 16,
            Self::Text(text) => 1 + text.len(),
        }
    }
}

impl fmt::Display for ReplyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => fmt::Display::fmt(id, f),
            Self::Text(text) => f.write_str(text),
        }
    }
}
