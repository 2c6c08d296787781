//! Where the token is among packets that came in together.

use std::iter;
use std::ops::Range;

/// Packets that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Their bytes, from the beginning of what was split.
    pub at: Range<usize>,
    /// Whether it is one packet that is exactly the token. Without that, it has no such packet.
    pub is_token: bool,
}

/// Splits packets of `stride` bytes, of which the last may be shorter, where one of them is exactly the token. A stride of 0
/// is that of one packet. An empty token is in none.
pub fn spans<'a>(packets: &'a [u8], stride: usize, token: &'a [u8]) -> impl Iterator<Item = Span> + use<'a> {
    let stride = if stride == 0 { packets.len().max(1) } else { stride };
    // Only packets of the token's length can be it: all of them or none, but for the last.
    let may_have = !token.is_empty() && (stride == token.len() || packets.len() % stride == token.len());
    let mut at = 0;
    let mut is_begun = false;
    iter::from_fn(move || {
        if at >= packets.len() && is_begun {
            return None;
        }
        is_begun = true;
        let start = at;
        if !may_have {
            at = packets.len();
            return Some(Span { at: start..at, is_token: false });
        }
        while at < packets.len() {
            let end = (at + stride).min(packets.len());
            if &packets[at..end] != token {
                at = end;
            } else if at > start {
                break;
            } else {
                at = end;
                return Some(Span { at: start..end, is_token: true });
            }
        }
        Some(Span { at: start..at, is_token: false })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(packets: &[u8], stride: usize) -> Vec<(Range<usize>, bool)> {
        spans(packets, stride, b"token").map(|span| (span.at, span.is_token)).collect()
    }

    #[test]
    fn the_token_is_found_only_as_a_whole_packet() {
        assert_eq!(found(b"token", 5), [(0..5, true)]);
        assert_eq!(found(b"token", 0), [(0..5, true)]);
        assert_eq!(found(b"tokentoken", 10), [(0..10, false)]);
        assert_eq!(found(b"hellotoken", 5), [(0..5, false), (5..10, true)]);
        assert_eq!(
            found(b"tokentokenhelloworldtoken", 5),
            [(0..5, true), (5..10, true), (10..20, false), (20..25, true)]
        );
        assert_eq!(
            found(b"longertoken", 6),
            [(0..6, false), (6..11, true)],
            "the last, shorter than the others"
        );
        assert_eq!(found(b"tokento", 5), [(0..5, true), (5..7, false)]);
    }

    #[test]
    fn what_has_no_token_is_one_span() {
        assert_eq!(found(b"", 0), [(0..0, false)], "an empty packet is one");
        assert_eq!(found(b"", 5), [(0..0, false)]);
        assert_eq!(found(b"abcdefgh", 3), [(0..8, false)]);
        assert_eq!(found(b"abc", 0), [(0..3, false)]);
        assert_eq!(spans(b"", 0, b"").count(), 1);
    }
}
