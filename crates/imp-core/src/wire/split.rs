//! How a text becomes chunks, and an amount what is paid for each.

use thiserror::Error;

use super::envelope::{MAX_PARTS, PART_CAPACITY_BYTES, ReplyTo, part_capacity_bytes, single_capacity_bytes};
use crate::amount::Msat;

/// All the bitcoin there will ever be, in satoshis.
const MAX_AMOUNT_SAT: u64 = 21_000_000 * 100_000_000;

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
    /// More than there will ever be.
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
    if amount_sat > MAX_AMOUNT_SAT {
        return Err(SpreadError::TooMuch { amount_sat });
    }
    let each_sat = amount_sat.checked_div(least_sat).unwrap_or(0);
    let mut amounts = vec![Msat::from_sat(each_sat); parts];
    if let Some(first) = amounts.first_mut() {
        *first = Msat::from_sat(each_sat + amount_sat % least_sat);
    }
    Ok(amounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(bytes: usize, reply_to: &str) -> Result<Vec<usize>, TooLarge> {
        let text = vec![b'x'; bytes];
        let reply_to = ReplyTo::parse(reply_to).unwrap();
        split(&text, reply_to.as_ref()).map(|chunks| chunks.into_iter().map(<[u8]>::len).collect())
    }

    #[test]
    fn what_fits_into_one_envelope_is_not_cut() {
        assert_eq!(lengths(0, ""), Ok(vec![0]));
        assert_eq!(lengths(905, ""), Ok(vec![905]));
        assert_eq!(lengths(906, ""), Ok(vec![901, 5]));
        assert_eq!(lengths(1803, ""), Ok(vec![901, 901, 1]));
    }

    #[test]
    fn what_is_answered_takes_room_in_the_first_part_only() {
        assert_eq!(lengths(902, "ab"), Ok(vec![902]));
        assert_eq!(lengths(1804, "ab"), Ok(vec![898, 901, 5]));
        assert_eq!(lengths(890, "12345678-1234-4234-8234-123456789abc"), Ok(vec![885, 5]));
    }

    #[test]
    fn a_text_may_fill_480_parts_and_no_more() {
        assert_eq!(lengths(432_480, "").map(|parts| parts.len()), Ok(480));
        assert_eq!(lengths(432_481, ""), Err(TooLarge { bytes: 432_481, max_bytes: 432_480 }));
        assert_eq!(lengths(432_478, "ab"), Err(TooLarge { bytes: 432_478, max_bytes: 432_477 }));
    }

    #[test]
    fn an_amount_is_spread_evenly_and_the_rest_goes_with_the_first_part() {
        let sats = |sats: &[u64]| Ok(sats.iter().map(|sat| Msat::from_sat(*sat)).collect::<Vec<_>>());
        assert_eq!(spread(10, 1), sats(&[10]));
        assert_eq!(spread(10, 4), sats(&[4, 2, 2, 2]));
        assert_eq!(spread(4, 4), sats(&[1, 1, 1, 1]));
    }

    #[test]
    fn an_amount_below_a_satoshi_for_each_part_is_refused() {
        assert_eq!(spread(3, 4), Err(SpreadError::TooLittle { amount_sat: 3, least_sat: 4 }));
        assert_eq!(spread(0, 1), Err(SpreadError::TooLittle { amount_sat: 0, least_sat: 1 }));
    }

    #[test]
    fn an_amount_above_all_bitcoin_is_refused() {
        let paid = |amounts: Vec<Msat>| amounts.into_iter().sum::<Msat>();
        assert_eq!(spread(MAX_AMOUNT_SAT, 2).map(paid), Ok(Msat::from_sat(MAX_AMOUNT_SAT)));
        for amount_sat in [MAX_AMOUNT_SAT + 1, i64::MAX as u64 / 1000, u64::MAX] {
            assert_eq!(spread(amount_sat, 2), Err(SpreadError::TooMuch { amount_sat }));
        }
    }
}
