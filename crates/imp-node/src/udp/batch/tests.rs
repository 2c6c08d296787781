//! What is joined, and where the token is found.

use super::*;

fn piece(at: Range<usize>, stride: usize) -> Piece {
    Piece { at, stride, ecn: None }
}

#[test]
fn packets_of_one_length_are_joined_up_to_the_first_shorter_one() {
    let pieces = [piece(0..100, 100), piece(200..300, 100), piece(400..450, 50), piece(500..600, 100)];
    assert_eq!(joinable(&pieces, 64), 3);
    assert_eq!(joinable(&pieces[2..], 64), 1, "a longer one does not follow a shorter one");
    assert_eq!(joinable(&pieces, 2), 2, "no more than the system takes");
}

#[test]
fn a_message_that_ends_in_a_short_packet_is_the_last_of_its_call() {
    let pieces = [piece(0..250, 100), piece(300..400, 100)];
    assert_eq!(joinable(&pieces, 64), 1);
    let pieces = [piece(300..400, 100), piece(0..250, 100), piece(500..600, 100)];
    assert_eq!(joinable(&pieces, 64), 2);
    let pieces = [piece(0..300, 300), piece(400..600, 100)];
    assert_eq!(joinable(&pieces, 64), 1, "two packets are not one short one");
}

#[test]
fn what_cannot_be_joined_goes_alone() {
    assert_eq!(joinable(&[piece(0..0, 0), piece(5..5, 0)], 64), 1, "empty packets");
    assert_eq!(joinable(&[piece(0..9, 9), piece(5..5, 0)], 64), 1, "an empty packet after another");
    assert_eq!(joinable(&[piece(0..1_453, 1_453), piece(5_000..6_453, 1_453)], 64), 1, "too long");
    let marked = Piece { ecn: Some(EcnCodepoint::Ce), ..piece(200..300, 100) };
    assert_eq!(joinable(&[piece(0..100, 100), marked], 64), 1, "marked by a router");
    let long = [piece(0..64_000, 1_000), piece(70_000..72_000, 1_000)];
    assert_eq!(joinable(&long, 128), 1, "more bytes than a call may have");
}

fn found(message: &[u8], stride: usize) -> Vec<(Range<usize>, bool)> {
    spans(message, stride, b"token").map(|span| (span.at, span.is_token)).collect()
}

#[test]
fn the_token_is_found_only_as_a_whole_packet() {
    assert_eq!(found(b"token", 5), [(0..5, true)]);
    assert_eq!(found(b"tokentoken", 10), [(0..10, false)]);
    assert_eq!(found(b"hellotoken", 5), [(0..5, false), (5..10, true)]);
    assert_eq!(
        found(b"tokentokenhelloworldtoken", 5),
        [(0..5, true), (5..10, true), (10..20, false), (20..25, true)]
    );
    assert_eq!(found(b"longertoken", 6), [(0..6, false), (6..11, true)], "the last, shorter than the others");
    assert_eq!(found(b"tokento", 5), [(0..5, true), (5..7, false)]);
}

#[test]
fn what_has_no_token_is_one_span() {
    assert_eq!(found(b"", 0), [(0..0, false)]);
    assert_eq!(found(b"abcdefgh", 3), [(0..8, false)]);
    assert_eq!(found(b"abc", 0), [(0..3, false)]);
    let none: Vec<Span> = spans(b"", 0, b"").collect();
    assert_eq!(none.len(), 1, "an empty packet is one, and an empty token matches nothing");
    assert!(!none[0].is_token);
}
