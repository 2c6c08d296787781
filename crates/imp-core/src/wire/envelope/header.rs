//! What an envelope says about its message.

use thiserror::Error;

use super::reply_to::{MAX_REPLY_TEXT_BYTES, ReplyTo};
use super::{DecodeError, MAX_PARTS, Reader};
use crate::id::MessageId;
use crate::order::Position;

const FLAG_PARTS: u8 = 1 << 0;
const FLAG_REPLY_ID: u8 = 1 << 1;
const FLAG_REPLY_TEXT: u8 = 1 << 2;
const FLAG_UNORDERED: u8 = 1 << 3;
const KNOWN_FLAGS: u8 = FLAG_PARTS | FLAG_REPLY_ID | FLAG_REPLY_TEXT | FLAG_UNORDERED;

/// What an envelope says about its message. All of it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message's id; the same in all its parts and in every attempt to send them.
    pub id: MessageId,
    /// The run of the sender's daemon that gave the number.
    pub stream: u32,
    /// The message's number in the stream, counted per recipient and record type. 0 where unordered.
    pub seq: u32,
    /// How far below `seq` the lowest number is whose outcome the sender does not know yet. 0 where unordered.
    pub floor_back: u16,
    /// Which part of the message this is; nothing where the message is whole.
    pub part: Option<PartOf>,
    /// What the message answers. Only whole messages and first parts say it.
    pub reply_to: Option<ReplyTo>,
    /// The message has no place in the order of messages.
    pub unordered: bool,
}

/// Which part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartOf {
    /// From 0.
    pub index: u16,
    /// Parts of the message, 2 to 480.
    pub count: u16,
}

/// A header that contradicts itself.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// A message in parts has 2 to 480 of them.
    #[error("a message cannot have {0} parts: 2 to 480 can be")]
    PartCount(u16),
    /// There is no such part.
    #[error("there is no part {index} (from 0) of {count}")]
    PartIndex {
        /// The part.
        index: u16,
        /// How many there are.
        count: u16,
    },
    /// A part other than the first says what the message answers.
    #[error("only the first part of a message may say what it answers")]
    ReplyToOnLaterPart,
    /// A reply-to text has 1 to 255 bytes.
    #[error("a reply-to text cannot have {0} bytes: 1 to 255 can be")]
    ReplyToLength(usize),
    /// The canonical text of an id travels as an id.
    #[error("a reply-to text is the text of a message id, which travels as 16 bytes")]
    ReplyToIsId,
    /// An unordered message has no number.
    #[error("an unordered message cannot have a number")]
    UnorderedNumber,
    /// The lowest unresolved number would be negative.
    #[error("the floor is {floor_back} below number {seq}, which is below zero")]
    FloorBelowZero {
        /// The message's number.
        seq: u32,
        /// How far below it the floor is.
        floor_back: u16,
    },
}

impl Header {
    /// The header's place in the order of its sender's messages; nothing where the message is unordered.
    pub fn position(&self) -> Option<Position> {
        let Self { stream, seq, floor_back, .. } = *self;
        (!self.unordered).then_some(Position { stream, seq, floor_back })
    }

    /// Whether the header says one thing only.
    pub fn check(&self) -> Result<(), HeaderError> {
        if let Some(PartOf { index, count }) = self.part {
            if !(2..=MAX_PARTS).contains(&count) {
                return Err(HeaderError::PartCount(count));
            }
            if index >= count {
                return Err(HeaderError::PartIndex { index, count });
            }
            if index > 0 && self.reply_to.is_some() {
                return Err(HeaderError::ReplyToOnLaterPart);
            }
        }
        if let Some(ReplyTo::Text(text)) = &self.reply_to {
            if text.is_empty() || text.len() > MAX_REPLY_TEXT_BYTES {
                return Err(HeaderError::ReplyToLength(text.len()));
            }
            if MessageId::from_canonical(text).is_some() {
                return Err(HeaderError::ReplyToIsId);
            }
        }
        if self.unordered && (self.seq, self.floor_back) != (0, 0) {
            return Err(HeaderError::UnorderedNumber);
        }
        if u32::from(self.floor_back) > self.seq {
            return Err(HeaderError::FloorBelowZero { seq: self.seq, floor_back: self.floor_back });
        }
        Ok(())
    }

    /// Appends the bytes from the flags up to the signature.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.flags());
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.floor_back.to_be_bytes());
        if let Some(PartOf { index, count }) = self.part {
            out.extend_from_slice(&index.to_be_bytes());
            out.extend_from_slice(&count.to_be_bytes());
        }
        match &self.reply_to {
            None => {}
            Some(ReplyTo::Id(id)) => out.extend_from_slice(id.as_bytes()),
            Some(ReplyTo::Text(text)) => {
                out.push(text.len() as u8);
                out.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// Reads what [`Self::write`] wrote, and nothing else.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [flags] = reader.array()?;
        if flags & !KNOWN_FLAGS != 0 {
            return Err(DecodeError::UnknownFlags(flags));
        }
        let id = MessageId::from_bytes(reader.array()?);
        let stream = u32::from_be_bytes(reader.array()?);
        let seq = u32::from_be_bytes(reader.array()?);
        let floor_back = u16::from_be_bytes(reader.array()?);
        let part = match flags & FLAG_PARTS {
            0 => None,
            _ => Some(PartOf {
                index: u16::from_be_bytes(reader.array()?),
                count: u16::from_be_bytes(reader.array()?),
            }),
        };
        let reply_to = match flags & (FLAG_REPLY_ID | FLAG_REPLY_TEXT) {
            0 => None,
            FLAG_REPLY_ID => Some(ReplyTo::Id(MessageId::from_bytes(reader.array()?))),
            FLAG_REPLY_TEXT => {
                let [length] = reader.array()?;
                let text = str::from_utf8(reader.slice(length.into())?);
                Some(ReplyTo::Text(text.map_err(|_| DecodeError::ReplyToNotText)?.to_owned()))
            }
            _ => return Err(DecodeError::TwoReplyTos),
        };
        let unordered = flags & FLAG_UNORDERED != 0;
        let header = Self { id, stream, seq, floor_back, part, reply_to, unordered };
        header.check()?;
        Ok(header)
    }

    fn flags(&self) -> u8 {
        let reply_to = match self.reply_to {
            None => 0,
            Some(ReplyTo::Id(_)) => FLAG_REPLY_ID,
            Some(ReplyTo::Text(_)) => FLAG_REPLY_TEXT,
        };
        let parts = if self.part.is_some() { FLAG_PARTS } else { 0 };
        let unordered = if self.unordered { FLAG_UNORDERED } else { 0 };
        parts | reply_to | unordered
    }
}
