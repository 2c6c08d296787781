//! How a text becomes chunks, and an amount what is paid for each.

use thiserror::Error;

use super::envelope::{MAX_PARTS, PART_CAPACITY_BYTES, ReplyTo, part_capacity_bytes, single_capacity_bytes};
use crate::amount::Msat;

/// A text that does not fit into the most parts that a message may have.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("has {bytes} bytes: at most {max_bytes} can be sent in one message")]
pub struct TooLarge {
    /// Length of the text.
    pub bytes: usize,
    /// What fits beside this reply-to.
    pub max_bytes: usize,
}

/// An amount that cannot be spread over a message's parts.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpreadError {
    /// A part would be paid less than 1 sat.
    #[error("{amount_sat} sat is too little: the message takes {least_sat} payments of at least 1 sat each")]
    TooLittle {
        /// What was offered.
        amount_sat: u64,
        /// The least amount that will do.
        least_sat: u64,
    },
    /// More than can be counted in millisatoshis.
    #[error("{amount_sat} sat is more than all bitcoin there are")]
    TooMuch {
        /// What was offered.
        amount_sat: u64,
    },
}

/// The chunks of a message, in order: one where the text fits into a single envelope, else 2 to 480 for parts. Joined,
/// they are the text again. Cuts may fall inside a character.
pub fn split<'t>(text: &'t [u8], reply_to: Option<&ReplyTo>) -> Result<Vec<&'t [u8]>, TooLarge> {
    if text.len() <= single_capacity_bytes(reply_to) {
        return Ok(vec![text]);
    }
    let first_capacity = part_capacity_bytes(0, reply_to);
    let max_bytes = first_capacity + (usize::from(MAX_PARTS) - 1) * PART_CAPACITY_BYTES;
    if text.len() > max_bytes {
        return Err(TooLarge { bytes: text.len(), max_bytes });
    }
    let (first, rest) = text.split_at(first_capacity);
    Ok(std::iter::once(first).chain(rest.chunks(PART_CAPACITY_BYTES)).collect())
}

/// What is paid with each of `parts` payments (at least one) so that it sums up to `amount_sat`: whole satoshis, at
/// least one each, even, and what is left over on part 0.
pub fn spread(amount_sat: u64, parts: usize) -> Result<Vec<Msat>, SpreadError> {
    let least_sat = parts as u64;
    if amount_sat < least_sat {
        return Err(SpreadError::TooLittle { amount_sat, least_sat });
    }
    if amount_sat.checked_mul(1000).is_none() {
        return Err(SpreadError::TooMuch { amount_sat });
    }
    let each_sat = amount_sat.checked_div(least_sat).unwrap_or(0);
    let mut amounts = vec![Msat::from_sat(each_sat); parts];
    if let Some(first) = amounts.first_mut() {
        *first = Msat::from_sat(each_sat + amount_sat % least_sat);
    }
    Ok(amounts)
}
