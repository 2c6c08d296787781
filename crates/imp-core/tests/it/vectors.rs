//! The committed test vectors: `tests/vectors/*.json`.
//!
//! They are what another implementation has to reproduce, so a change of theirs is a change of the protocol. To write
//! them anew: `IMP_REGENERATE_VECTORS=1 cargo test -p imp-core --test it vectors`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use imp_core::id::{MessageId, NodeId, Preimage};
use imp_core::record::RecordType;
use imp_core::wire::envelope::{Binding, CarrierBinding, Envelope, Header, PartOf, ReplyTo};
use imp_core::wire::signature::sign_with;
use secp256k1::{SECP256K1, SecretKey};
use serde_json::{Value, json};

const REGENERATE: &str = "IMP_REGENERATE_VECTORS";

/// Genesis hash of regtest and of the main chain, in the byte order of BOLT 0.
const REGTEST: &str = "06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f";
const BITCOIN: &str = "6fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000";

struct Case {
    name: &'static str,
    secret: u8,
    genesis_hash: &'static str,
    service_number: u64,
    header: Header,
    chunk: Vec<u8>,
}

fn case(name: &'static str, header: Header, chunk: &[u8]) -> Case {
    let chunk = chunk.to_vec();
    Case { name, secret: 1, genesis_hash: REGTEST, service_number: 400_000, header, chunk }
}

fn header() -> Header {
    Header {
        id: MessageId::from_canonical("3f2b8c1d-6a4e-4f70-9b5c-0d1e2f3a4b5c").unwrap(),
        stream: 1_767_225_600,
        seq: 7,
        floor_back: 2,
        part: None,
        reply_to: None,
        unordered: false,
    }
}

fn cases() -> Vec<(&'static str, Vec<Case>)> {
    let reply = |text: &str| ReplyTo::parse(text).unwrap();
    let part = |index, count| Some(PartOf { index, count });
    let id_text = "a0b1c2d3-e4f5-4061-8273-8495a6b7c8d9";
    let first_of_stream = Header { seq: 0, floor_back: 0, ..header() };
    let extremes = Header {
        id: MessageId::from_bytes([0xFF; 16]),
        stream: u32::MAX,
        seq: u32::MAX,
        floor_back: u16::MAX,
        ..header()
    };
    let single = vec![
        case("a short text", header(), b"hello"),
        case("no text", header(), b""),
        case("the first message of a stream", first_of_stream, "Grüße".as_bytes()),
        case("as much text as fits", header(), &[b'x'; 905]),
        case("the largest numbers", extremes, b"hello"),
        Case { genesis_hash: BITCOIN, ..case("on the main chain", header(), b"hello") },
        Case { service_number: 500_001, ..case("of another service", header(), b"hello") },
        Case { secret: 0x7f, ..case("from another sender", header(), b"hello") },
    ];
    let parts = vec![
        case("the first of two parts, full", Header { part: part(0, 2), ..header() }, &[b'y'; 901]),
        case("the second of two parts", Header { part: part(1, 2), ..header() }, b"rest"),
        case("the last of the most parts", Header { part: part(479, 480), ..header() }, &[0xC3]),
        case(
            "a first part that answers an id",
            Header { part: part(0, 3), reply_to: reply(id_text), ..header() },
            &[b'z'; 885],
        ),
        case(
            "a first part that answers a text",
            Header { part: part(0, 3), reply_to: reply("x"), ..header() },
            &[b'z'; 899],
        ),
    ];
    let upper_case = id_text.to_uppercase();
    let reply_to = vec![
        case("an id", Header { reply_to: reply(id_text), ..header() }, b"yes"),
        case("an id in upper case is text", Header { reply_to: reply(&upper_case), ..header() }, b"yes"),
        case("a short text", Header { reply_to: reply("é"), ..header() }, b"yes"),
        case("the longest text", Header { reply_to: reply(&"r".repeat(255)), ..header() }, b"yes"),
    ];
    let none = Header { seq: 0, floor_back: 0, unordered: true, ..header() };
    let unordered = vec![
        case("a whole message", none.clone(), b"accepted"),
        case("a part", Header { part: part(1, 2), ..none.clone() }, b"accepted"),
        case("an answer", Header { reply_to: reply(id_text), ..none }, b"accepted"),
    ];
    vec![("single", single), ("parts", parts), ("reply_to", reply_to), ("unordered", unordered)]
}

impl Case {
    fn to_json(&self) -> Value {
        let secret = SecretKey::from_slice(&[self.secret; 32]).unwrap();
        let sender = NodeId::from(secret.public_key(SECP256K1));
        let preimage = [0x0b; 32];
        let binding = Binding {
            genesis_hash: bytes(self.genesis_hash).try_into().unwrap(),
            recipient: NodeId::from(SecretKey::from_slice(&[2; 32]).unwrap().public_key(SECP256K1)),
            record_type: RecordType::from_configured(self.service_number).unwrap(),
            carrier: CarrierBinding::keysend(&Preimage(preimage)),
        };
        let signing_bytes = self.header.signing_bytes(&binding, &self.chunk);
        let signature = sign_with(&secret, &signing_bytes);
        let envelope = Envelope::seal(self.header.clone(), &self.chunk, signature, &sender).unwrap();
        json!({
            "name": self.name,
            "sender_secret": hex::encode(secret.secret_bytes()),
            "sender": sender.to_string(),
            "binding": {
                "genesis_hash": self.genesis_hash,
                "recipient": binding.recipient.to_string(),
                "record_type": binding.record_type.number(),
                "keysend_preimage": hex::encode(preimage),
                "carrier": hex::encode(binding.carrier.0),
            },
            "header": {
                "id": self.header.id.to_string(),
                "stream": self.header.stream,
                "seq": self.header.seq,
                "floor_back": self.header.floor_back,
                "part": self.header.part.map(|part| json!({"index": part.index, "count": part.count})),
                "reply_to": self.header.reply_to.as_ref().map(ReplyTo::to_string),
                "unordered": self.header.unordered,
            },
            "chunk": hex::encode(&self.chunk),
            "signing_bytes": hex::encode(signing_bytes),
            "signature": hex::encode(signature),
            "envelope": hex::encode(envelope.encode()),
        })
    }
}

/// Records that must be refused, made from good ones.
fn refused() -> Value {
    let good = |name: &str| {
        let all = cases();
        let case = all.iter().flat_map(|(_, cases)| cases).find(|case| case.name == name).unwrap();
        bytes(case.to_json()["envelope"].as_str().unwrap())
    };
    let with = |name: &str, changes: &[(usize, u8)]| {
        let mut record = good(name);
        changes.iter().for_each(|(at, byte)| record[*at] = *byte);
        record
    };
    let short = "a short text";
    let last = "the last of the most parts";
    let answer = "a first part that answers a text";
    let mut reply_is_id = good("an id");
    reply_is_id[1] = 0b100;
    reply_is_id.splice(28..44, [&[36], b"a0b1c2d3-e4f5-4061-8273-8495a6b7c8d9".as_slice()].concat());
    let records = [
        ("nothing", Vec::new()),
        ("version 0", with(short, &[(0, 0)])),
        ("version 2", with(short, &[(0, 2)])),
        ("an unknown flag", with(short, &[(1, 0x10)])),
        ("cut in the header", good(short)[..27].to_vec()),
        ("cut before the chunk", good(short)[..94].to_vec()),
        ("one byte too many", [good("as much text as fits"), vec![b'x']].concat()),
        ("index equal to count", with("the second of two parts", &[(29, 2)])),
        ("one part", with("the first of two parts, full", &[(31, 1)])),
        ("481 parts", with(last, &[(31, 0xE1)])),
        ("an answer in a later part", with(answer, &[(29, 1)])),
        ("two kinds of answers", with("an id", &[(1, 0b110)])),
        ("an empty answer", with(answer, &[(32, 0)])),
        ("an answer that is no text", with(answer, &[(33, 0xFF)])),
        ("an answer that is the text of an id", reply_is_id),
        ("an unordered message with a number", with(short, &[(1, 0b1000)])),
        ("a floor below zero", with("the first message of a stream", &[(27, 1)])),
    ];
    let refused = records.into_iter().map(|(name, record)| {
        let error = Envelope::decode(&record).unwrap_err();
        json!({
            "name": name,
            "record": hex::encode(record),
            "error": format!("{error:?}"),
            "kept_for_a_later_release": error.is_unknown_format(),
        })
    });
    refused.collect()
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(format!("{name}.json"))
}

/// The vectors as they are in the files, by name, after writing them anew where that was asked for.
fn committed() -> &'static BTreeMap<&'static str, Value> {
    static COMMITTED: LazyLock<BTreeMap<&'static str, Value>> = LazyLock::new(|| {
        let read = |(name, made): (&'static str, Value)| {
            if std::env::var_os(REGENERATE).is_some() {
                fs::write(path(name), format!("{made:#}\n")).unwrap();
            }
            (name, serde_json::from_slice(&fs::read(path(name)).unwrap()).unwrap())
        };
        made().into_iter().map(read).collect()
    });
    &COMMITTED
}

/// The vectors as this implementation makes them, by name.
fn made() -> BTreeMap<&'static str, Value> {
    let envelopes =
        cases().into_iter().map(|(name, cases)| (name, cases.iter().map(Case::to_json).collect()));
    envelopes.chain([("refused", refused())]).collect()
}

#[test]
fn what_is_made_is_what_the_vectors_say() {
    for (name, made) in made() {
        assert_eq!(made, committed()[name], "{name}.json: see the module's documentation");
    }
}

/// Reads the files as another implementation would: from what they say alone.
#[test]
fn every_envelope_of_the_vectors_is_read_as_it_says() {
    let files = committed().iter().filter(|(name, _)| **name != "refused");
    for vector in files.flat_map(|(_, file)| file.as_array().unwrap()) {
        let text = |value: &Value| bytes(value.as_str().unwrap());
        let binding = &vector["binding"];
        let preimage = Preimage(text(&binding["keysend_preimage"]).try_into().unwrap());
        let envelope = Envelope::decode(&text(&vector["envelope"])).unwrap();
        let sender = envelope.verify(&Binding {
            genesis_hash: text(&binding["genesis_hash"]).try_into().unwrap(),
            recipient: binding["recipient"].as_str().unwrap().parse().unwrap(),
            record_type: RecordType::from_configured(binding["record_type"].as_u64().unwrap()).unwrap(),
            carrier: CarrierBinding::keysend(&preimage),
        });
        assert_eq!(sender.unwrap().to_string(), vector["sender"], "{}", vector["name"]);
        assert_eq!(envelope.chunk(), text(&vector["chunk"]));
        let Header { id, stream, seq, floor_back, part, reply_to, unordered } = envelope.header();
        let said = &vector["header"];
        assert_eq!(id.to_string(), said["id"]);
        let numbers = [("stream", json!(stream)), ("seq", json!(seq)), ("floor_back", json!(floor_back))];
        assert!(numbers.iter().all(|(name, number)| said[*name] == *number), "{}", vector["name"]);
        assert_eq!(*unordered, said["unordered"]);
        assert_eq!(part.map(|part| u64::from(part.index)), said["part"]["index"].as_u64());
        assert_eq!(part.map(|part| u64::from(part.count)), said["part"]["count"].as_u64());
        assert_eq!(reply_to.as_ref().map(ReplyTo::to_string).as_deref(), said["reply_to"].as_str());
    }
}

#[test]
fn every_refused_record_of_the_vectors_is_refused() {
    for vector in committed()["refused"].as_array().unwrap() {
        let error = Envelope::decode(&bytes(vector["record"].as_str().unwrap())).unwrap_err();
        assert_eq!(error.is_unknown_format(), vector["kept_for_a_later_release"], "{}", vector["name"]);
        assert_eq!(format!("{error:?}"), vector["error"], "{}", vector["name"]);
    }
}
