//! A text that was split comes together again, in whatever order its parts come.

use imp_core::amount::Msat;
use imp_core::id::{MessageId, NodeId};
use imp_core::parts::{Added, Parts};
use imp_core::wire::envelope::{Envelope, Header, MAX_RECORD_BYTES, PartOf, ReplyTo};
use imp_core::wire::split::{split, spread};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use secp256k1::{SECP256K1, SecretKey};

fn sender() -> NodeId {
    NodeId::from(SecretKey::from_slice(&[1; 32]).unwrap().public_key(SECP256K1))
}

/// The records that carry a text; who signs them does not matter here.
fn records(text: &[u8], reply_to: Option<&ReplyTo>) -> Vec<Vec<u8>> {
    let chunks = split(text, reply_to).unwrap();
    let count = chunks.len() as u16;
    let record = |(index, chunk): (u16, &[u8])| {
        let header = Header {
            id: MessageId::from_random([3; 16]),
            stream: 1,
            seq: 0,
            floor_back: 0,
            part: (count > 1).then_some(PartOf { index, count }),
            reply_to: reply_to.filter(|_| index == 0).cloned(),
            unordered: false,
        };
        Envelope::seal(header, chunk, [31; 65], &sender()).unwrap().encode()
    };
    (0..count).zip(chunks).map(record).collect()
}

/// Texts of few and of many parts, often at the edge of one more.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![
        4 => 0..8000_usize,
        2 => (0..8_usize, -3..3_isize).prop_map(|(parts, off)| (905 + parts * 901).saturating_add_signed(off)),
        1 => 400_000..430_000_usize,
    ];
    (length, any::<u8>())
        .prop_map(|(length, salt)| (0..length).map(|at| (at / 7) as u8 ^ (at / 901) as u8 ^ salt).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_order_with_repeats_gives_the_text_back(
        text in text(),
        reply_to in prop_oneof![Just(String::new()), "\\PC{1,60}", Just(MessageId::from_random([5; 16]).to_string())],
        swaps in vec((any::<Index>(), any::<Index>()), 0..600),
        repeats in vec((any::<Index>(), any::<Index>()), 0..40),
    ) {
        let reply_to = ReplyTo::parse(&reply_to).unwrap();
        let mut records = records(&text, reply_to.as_ref());
        let count = records.len();
        prop_assert!(records.iter().all(|record| record.len() <= MAX_RECORD_BYTES));
        if count == 1 {
            let read = Envelope::decode(&records[0]).unwrap();
            prop_assert_eq!(read.chunk(), &text);
            prop_assert_eq!(&read.header().reply_to, &reply_to);
            return Ok(());
        }
        for (one, other) in swaps {
            records.swap(one.index(count), other.index(count));
        }
        for (which, place) in repeats {
            let record = records[which.index(records.len())].clone();
            records.insert(place.index(records.len()), record);
        }
        let (mut parts, mut chunks, mut answered) = (Parts::new(), vec![Vec::new(); count], None);
        let amounts = spread(count as u64 + 5, count).unwrap();
        for record in &records {
            let read = Envelope::decode(record).unwrap();
            let index = usize::from(read.header().part.unwrap().index);
            let there = parts.has(index as u16);
            let added = parts.add(sender(), read.header(), read.chunk().len(), amounts[index]).unwrap();
            prop_assert_eq!(added, if there { Added::Duplicate } else { Added::New });
            answered = answered.or(read.header().reply_to.clone());
            chunks[index] = read.into_chunk();
            prop_assert_eq!(parts.whole(), chunks.iter().all(|chunk| !chunk.is_empty()));
        }
        prop_assert!(parts.whole());
        prop_assert_eq!(parts.amount(), Msat::from_sat(count as u64 + 5));
        prop_assert_eq!(parts.bytes(), text.len());
        prop_assert_eq!(chunks.concat(), text);
        prop_assert_eq!(answered, reply_to);
    }

    #[test]
    fn an_amount_is_spread_whole(amount_sat in 0..1_000_000_000_u64, parts in 1..=480_usize) {
        match spread(amount_sat, parts) {
            Ok(amounts) => {
                prop_assert_eq!(amounts.len(), parts);
                prop_assert_eq!(amounts.iter().copied().sum::<Msat>(), Msat::from_sat(amount_sat));
                prop_assert!(amounts[1..].iter().all(|amount| *amount <= amounts[0] && amount.0 >= 1000));
            }
            Err(_) => prop_assert!(amount_sat < parts as u64),
        }
    }
}
