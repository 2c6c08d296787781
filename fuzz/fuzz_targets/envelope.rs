//! Any bytes as the record of a payment: refused, or read with nothing lost.

#![no_main]

use std::sync::LazyLock;

use imp_core::id::{NodeId, Preimage};
use imp_core::record::{RecordTable, Service};
use imp_core::wire::envelope::{Binding, CarrierBinding, Envelope, ReplyTo};
use imp_core::wire::signature::sign_with;
use libfuzzer_sys::fuzz_target;
use secp256k1::{SECP256K1, SecretKey};

struct Node {
    secret: SecretKey,
    id: NodeId,
    binding: Binding,
}

static NODE: LazyLock<Node> = LazyLock::new(|| {
    let secret = SecretKey::from_slice(&[1; 32]).expect("a key in range");
    let id = NodeId::from(secret.public_key(SECP256K1));
    let record_type = RecordTable::default().record_type(Service::Message);
    let carrier = CarrierBinding::keysend(&Preimage([2; 32]));
    Node { secret, id, binding: Binding { genesis_hash: [3; 32], recipient: id, record_type, carrier } }
});

fuzz_target!(|record: &[u8]| {
    let Ok(read) = Envelope::decode(record) else { return };
    assert_eq!(read.encode(), record, "there is one spelling of each envelope");
    let _ = format!("{read:?}");

    let Node { secret, id, binding } = &*NODE;
    let sender = read.verify(binding);
    let header = read.header().clone();
    if let Some(reply_to) = &header.reply_to {
        assert_eq!(ReplyTo::parse(&reply_to.to_string()), Ok(Some(reply_to.clone())));
    }

    // Whatever can be read can be sent, and is then its sender's.
    let signature = sign_with(secret, &header.signing_bytes(binding, read.chunk()));
    let sealed = Envelope::seal(header, read.chunk(), signature, id).expect("it was read");
    assert_eq!(sealed.verify(binding), Ok(*id));
    assert_eq!(Envelope::decode(&sealed.encode()).as_ref(), Ok(&sealed));
    // Nobody but the node itself signs for it.
    assert!(sender != Ok(*id) || read == sealed);
});
