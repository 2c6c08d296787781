//! What must hold for every envelope and for any bytes.

use imp_core::id::{MessageId, NodeId, Preimage};
use imp_core::record::RecordType;
use imp_core::wire::envelope::{
    Binding, CarrierBinding, Envelope, Header, MAX_PARTS, MAX_RECORD_BYTES, PartOf, ReplyTo,
};
use imp_core::wire::signature::{sign_with, zbase32_decode, zbase32_encode};
use proptest::collection::vec;
use proptest::prelude::*;
use secp256k1::{SECP256K1, SecretKey};

fn node(secret: &SecretKey) -> NodeId {
    NodeId::from(secret.public_key(SECP256K1))
}

fn secret() -> impl Strategy<Value = SecretKey> {
    any::<[u8; 32]>().prop_filter_map("not a key", |bytes| SecretKey::from_slice(&bytes).ok())
}

fn binding() -> impl Strategy<Value = Binding> {
    let record_type =
        (65_536..1_u64 << 32).prop_filter_map("taken", |number| RecordType::from_configured(number).ok());
    (any::<[u8; 32]>(), secret(), record_type, any::<[u8; 32]>()).prop_map(
        |(genesis_hash, recipient, record_type, preimage)| Binding {
            genesis_hash,
            recipient: node(&recipient),
            record_type,
            carrier: CarrierBinding::keysend(&Preimage(preimage)),
        },
    )
}

fn reply_to() -> impl Strategy<Value = Option<ReplyTo>> {
    let text = "\\PC{0,63}".prop_map(|text| ReplyTo::parse(&text).expect("at most 63 characters of 4 bytes"));
    prop_oneof![
        Just(None),
        any::<[u8; 16]>().prop_map(|id| Some(ReplyTo::Id(MessageId::from_bytes(id)))),
        text
    ]
}

fn part() -> impl Strategy<Value = Option<PartOf>> {
    let part = (2..=MAX_PARTS)
        .prop_flat_map(|count| prop_oneof![Just(0), 0..count].prop_map(move |index| PartOf { index, count }));
    prop_oneof![Just(None), part.prop_map(Some)]
}

prop_compose! {
    fn header()(
        id in any::<[u8; 16]>(),
        stream in any::<u32>(),
        seq in any::<u32>(),
        floor_back in any::<u16>(),
        part in part(),
        reply_to in reply_to(),
        unordered in any::<bool>(),
    ) -> Header {
        let in_order = !unordered;
        Header {
            id: MessageId::from_bytes(id),
            stream,
            seq: if in_order { seq } else { 0 },
            floor_back: if in_order { floor_back.min(seq.try_into().unwrap_or(u16::MAX)) } else { 0 },
            part,
            reply_to: reply_to.filter(|_| part.is_none_or(|part| part.index == 0)),
            unordered,
        }
    }
}

/// A header and a chunk that fits beside it, often a full one.
fn content() -> impl Strategy<Value = (Header, Vec<u8>)> {
    (header(), vec(any::<u8>(), 0..MAX_RECORD_BYTES)).prop_map(|(header, mut chunk)| {
        chunk.truncate(header.capacity_bytes());
        (header, chunk)
    })
}

fn seal(header: Header, chunk: &[u8], secret: &SecretKey, binding: &Binding) -> Envelope {
    let signature = sign_with(secret, &header.signing_bytes(binding, chunk));
    Envelope::seal(header, chunk, signature, &node(secret))
        .expect("the header is consistent and the chunk fits")
}

proptest! {
    #[test]
    fn what_is_sealed_is_read_as_it_was((header, chunk) in content(), secret in secret(), binding in binding()) {
        let sealed = seal(header.clone(), &chunk, &secret, &binding);
        let record = sealed.encode();
        prop_assert!(record.len() <= MAX_RECORD_BYTES);
        let read = Envelope::decode(&record).unwrap();
        prop_assert_eq!(&read, &sealed);
        prop_assert_eq!(read.header(), &header);
        prop_assert_eq!(read.chunk(), &chunk);
        prop_assert_eq!(read.verify(&binding), Ok(node(&secret)));
    }

    #[test]
    fn any_bytes_are_refused_or_have_one_spelling(record in vec(any::<u8>(), 0..1100), binding in binding()) {
        if let Ok(read) = Envelope::decode(&record) {
            prop_assert_eq!(read.encode(), record);
            let _ = read.verify(&binding);
        }
    }

    /// Like the one above, with bytes that come further.
    #[test]
    fn bytes_like_an_envelopes_are_refused_or_have_one_spelling(
        (header, chunk) in content(),
        flags in prop_oneof![Just(None), (0..16_u8).prop_map(Some)],
        changes in vec((0..120_usize, any::<u8>()), 0..4),
        length in prop_oneof![Just(None), (0..1100_usize).prop_map(Some)],
        binding in binding(),
    ) {
        let secret = SecretKey::from_slice(&[1; 32]).unwrap();
        let mut record = Envelope::seal(header, &chunk, [33; 65], &node(&secret)).unwrap().encode();
        if let Some(flags) = flags {
            record[1] = flags;
        }
        for (at, byte) in changes {
            if let Some(place) = record.get_mut(at) {
                *place = byte;
            }
        }
        record.resize(length.unwrap_or(record.len()), 0);
        if let Ok(read) = Envelope::decode(&record) {
            prop_assert_eq!(read.encode(), record);
            prop_assert_eq!(read.header().check(), Ok(()));
            let _ = read.verify(&binding);
        }
    }

    #[test]
    fn a_changed_envelope_is_never_its_senders(
        (header, chunk) in content(),
        secret in secret(),
        binding in binding(),
        flips in vec(any::<prop::sample::Index>(), 1..8),
        cut in prop_oneof![3 => Just(0), 1 => -20..20_isize],
    ) {
        let sealed = seal(header, &chunk, &secret, &binding).encode();
        let mut record = sealed.clone();
        for flip in flips {
            let bit = flip.index(record.len() * 8);
            record[bit / 8] ^= 1 << (bit % 8);
        }
        record.resize(record.len().saturating_add_signed(cut), 0);
        prop_assume!(record != sealed);
        let sender = Envelope::decode(&record).ok().and_then(|read| read.verify(&binding).ok());
        prop_assert_ne!(sender, Some(node(&secret)));
    }

    #[test]
    fn an_envelope_is_its_senders_nowhere_else(
        (header, chunk) in content(),
        secret in secret(),
        binding in binding(),
        other in binding(),
    ) {
        let sealed = seal(header, &chunk, &secret, &binding);
        for moved in [
            Binding { genesis_hash: other.genesis_hash, ..binding },
            Binding { recipient: other.recipient, ..binding },
            Binding { record_type: other.record_type, ..binding },
            Binding { carrier: other.carrier, ..binding },
        ] {
            prop_assume!(moved != binding);
            prop_assert_ne!(sealed.verify(&moved), Ok(node(&secret)));
        }
    }

    #[test]
    fn no_envelope_is_signed_by_signing_a_text((header, chunk) in content(), binding in binding()) {
        prop_assert!(str::from_utf8(&header.signing_bytes(&binding, &chunk)).is_err());
    }

    #[test]
    fn what_is_answered_comes_out_as_the_same_text(text in "\\PC{0,63}") {
        let reply_to = ReplyTo::parse(&text).unwrap();
        prop_assert_eq!(reply_to.map(|reply_to| reply_to.to_string()).unwrap_or_default(), text);
    }

    #[test]
    fn a_signatures_text_has_one_spelling(text in "\\PC{100,108}|[a-z1-9]{104}", bytes in any::<[u8; 32]>()) {
        if let Ok(signature) = zbase32_decode(&text) {
            prop_assert_eq!(zbase32_encode(&signature), text);
        }
        let mut signature = [0; 65];
        signature[33..].copy_from_slice(&bytes);
        prop_assert_eq!(zbase32_decode(&zbase32_encode(&signature)), Ok(signature));
    }
}
