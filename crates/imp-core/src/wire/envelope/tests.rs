use secp256k1::{SECP256K1, SecretKey};

use super::*;
use crate::id::{MessageId, Preimage};
use crate::record::RecordType;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

fn node(key: &SecretKey) -> NodeId {
    NodeId::from(key.public_key(SECP256K1))
}

fn binding() -> Binding {
    Binding {
        genesis_hash: [7; 32],
        recipient: node(&key(2)),
        record_type: RecordType::from_configured(400_000).unwrap(),
        carrier: CarrierBinding::keysend(&Preimage([9; 32])),
    }
}

fn header() -> Header {
    Header {
        id: MessageId::from_random([0xab; 16]),
        stream: 1_700_000_000,
        seq: 41,
        floor_back: 3,
        part: None,
        reply_to: None,
        unordered: false,
    }
}

fn seal(header: Header, chunk: &[u8]) -> Result<Envelope, SealError> {
    let signature = signature::sign_with(&key(1), &header.signing_bytes(&binding(), chunk));
    Envelope::seal(header, chunk, signature, &node(&key(1)))
}

fn part(index: u16, count: u16) -> Option<PartOf> {
    Some(PartOf { index, count })
}

#[test]
fn a_sealed_envelope_is_its_senders() {
    let sealed = seal(header(), b"hello").unwrap();
    let read = Envelope::decode(&sealed.encode()).unwrap();
    assert_eq!(read, sealed);
    assert_eq!(read.verify(&binding()), Ok(node(&key(1))));
    assert_eq!((read.header(), read.chunk()), (&header(), b"hello".as_slice()));
}

#[test]
fn an_envelope_holds_only_for_its_binding() {
    let sealed = seal(header(), b"hello").unwrap();
    let others = [
        Binding { genesis_hash: [8; 32], ..binding() },
        Binding { recipient: node(&key(3)), ..binding() },
        Binding { record_type: RecordType::from_configured(500_000).unwrap(), ..binding() },
        Binding { carrier: CarrierBinding::keysend(&Preimage([8; 32])), ..binding() },
    ];
    for other in others {
        assert_eq!(sealed.verify(&other), Err(VerifyError::KeyCheck), "{other:?}");
    }
}

#[test]
fn the_signed_bytes_are_those_of_the_protocol() {
    let mut expected = vec![0xFF, b'I', b'M', b'P', 1];
    expected.extend([7; 32]);
    expected.extend(node(&key(2)).as_bytes());
    expected.extend(400_001_u64.to_be_bytes());
    let mut carrier = b"imp/keysend".to_vec();
    carrier.extend([9; 32]);
    expected.extend(sha256::Hash::hash(&carrier).as_byte_array());
    let encoded = seal(header(), b"hello").unwrap().encode();
    expected.extend(&encoded[1..28]);
    expected.extend(sha256::Hash::hash(b"hello").as_byte_array());
    assert_eq!(header().signing_bytes(&binding(), b"hello"), expected);
}

#[test]
fn no_interface_that_signs_text_can_sign_an_envelope() {
    let signed = header().signing_bytes(&binding(), b"hello");
    assert!(str::from_utf8(&signed).is_err());
    assert!(str::from_utf8(&signed[..1]).unwrap_err().error_len().is_some(), "no continuation makes it text");
}

#[test]
fn capacities_are_those_of_the_protocol() {
    assert_eq!((SINGLE_CAPACITY_BYTES, PART_CAPACITY_BYTES), (905, 901));
    let id = ReplyTo::Id(MessageId::from_random([1; 16]));
    let text = ReplyTo::Text("x".repeat(255));
    assert_eq!((single_capacity_bytes(Some(&id)), single_capacity_bytes(Some(&text))), (889, 649));
    assert_eq!((part_capacity_bytes(0, Some(&id)), part_capacity_bytes(1, Some(&id))), (885, 901));
}

#[test]
fn a_full_envelope_has_a_thousand_bytes_and_a_fuller_one_cannot_be_sealed() {
    let replies = [None, ReplyTo::parse("any text").unwrap(), Some(ReplyTo::Id(header().id))];
    for (reply_to, part) in replies.into_iter().flat_map(|reply| [(reply.clone(), None), (reply, part(0, 2))])
    {
        let header = Header { part, reply_to, ..header() };
        let capacity = header.capacity_bytes();
        assert_eq!(seal(header.clone(), &vec![0; capacity]).unwrap().encode().len(), MAX_RECORD_BYTES);
        let refused = seal(header, &vec![0; capacity + 1]);
        assert_eq!(refused, Err(SealError::ChunkTooLong { bytes: capacity + 1, capacity }));
    }
}

#[test]
fn contradictions_are_neither_sealed_nor_read() {
    let reply = |text: &str| Some(ReplyTo::Text(text.to_owned()));
    let id_text = header().id.to_string();
    let cases = [
        (Header { part: part(0, 1), ..header() }, HeaderError::PartCount(1)),
        (Header { part: part(0, 481), ..header() }, HeaderError::PartCount(481)),
        (Header { part: part(2, 2), ..header() }, HeaderError::PartIndex { index: 2, count: 2 }),
        (Header { part: part(1, 2), reply_to: reply("x"), ..header() }, HeaderError::ReplyToOnLaterPart),
        (Header { reply_to: reply(""), ..header() }, HeaderError::ReplyToLength(0)),
        (Header { reply_to: reply(&id_text), ..header() }, HeaderError::ReplyToIsId),
        (Header { unordered: true, floor_back: 0, ..header() }, HeaderError::UnorderedNumber),
        (Header { unordered: true, seq: 0, ..header() }, HeaderError::UnorderedNumber),
        (Header { seq: 2, ..header() }, HeaderError::FloorBelowZero { seq: 2, floor_back: 3 }),
    ];
    for (wrong, error) in cases {
        assert_eq!(seal(wrong.clone(), b"x"), Err(SealError::Header(error)));
        let forged = Envelope { header: wrong, signature: [0; 65], key_check: [0; 2], chunk: vec![b'x'] };
        assert_eq!(Envelope::decode(&forged.encode()), Err(DecodeError::Header(error)));
    }
    let too_long = Header { reply_to: reply(&"x".repeat(256)), ..header() };
    assert_eq!(seal(too_long, b"x"), Err(SealError::Header(HeaderError::ReplyToLength(256))));
}

#[test]
fn what_a_later_release_may_know_is_told_from_what_is_broken() {
    let sealed = seal(header(), b"hello").unwrap().encode();
    for version in [0, 2, 255] {
        let mut later = sealed.clone();
        later[0] = version;
        assert_eq!(Envelope::decode(&later), Err(DecodeError::UnknownVersion(version)));
        later.resize(5000, 0);
        assert!(Envelope::decode(&later).unwrap_err().is_unknown_format());
    }
    for flag in 4..8 {
        let mut later = sealed.clone();
        later[1] |= 1 << flag;
        assert_eq!(Envelope::decode(&later), Err(DecodeError::UnknownFlags(1 << flag)));
    }
    assert!(!DecodeError::Truncated(3).is_unknown_format());
}

#[test]
fn broken_bytes_are_refused() {
    let reply_to = ReplyTo::parse("é").unwrap();
    let sealed = seal(Header { part: part(0, 2), reply_to, ..header() }, b"").unwrap().encode();
    for length in 0..sealed.len() {
        assert_eq!(Envelope::decode(&sealed[..length]), Err(DecodeError::Truncated(length)));
    }
    let mut not_text = sealed.clone();
    not_text[33] = 0xFF;
    assert_eq!(Envelope::decode(&not_text), Err(DecodeError::ReplyToNotText));
    let mut both = sealed.clone();
    both[1] |= 0b10;
    assert_eq!(Envelope::decode(&both), Err(DecodeError::TwoReplyTos));
    let mut long = sealed;
    long.resize(1001, 0);
    assert_eq!(Envelope::decode(&long), Err(DecodeError::TooLong(1001)));
}

#[test]
fn what_is_answered_comes_out_unchanged() {
    let id = header().id.to_string();
    for text in [id.as_str(), &id.to_uppercase(), &id.replace('-', ""), "Grüße", " ", &"x".repeat(255)] {
        let reply_to = ReplyTo::parse(text).unwrap();
        let sealed = seal(Header { reply_to, ..header() }, b"hello").unwrap();
        let read = Envelope::decode(&sealed.encode()).unwrap();
        assert_eq!(read.header().reply_to.as_ref().unwrap().to_string(), text);
    }
    assert_eq!(ReplyTo::parse(&id), Ok(Some(ReplyTo::Id(header().id))));
    assert_eq!(ReplyTo::parse(""), Ok(None));
    assert_eq!(ReplyTo::parse(&"é".repeat(128)), Err(ReplyToTooLong { bytes: 256 }));
}

#[test]
fn an_envelopes_text_is_not_printed() {
    let printed = format!("{:?}", seal(header(), b"a secret").unwrap());
    assert!(printed.contains("chunk_bytes: 8") && !printed.contains("secret"), "{printed}");
}
